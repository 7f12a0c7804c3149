"""A tenant's keys: made, loaded, used, and rotated without touching the data under them.

A key row is never deleted by rotation: what was wrapped by a process that had not yet heard of the
new version still opens, and the next rotation wraps it anew. Hash and token keys are not rotated,
only wrapped anew with the root: every pseudonym and token of the tenant would change.

These functions write key rows inside the action of their caller, which records what was done.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from governance.anonymization.operators import OperatorKeys
from governance.errors import KeyVersionError
from governance.keyring import (
    KeyProvider,
    LocalKeyFile,
    data_key_context,
    derive,
    subject_key_context,
    tenant_key_context,
    unwrap_key,
    wrap_key,
)
from governance.models import StoredObject, SubjectKey, Tenant, TenantKey
from governance.scoping import across_tenants, tenant_scope
from governance.suites import HASH_LENGTH, Suite, suite_named

K = TypeVar("K")
V = TypeVar("V")
M = TypeVar("M", bound=models.Model)

_BATCH: Final = 500
_KEPT: Final = 4096  # unwrapped keys in one process


class KeyPurpose(StrEnum):
    """What a tenant key is for."""

    KEK = "kek"
    HASH = "hash"
    TOKEN = "token"  # noqa: S105  # the name of a purpose


@dataclass(frozen=True, slots=True, repr=False)
class TenantSecret:
    """An unwrapped tenant key."""

    suite: Suite
    version: int
    key: bytes


_providers: dict[Path, KeyProvider] = {}
_unwrapped: dict[UUID, bytes] = {}
_hashing: dict[tuple[UUID, str], TenantSecret] = {}
_also_wrapped: list[Callable[[KeyProvider], int]] = []


def key_provider() -> KeyProvider:
    """The provider of the root keys: the file that ROOT_KEY_FILE names, made at first start.

    Raises:
        KeyFileError: the file is unsafe, malformed, or missing although keys were wrapped by it.
    """
    path = Path(settings.ROOT_KEY_FILE)
    if path not in _providers:
        with across_tenants(reason="a new root key would open no key that is there"):
            first_start = not TenantKey.objects.exists()
        _providers[path] = LocalKeyFile(path, create=first_start)
    return _providers[path]


def register_root_wrapped(rewrap: Callable[[KeyProvider], int]) -> None:
    """Name what else the root key wraps: `rewrap` wraps it anew and says how many keys it was."""
    if rewrap not in _also_wrapped:
        _also_wrapped.append(rewrap)


def create_tenant_keys(tenant: Tenant) -> None:
    """Make the first version of each of a tenant's keys that it does not have yet."""
    with tenant_scope(tenant.id):
        for purpose in KeyPurpose:
            if _newest(purpose) is None:
                _create(tenant, purpose, 1)


def current_key(tenant: Tenant, purpose: KeyPurpose) -> TenantSecret:
    """The newest version of a tenant's key.

    The first use of any key makes all of them, so that hash and token keys are of one suite.
    """
    with tenant_scope(tenant.id):
        row = _newest(purpose)
        if row is None:
            create_tenant_keys(tenant)
            row = TenantKey.objects.get(purpose=purpose, version=1)
    return _unwrap(row)


def key_of_version(tenant_id: UUID, purpose: KeyPurpose, version: int) -> TenantSecret:
    """One version of a tenant's key, also a retired one.

    Raises:
        KeyVersionError: the tenant has no such version.
    """
    with tenant_scope(tenant_id):
        row = TenantKey.objects.filter(purpose=purpose, version=version).first()
    if row is None:
        raise KeyVersionError(f"the tenant has no {purpose} key of version {version}")
    return _unwrap(row)


def keyed_hash(tenant: Tenant, domain: str, value: bytes) -> bytes:
    """HMAC of `value` under the tenant's hash key for `domain`, 32 bytes.

    Another tenant's hash of the same value, or another domain's, has nothing to do with it.
    """
    secret = _domain_secret(tenant, domain)
    return secret.suite.keyed_hash(secret.key, value)


def named_hash(tenant: Tenant, domain: str, value: bytes) -> str:
    """As `keyed_hash`, for a row: "suite id.key version.hexadecimal"."""
    secret = _domain_secret(tenant, domain)
    hashed = secret.suite.keyed_hash(secret.key, value)
    return f"{int(secret.suite.id)}.{secret.version}.{hashed.hex()}"


def operator_keys(tenant: Tenant) -> OperatorKeys:
    """The keys of a tenant's pseudonyms and tokens."""
    hashing = _domain_secret(tenant, "pseudonym")
    token = current_key(tenant, KeyPurpose.TOKEN)
    return OperatorKeys(
        tenant=str(tenant.id),
        suite=hashing.suite,
        hash_key=hashing.key,
        token_key=token.key,
        version=hashing.version,
    )


def rotate_root() -> int:
    """Make a new root key and wrap every tenant key under it; return how many were wrapped anew.

    A crash on the way leaves keys under either version; `rewrap_tenant_keys` finishes the work.
    """
    key_provider().rotate()
    return rewrap_tenant_keys()


