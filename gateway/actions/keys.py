"""API keys: issued once, shown once, rotated under the same id, revoked at once."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from django.db import transaction
from django.utils import timezone

from audit.canonical import canonical
from audit.events import Event
from audit.recording import Record, action
from gateway import idempotency, keys, peppers
from gateway import scopes as allowed
from gateway.models import ApiKey, KeyMode, KeyRotation, License
from gateway.moments import microseconds
from gateway.seats import check_seat
from governance.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from governance.permissions import Permission
from governance.rbac import SystemActor, UserActor
from governance.vault import keyed_hash

OVERLAP: Final = timedelta(days=1)  # for which the old secret stays good, if nothing else is said
LONGEST_OVERLAP: Final = timedelta(days=30)
# Who revokes a key that somebody found: nobody is known, and the key alone is the proof.
FINDER: Final = SystemActor("door", frozenset({Permission.KEY_REVOKE}))

_LONGEST_NAME = 80


class Keep(StrEnum):
    """Which of two secrets stays good beside the next one."""

    CURRENT = "current"
    PREVIOUS = "previous"


@dataclass(frozen=True)
class Issued:
    """A key's row, and the key itself, which nothing can show again."""

    key: ApiKey
    secret: str = field(repr=False)


@action(Event.KEY_ISSUED, requires=Permission.KEY_ISSUE)
def issue_key(
    record: Record,
    actor: UserActor,
    license_: License,
    *,
    name: str,
    mode: str = KeyMode.LIVE,
    expires_at: datetime | None = None,
    scopes: Collection[str] | None = None,
    addresses: Collection[str] = (),
) -> Issued:
    """Make a key for the license's customer.

    `name` is what people call it, and stays out of the log. The mode is "live", or "test": counted
    and never charged, so that only the license's owner gives one away. A key ends with its license,
    or before it if told so. `scopes` and `addresses` narrow what it may be used for, and from
    where: see `gateway.scopes`.

    Raises:
        InvalidError: `key.name_invalid`, `key.mode_unknown`, `key.term_invalid`,
            `key.scopes_invalid`, `key.addresses_invalid`.
        RefusedError: `key.mode_refused`: a test key is asked for by the customer.
        ConflictError: `license.revoked`, `license.expired`: there is nothing to open;
            `license.seats_taken`.
    """
    now = timezone.now()
    expires_at = expires_at or license_.expires_at
    if not 0 < len(name.strip()) <= _LONGEST_NAME:
        raise InvalidError(
            f"a key's name has 1 to {_LONGEST_NAME} characters",
            code="key.name_invalid",
            pointer="/name",
        )
    if mode not in KeyMode.values:
        raise InvalidError("the modes are live and test", code="key.mode_unknown", pointer="/mode")
    # As it is now, and held: of two keys for the last seat one finds it taken.
    license_ = License.objects.select_for_update(of=("self",)).get(pk=license_.pk)
    if mode == KeyMode.TEST and actor.tenant_id != license_.tenant_id:
        raise RefusedError(
            "only who gave the license issues a key whose calls are not charged",
            code="key.mode_refused",
            pointer="/mode",
        )
    if license_.revoked_at is not None:
        raise ConflictError("the license was revoked", code="license.revoked")
    if license_.expires_at <= now:
        raise ConflictError("the license has expired", code="license.expired")
    if not now < expires_at <= license_.expires_at:
        raise InvalidError(
            "a key ends in the future, and not after its license",
            code="key.term_invalid",
            pointer="/expires_at",
        )
    narrowed = allowed.narrowed(scopes, license_.features)
    networks = allowed.networks(addresses)
    check_seat(license_)
    made = keys.generate(KeyMode(mode))
    version = peppers.newest_or_first()
    key = ApiKey.objects.create(
        tenant_id=license_.customer_id,
        public_id=made.public_id,
        license=license_,
        name=name.strip(),
        mode=made.mode,
        scopes=narrowed,
        addresses=networks,
        digest=made.digest(peppers.pepper(version)),
        pepper_version=version,
        expires_at=expires_at,
        issued_by_id=actor.user_id,
    )
    record.facts(
        key=key.reference,
        expires=microseconds(expires_at),
        mode=made.mode.value,
        scopes=narrowed or [],
        networks=len(networks),
    )
    return Issued(key, made.text)


