"""Objects and keys in the database and on disk: life, rotation, crashes, erasure."""

import csv
import hashlib
import io
import os
import stat
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.db import transaction
from django.db.models import QuerySet

from audit.redaction import SubjectKeys
from governance import keyring, tenant_keys, vault
from governance.anonymization.operators import Pseudonym, Token
from governance.envelope import SEGMENT, SealingWriter, sealed_size
from governance.errors import (
    ErasedError,
    KeyFileError,
    KeyVersionError,
    ObjectMissingError,
    SealError,
)
from governance.models import StoredObject, SubjectKey, Tenant, TenantKey
from governance.models.tenants import Suite
from governance.scoping import tenant_scope
from governance.tenant_keys import KeyPurpose, current_key, key_of_version
from governance.vault import (
    ObjectWriter,
    StoredSubjectKeys,
    keyed_hash,
    named_hash,
    open_object,
    operator_keys,
    rewrap_data_keys,
    rewrap_tenant_keys,
    rotate_root,
    rotate_tenant,
    subject_key_ref,
    sweep_orphans,
)
from tests.factories.people import make_tenant

MARKER = b"plaintext-marker-7c1f"
LONG = (MARKER + os.urandom(100)) * 25_000  # about 3 MB

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _fresh(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has unwrapped nothing yet."""
    for cache in ("_providers", "_unwrapped", "_hashing"):
        monkeypatch.setattr(tenant_keys, cache, {})
    monkeypatch.setattr(tenant_keys, "_also_wrapped", [])


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def objects(home: Path) -> Path:
    return home / "objects"


def forget() -> None:
    """As a restarted process."""
    tenant_keys._providers.clear()
    tenant_keys._unwrapped.clear()
    tenant_keys._hashing.clear()


def store(tenant: Tenant, plaintext: bytes, kind: str = "version") -> StoredObject:
    with ObjectWriter(tenant, kind) as writer:
        writer.write(plaintext)
        stored = writer.finish()
    stored.save(force_insert=True)
    return stored


def read(stored: StoredObject) -> bytes:
    with open_object(stored) as file:
        return file.read()


def reload(stored: StoredObject) -> StoredObject:
    with tenant_scope(stored.tenant_id):
        fresh: StoredObject = StoredObject.objects.get(pk=stored.pk)
    return fresh


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def age(folder: Path, seconds: float) -> None:
    for path in files(folder):
        os.utime(path, (time.time() - seconds,) * 2)


@pytest.mark.parametrize("suite", Suite.values)
@pytest.mark.parametrize("size", [0, 1, SEGMENT, len(LONG)])
def test_an_object_is_sealed_stored_and_opened(objects: Path, suite: str, size: int) -> None:
    tenant = make_tenant("acme", suite=suite)
    stored = store(tenant, LONG[:size])
    forget()
    assert read(reload(stored)) == LONG[:size]
    (path,) = files(objects)
    sealed = path.read_bytes()
    assert MARKER not in sealed
    assert (stored.size, stored.sealed_size) == (size, sealed_size(size)) == (size, len(sealed))
    assert stored.digest == hashlib.sha256(sealed).hexdigest()
    assert stored.suite == suite
    assert objects / stored.name == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_csv_and_parquet_are_written_to_it_and_read_from_it(tenant: Tenant) -> None:
    table = pa.table({"a": list(range(300_000)), "b": [f"row {i}" for i in range(300_000)]})
    with ObjectWriter(tenant, "version") as writer:
        pq.write_table(table, cast("BinaryIO", writer), compression="none")
        stored = writer.finish()
    with open_object(stored) as file:
        assert pq.read_table(file).equals(table)
    with ObjectWriter(tenant, "version") as writer:
        text = io.TextIOWrapper(io.BufferedWriter(writer), encoding="utf-8", newline="")
        csv.writer(text).writerows([n, "值"] for n in range(1000))
        text.flush()
        assert writer.tell() == writer.finish().size > 1000
        text.detach()
    assert writer.closed


def test_an_object_that_is_not_finished_leaves_nothing(tenant: Tenant, objects: Path) -> None:
    with ObjectWriter(tenant, "version") as writer:
        writer.write(LONG)
        assert len(files(objects)) == 1
    assert files(objects) == []
    with pytest.raises(ValueError, match=r"closed|finished"):
        writer.write(b"more")


@pytest.mark.parametrize("finished", [False, True])
def test_an_error_inside_leaves_nothing(tenant: Tenant, objects: Path, finished: bool) -> None:  # noqa: FBT001  # a parameter
    def work() -> None:
        with ObjectWriter(tenant, "version") as writer:
            writer.write(LONG)
            if finished:
                writer.finish()
            raise RuntimeError("later work failed")

    with pytest.raises(RuntimeError):
        work()
    assert files(objects) == []


def test_what_no_action_took_in_is_discarded(tenant: Tenant, objects: Path) -> None:
    with ObjectWriter(tenant, "version") as writer:
        stored = writer.finish()
        assert writer.finish() is stored
    assert len(files(objects)) == 1
    vault.discard(stored)
    vault.discard(stored)
    assert files(objects) == []


class Crash(BaseException):
    """The process is killed: no handler runs."""


def killed(*_args: object, **_kwargs: object) -> None:
    raise Crash


CRASHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "while sealing the last segment": lambda p: p.setattr(SealingWriter, "finish", killed),
    "before the bytes are on disk": lambda p: p.setattr(vault._HashingFile, "sync", killed),
    "before the rename": lambda p: p.setattr(Path, "replace", killed),
    "after the rename": lambda p: p.setattr(vault, "_sync_folder", killed),
    "before the key is wrapped": lambda p: p.setattr(vault, "wrap_key", killed),
}


@pytest.mark.parametrize("step", CRASHES)
def test_a_crash_leaves_sealed_bytes_only_and_the_sweeper_removes_them(
    tenant: Tenant, objects: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    kept = store(tenant, b"kept")
    writer = ObjectWriter(tenant, "version")
    writer.write(LONG)
    with monkeypatch.context() as patch:
        CRASHES[step](patch)
        with pytest.raises(Crash):
            writer.finish()
    writer._file.close()  # as the kernel does; nothing is removed
    left = [path for path in files(objects) if path != objects / kept.name]
    assert len(left) == 1
    assert MARKER not in left[0].read_bytes()
    assert sweep_orphans() == 0  # it may be at work still
    age(objects, 25 * 3600)
    assert sweep_orphans() == 1
    assert files(objects) == [objects / kept.name]
    assert read(kept) == b"kept"


def test_a_row_that_was_rolled_back_leaves_an_orphan(tenant: Tenant, objects: Path) -> None:
    with transaction.atomic():
        store(tenant, LONG)
        transaction.set_rollback(True)
    assert sweep_orphans(timedelta(seconds=-1)) == 1
    assert files(objects) == []


def test_the_sweeper_leaves_foreign_files_and_young_ones(tenant: Tenant, objects: Path) -> None:
    for name in ("readme.txt", "incoming/notes.part", "ab/not-an-object", "zz/" + "0" * 32):
        (objects / name).parent.mkdir(exist_ok=True)
        (objects / name).write_bytes(b"x")
    age(objects, 1e6)
    with ObjectWriter(tenant, "version") as writer:
        assert sweep_orphans(timedelta(hours=1)) == 0
        writer.finish()
    assert sweep_orphans(timedelta(hours=1)) == 0
    assert len(files(objects)) == 5


def test_bytes_that_are_gone_are_said_to_be_gone(tenant: Tenant, objects: Path) -> None:
    stored = store(tenant, b"x")
    (objects / stored.name).unlink()
    with pytest.raises(ObjectMissingError) as caught:
        open_object(stored)
    assert caught.value.stable_code == "objects.missing"


MIXED_UP: dict[str, Callable[[StoredObject, StoredObject], None]] = {
    "another object's bytes": lambda a, b: setattr(a, "name", b.name),
    "another object's key": lambda a, b: setattr(a, "wrapped_key", b.wrapped_key),
    "another object's bytes and key": lambda a, b: vars(a).update(
        name=b.name, wrapped_key=b.wrapped_key
    ),
    "another id": lambda a, _: setattr(a, "id", uuid.uuid4()),
    "another kind": lambda a, _: setattr(a, "kind", "artifact"),
    "a changed key": lambda a, _: setattr(a, "wrapped_key", bytes(a.wrapped_key)[:-1] + b"\0"),
    "no key": lambda a, _: setattr(a, "wrapped_key", b""),
}


@pytest.mark.parametrize("what", MIXED_UP)
def test_rows_that_were_mixed_up_do_not_open(tenant: Tenant, what: str) -> None:
    first, second = store(tenant, b"first"), store(tenant, b"second")
    MIXED_UP[what](first, second)
    with pytest.raises(SealError):
        open_object(first)


def test_another_tenant_s_row_does_not_open(tenant: Tenant) -> None:
    other = make_tenant("rival")
    stored, theirs = store(tenant, b"mine"), store(other, b"theirs")
    theirs.wrapped_key, theirs.name, theirs.id = stored.wrapped_key, stored.name, stored.id
    with pytest.raises(SealError):
        open_object(theirs)


def test_a_key_version_that_is_gone(tenant: Tenant) -> None:
    stored = store(tenant, b"x")
    stored.kek_version = 9
    with pytest.raises(KeyVersionError):
        open_object(stored)


def test_every_key_of_a_tenant_is_made_once_and_wrapped(tenant: Tenant, home: Path) -> None:
    vault.create_tenant_keys(tenant)
    vault.create_tenant_keys(tenant)
    with tenant_scope(tenant.id):
        rows = list(TenantKey.objects.order_by("purpose"))
    assert [(row.purpose, row.version, row.suite) for row in rows] == [
        ("hash", 1, "aes-gcm"),
        ("kek", 1, "aes-gcm"),
        ("token", 1, "aes-gcm"),
    ]
    for row in rows:
        key = current_key(tenant, KeyPurpose(row.purpose)).key
        assert key not in bytes(row.wrapped)
        assert len(key) == {"hash": 32, "kek": 32, "token": 64}[row.purpose]


def test_whoever_comes_second_takes_the_first_one_s_key(tenant: Tenant) -> None:
    """Two processes find no key at the same time, and both make one."""
    with tenant_scope(tenant.id):
        first = tenant_keys._create(tenant, KeyPurpose.KEK, 1)
        second = tenant_keys._create(tenant, KeyPurpose.KEK, 1)
    assert (first.pk, bytes(first.wrapped)) == (second.pk, bytes(second.wrapped))


def test_hash_and_token_keys_are_of_one_suite(tenant: Tenant) -> None:
    """A tenant that changes its suite between the first hash and the first token keeps its own."""
    keyed_hash(tenant, "domain", b"value")
    tenant.suite = Suite.CHINESE
    tenant.save()
    keys = operator_keys(tenant)
    assert keys.suite.slug == Suite.INTERNATIONAL
    assert Token(keys).reveal(Token(keys).apply("王小明", "PERSON"), "PERSON") == "王小明"


def test_a_key_made_in_a_transaction_that_is_rolled_back_is_not_used(tenant: Tenant) -> None:
    with transaction.atomic():
        lost = keyed_hash(tenant, "domain", b"value")
        transaction.set_rollback(True)
    assert keyed_hash(tenant, "domain", b"value") != lost
    assert keyed_hash(tenant, "domain", b"value") == keyed_hash(tenant, "domain", b"value")


def test_keyed_hashes_are_apart_by_tenant_and_domain(tenant: Tenant) -> None:
    other = make_tenant("rival", suite=Suite.CHINESE)
    hashes = {
        keyed_hash(whose, domain, value)
        for whose in (tenant, other)
        for domain in ("a", "b")
        for value in (b"1", b"2")
    }
    assert len(hashes) == 8
    assert {len(hashed) for hashed in hashes} == {32}
    assert named_hash(tenant, "a", b"1") == f"1.1.{keyed_hash(tenant, 'a', b'1').hex()}"
    assert named_hash(other, "a", b"1").startswith("2.1.")
    before = keyed_hash(tenant, "a", b"1")
    forget()
    rotate_root()
    rotate_tenant(tenant)
    forget()
    assert keyed_hash(tenant, "a", b"1") == before


@pytest.mark.parametrize("suite", Suite.values)
def test_operator_keys_serve_operators_and_outlive_rotation(suite: str) -> None:
    tenant = make_tenant("acme", suite=suite)
    keys = operator_keys(tenant)
    pseudonym = Pseudonym(keys).apply("王小明", "PERSON")
    token = Token(keys).apply("王小明", "PERSON")
    rotate_tenant(tenant)
    rotate_root()
    forget()
    keys = operator_keys(tenant)
    assert Pseudonym(keys).apply("王小明", "PERSON") == pseudonym
    assert Token(keys).reveal(token, "PERSON") == "王小明"


def test_the_root_key_is_rotated_without_touching_what_is_below(tenant: Tenant) -> None:
    other = make_tenant("rival", suite=Suite.CHINESE)
    stored = [store(tenant, b"mine"), store(other, b"theirs")]
    vault.create_tenant_keys(tenant)
    before = [(bytes(s.wrapped_key), s.digest) for s in stored]
    seen: list[int] = []

    def peppers(provider: keyring.KeyProvider) -> int:
        seen.append(provider.current_version())
        return 2

    vault.register_root_wrapped(peppers)
    vault.register_root_wrapped(peppers)
    assert rotate_root() == 6 + 2
    assert seen == [2]
    forget()
    with tenant_scope(tenant.id, other.id):
        assert set(TenantKey.objects.values_list("root_version", flat=True)) == {2}
    assert [read(reload(s)) for s in stored] == [b"mine", b"theirs"]
    assert [(bytes(reload(s).wrapped_key), s.digest) for s in stored] == before


def test_a_tenant_key_is_rotated_without_touching_the_data(tenant: Tenant, objects: Path) -> None:
    other = make_tenant("rival")
    stored = [store(tenant, f"object {n}".encode()) for n in range(5)]
    theirs = store(other, b"theirs")
    StoredSubjectKeys().seal(subject_key_ref(tenant.id, "subject-1"), b"fact", b"aad")
    sealed = {path: path.read_bytes() for path in files(objects)}
    tenant.suite = Suite.CHINESE  # the tenant moves to the national suite
    tenant.save()
    assert rotate_tenant(tenant) == 6
    forget()
    assert {path: path.read_bytes() for path in files(objects)} == sealed
    for number, old in enumerate(stored):
        fresh = reload(old)
        assert (fresh.kek_version, bytes(fresh.wrapped_key)[0]) == (2, 2)
        assert read(fresh) == f"object {number}".encode()
    assert reload(theirs).kek_version == 1
    with tenant_scope(tenant.id):
        keks = TenantKey.objects.filter(purpose="kek").order_by("version")
        assert [(k.version, k.suite, k.retired_at is None) for k in keks] == [
            (1, "aes-gcm", False),
            (2, "sm4-gcm", True),
        ]
    assert read(store(tenant, b"after")) == b"after"
    assert rewrap_data_keys(tenant) == 0


def test_what_was_wrapped_late_opens_and_is_wrapped_anew_next_time(tenant: Tenant) -> None:
    """A worker that began before the rotation finishes after it."""
    store(tenant, b"first")
    late = store(tenant, b"late")
    wrapped, version = bytes(late.wrapped_key), late.kek_version
    rotate_tenant(tenant)
    with tenant_scope(tenant.id):
        StoredObject.objects.filter(pk=late.pk).update(wrapped_key=wrapped, kek_version=version)
    assert read(reload(late)) == b"late"
    assert rotate_tenant(tenant) == 2
    assert reload(late).kek_version == 3
    assert read(reload(late)) == b"late"


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_rotation_that_is_killed_halfway_loses_nothing(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    stored = [store(tenant, f"object {n}".encode()) for n in range(4)]
    updates = 0
    update = QuerySet.update

    def counted(self: QuerySet[Any], **values: object) -> int:
        nonlocal updates
        if updates == after:
            raise Crash
        updates += 1
        return update(self, **values)

    with monkeypatch.context() as patch:
        patch.setattr(QuerySet, "update", counted)
        with pytest.raises(Crash):
            rotate_tenant(tenant)
    forget()
    assert sorted(reload(s).kek_version for s in stored) == [1] * (4 - after) + [2] * after
    assert [read(reload(s)) for s in stored] == [f"object {n}".encode() for n in range(4)]
    assert rewrap_data_keys(tenant) == 4 - after
    assert {reload(s).kek_version for s in stored} == {2}
    assert [read(reload(s)) for s in stored] == [f"object {n}".encode() for n in range(4)]


def test_a_root_rotation_that_is_killed_halfway_loses_nothing(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = store(tenant, b"mine")
    with monkeypatch.context() as patch:
        patch.setattr(tenant_keys, "rewrap_tenant_keys", killed)
        with pytest.raises(Crash):
            rotate_root()
    forget()
    assert read(stored) == b"mine"
    assert rewrap_tenant_keys() == 3
    forget()
    assert read(stored) == b"mine"


def test_a_lost_key_file_is_not_replaced_by_a_new_one(tenant: Tenant, home: Path) -> None:
    stored = store(tenant, b"mine")
    moved = (home / "keys" / "root.key").rename(home / "elsewhere")
    forget()
    with pytest.raises(KeyFileError) as caught:
        open_object(stored)
    assert caught.value.stable_code == "crypto.key_file_missing"
    moved.rename(home / "keys" / "root.key")
    assert read(stored) == b"mine"


def test_another_root_key_opens_nothing(tenant: Tenant, home: Path) -> None:
    stored = store(tenant, b"mine")
    (home / "keys" / "root.key").unlink()
    keyring.LocalKeyFile(home / "keys" / "root.key", create=True)
    forget()
    with pytest.raises(SealError):
        open_object(stored)


def test_an_unknown_tenant_key_version(tenant: Tenant) -> None:
    with pytest.raises(KeyVersionError):
        key_of_version(tenant.id, KeyPurpose.KEK, 1)


@pytest.mark.parametrize("suite", Suite.values)
def test_subject_keys_seal_until_they_are_deleted(suite: str) -> None:
    tenant = make_tenant("acme", suite=suite)
    keys: SubjectKeys = StoredSubjectKeys()
    ref = subject_key_ref(tenant.id, "subject-1")
    sealed = [keys.seal(ref, fact, b"entry 1") for fact in (b"fact one", b"fact two")]
    assert b"fact" not in b"".join(sealed)
    forget()
    assert [keys.open(ref, s, b"entry 1") for s in sealed] == [b"fact one", b"fact two"]
    other = subject_key_ref(tenant.id, "subject-2")
    keys.seal(other, b"another subject", b"entry 1")
    for bad_ref, bad_sealed, aad in (
        (ref, sealed[0], b"entry 2"),
        (ref, sealed[0][:-1], b"entry 1"),
        (ref, b"", b"entry 1"),
        (ref, b"\x09" + sealed[0][1:], b"entry 1"),
        (other, sealed[0], b"entry 1"),
        ("not-a-tenant:subject-1", sealed[0], b"entry 1"),
        (subject_key_ref(uuid.uuid4(), "subject-1"), sealed[0], b"entry 1"),
    ):
        with pytest.raises(SealError):
            keys.open(bad_ref, bad_sealed, aad)
    with tenant_scope(tenant.id):
        assert SubjectKey.objects.count() == 2
        SubjectKey.objects.filter(subject_ref="subject-1").delete()
    with pytest.raises(ErasedError) as caught:
        keys.open(ref, sealed[0], b"entry 1")
    assert caught.value.stable_code == "crypto.erased"
    assert keys.seal(ref, b"a new fact", b"entry 1")  # a new key, which opens nothing old
    with pytest.raises(SealError):
        keys.open(ref, sealed[0], b"entry 1")


def test_subject_facts_outlive_a_change_of_suite(tenant: Tenant) -> None:
    keys = StoredSubjectKeys()
    ref = subject_key_ref(tenant.id, "subject-1")
    before = keys.seal(ref, b"before", b"")
    tenant.suite = Suite.CHINESE
    tenant.save()
    rotate_tenant(tenant)
    after = keys.seal(ref, b"after", b"")
    assert (before[0], after[0]) == (1, 2)
    forget()
    assert (keys.open(ref, before, b""), keys.open(ref, after, b"")) == (b"before", b"after")


def test_no_key_shows_in_a_repr(tenant: Tenant) -> None:
    secret = current_key(tenant, KeyPurpose.KEK)
    shown = repr(secret) + repr(operator_keys(tenant)) + repr(vault.key_provider())
    assert str(cast("object", secret.key)) not in shown