def rewrap_tenant_keys() -> int:
    """Wrap under the current root key what is still wrapped by an earlier one."""
    provider = key_provider()
    version = provider.current_version()
    done = 0
    with across_tenants(reason="the root key wraps the keys of every tenant"):
        for row in _until_none(TenantKey.objects.filter(root_version__lt=version)):
            context = tenant_key_context(str(row.tenant_id), row.purpose, row.version)
            key = provider.unwrap(row.root_version, bytes(row.wrapped), context)
            root_version, wrapped = provider.wrap(key, context)
            done += TenantKey.objects.filter(pk=row.pk, root_version=row.root_version).update(
                root_version=root_version, wrapped=wrapped
            )
    return done + sum(rewrap(provider) for rewrap in _also_wrapped)


def rotate_tenant(tenant: Tenant) -> int:
    """Make a new key-encryption key and wrap every data key under it; return how many.

    The new key is of the tenant's present suite. A crash on the way leaves data keys under either
    version; `rewrap_data_keys` finishes the work.
    """
    version = current_key(tenant, KeyPurpose.KEK).version + 1
    with tenant_scope(tenant.id):
        _create(tenant, KeyPurpose.KEK, version)
    return rewrap_data_keys(tenant)


def rewrap_data_keys(tenant: Tenant) -> int:
    """Wrap under the tenant's newest key what is still wrapped by an earlier one."""
    new = current_key(tenant, KeyPurpose.KEK)
    owner = str(tenant.id)
    done = 0
    with tenant_scope(tenant.id):
        for stored in _until_none(StoredObject.objects.filter(kek_version__lt=new.version)):
            old = key_of_version(tenant.id, KeyPurpose.KEK, stored.kek_version)
            parts = (owner, stored.kind, str(stored.id))
            key = unwrap_key(
                old.key, bytes(stored.wrapped_key), data_key_context(*parts, old.version)
            )
            wrapped = wrap_key(new.suite, new.key, key, data_key_context(*parts, new.version))
            done += StoredObject.objects.filter(pk=stored.pk, kek_version=old.version).update(
                kek_version=new.version, wrapped_key=wrapped
            )
        for subject in _until_none(SubjectKey.objects.filter(kek_version__lt=new.version)):
            old = key_of_version(tenant.id, KeyPurpose.KEK, subject.kek_version)
            ref = subject.subject_ref
            key = unwrap_key(
                old.key, bytes(subject.wrapped), subject_key_context(owner, ref, old.version)
            )
            wrapped = wrap_key(
                new.suite, new.key, key, subject_key_context(owner, ref, new.version)
            )
            done += SubjectKey.objects.filter(pk=subject.pk, kek_version=old.version).update(
                kek_version=new.version, wrapped=wrapped
            )
        TenantKey.objects.filter(
            purpose=KeyPurpose.KEK, version__lt=new.version, retired_at__isnull=True
        ).update(retired_at=timezone.now())
    return done


def _domain_secret(tenant: Tenant, domain: str) -> TenantSecret:
    known = _hashing.get((tenant.id, domain))
    if known is not None:
        return known
    root = current_key(tenant, KeyPurpose.HASH)
    key = derive(root.suite, root.key, "keyed hash", domain, HASH_LENGTH)
    secret = TenantSecret(root.suite, root.version, key)
    # A key made in a transaction that is then rolled back must not go on being used.
    transaction.on_commit(lambda: _keep(_hashing, (tenant.id, domain), secret))
    return secret


def _newest(purpose: KeyPurpose) -> TenantKey | None:
    newest: TenantKey | None = (
        TenantKey.objects.filter(purpose=purpose).order_by("-version").first()
    )
    return newest


def _create(tenant: Tenant, purpose: KeyPurpose, version: int) -> TenantKey:
    """Make a version of a key; where another process was faster, take the one that it made."""
    chosen = suite_named(tenant.suite)
    lengths = {
        KeyPurpose.KEK: chosen.key_length,
        KeyPurpose.HASH: HASH_LENGTH,
        KeyPurpose.TOKEN: chosen.token_key_length,
    }
    root_version, wrapped = key_provider().wrap(
        os.urandom(lengths[purpose]), tenant_key_context(str(tenant.id), purpose, version)
    )
    named = {"tenant": tenant, "purpose": purpose, "version": version}
    try:
        with transaction.atomic():
            made: TenantKey = TenantKey.objects.create(
                **named, suite=chosen.slug, wrapped=wrapped, root_version=root_version
            )
    except IntegrityError:
        made = TenantKey.objects.get(**named)
    return made


def _unwrap(row: TenantKey) -> TenantSecret:
    key = _unwrapped.get(row.id)
    if key is None:
        context = tenant_key_context(str(row.tenant_id), row.purpose, row.version)
        key = key_provider().unwrap(row.root_version, bytes(row.wrapped), context)
        _keep(_unwrapped, row.id, key)
    return TenantSecret(suite_named(row.suite), row.version, key)


def _keep(cache: dict[K, V], name: K, value: V) -> None:
    if len(cache) >= _KEPT:
        cache.clear()
    cache[name] = value


def _until_none(rows: "models.QuerySet[M]") -> Iterator[M]:
    """The rows that a condition holds for; whoever takes one makes it false, so that it ends."""
    while batch := list(rows[:_BATCH]):
        yield from batch