@action(Event.KEY_ROTATED, requires=Permission.KEY_ISSUE)
def rotate_key(
    record: Record,
    actor: UserActor,
    license_: License,
    *,
    key: ApiKey,
    overlap: timedelta = OVERLAP,
    keep: str | None = None,
    idempotency_key: str | None = None,
) -> Issued:
    """Give a key a new secret. Its id, budget, scopes and history stay; the old one for `overlap`.

    Beside the new secret one other is good. Where a rotation's overlap has not ended there are two
    to choose from, and `keep` says which: "current", or "previous" where the current one never
    reached who calls. Without an overlap nothing is kept.

    The same `idempotency_key` again does not rotate again.

    Raises:
        InvalidError: `key.overlap_invalid`, `key.keep_unknown`.
        RequestError: `request.idempotency_key_invalid`.
        NotFoundError: the key is not of this license.
        ConflictError: `key.revoked`, `key.expired`; `key.rotated_already`: under this idempotency
            key, and its secret was shown then; `key.overlap_open`: say which secret stays.
    """
    now = timezone.now()
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise InvalidError(
            f"an overlap is 0 to {LONGEST_OVERLAP.days} days",
            code="key.overlap_invalid",
            pointer="/overlap_hours",
        )
    if keep is not None and keep not in set(Keep):
        raise InvalidError("keep current or previous", code="key.keep_unknown", pointer="/keep")
    # Under the row's lock: of two requests under one idempotency key the second finds the first.
    rows = ApiKey.objects.select_for_update(of=("self",))
    found = rows.filter(pk=key.pk, license_id=license_.pk).first()
    if found is None:
        raise NotFoundError("there is no such key under this license")
    key = found
    request = _rotation_request(license_, key, idempotency_key)
    if key.rotations.filter(request=request).exists():
        raise ConflictError(
            "this key was rotated by this request, and its secret cannot be shown again",
            code="key.rotated_already",
        )
    if key.revoked_at is not None:
        raise ConflictError("the key was revoked", code="key.revoked")
    if key.expires_at <= now:
        raise ConflictError("the key has expired", code="key.expired")
    _keep(key, keep, until=now + overlap, now=now)
    made = keys.generate(KeyMode(key.mode), key.public_id)
    version = peppers.newest_or_first()
    key.digest, key.pepper_version = made.digest(peppers.pepper(version)), version
    key.save(update_fields=["digest", "pepper_version", *_PREVIOUS])
    KeyRotation.objects.create(
        tenant_id=key.tenant_id,
        key=key,
        request=request,
        previous_not_after=key.previous_not_after or now,
        rotated_by_id=actor.user_id,
    )
    transaction.on_commit(lambda: keys.CACHE.drop(key.public_id))
    record.facts(
        key=key.reference,
        overlap=int(overlap.total_seconds()),
        kept=(keep or Keep.CURRENT.value) if overlap else "none",
    )
    return Issued(key, made.text)


_PREVIOUS: Final = ("previous_digest", "previous_pepper_version", "previous_not_after")


def _keep(key: ApiKey, keep: str | None, *, until: datetime, now: datetime) -> None:
    """Which secret is good beside the next one, and until when."""
    if until == now:
        key.previous_digest = key.previous_pepper_version = key.previous_not_after = None
        return
    two = key.previous_not_after is not None and key.previous_not_after > now
    if two and keep is None:
        raise ConflictError(
            "the last rotation's overlap has not ended: say which secret stays",
            code="key.overlap_open",
            pointer="/keep",
        )
    if not (two and keep == Keep.PREVIOUS):
        key.previous_digest, key.previous_pepper_version = key.digest, key.pepper_version
    key.previous_not_after = until


def _rotation_request(license_: License, key: ApiKey, header: str | None) -> str:
    """What tells one request to rotate from another: a hash, since the header is the caller's."""
    if header is None:
        return secrets.token_hex(32)
    named = canonical([str(key.pk), idempotency.check_header(header)])
    return keyed_hash(license_.customer, "key rotation", named).hex()


@action(Event.KEY_REVOKED, requires=Permission.KEY_REVOKE)
def revoke_key(record: Record, actor: UserActor, license_: License, *, key: ApiKey) -> ApiKey:
    """Shut a key. This process refuses it at once, every other within `gateway.aging.LIFE`.

    The license's owner may do this, and its customer.

    Raises:
        NotFoundError: the key is not of this license.
        ConflictError: `key.revoked`: it was revoked before.
    """
    del actor
    _revoke(license_, key)
    record.facts(key=key.reference)
    return key


@action(Event.KEY_REPORTED, requires=Permission.KEY_REVOKE)
def report_key(record: Record, actor: SystemActor, license_: License, *, key: ApiKey) -> ApiKey:
    """Shut a key that somebody found and sent whole: whoever has it could also call with it.

    Two entries: the license's owner sees one, its customer the other.

    Raises:
        NotFoundError: the key is not of this license.
        ConflictError: `key.revoked`: it was revoked before.
    """
    del actor
    _revoke(license_, key)
    record.facts(key=key.reference)
    if license_.customer_id != license_.tenant_id:
        record.also(Event.KEY_REPORTED, key, key=key.reference)
    return key


def _revoke(license_: License, key: ApiKey) -> None:
    if key.license_id != license_.pk:
        raise NotFoundError("there is no such key under this license")
    now = timezone.now()
    if not ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now):
        raise ConflictError("this key was revoked already", code="key.revoked")
    key.revoked_at = now
    transaction.on_commit(lambda: keys.CACHE.drop(key.public_id))
