"""The vault: sealed objects in storage, each under a data key of its own.

    incoming/<id>.part      while it is written; sealed bytes only
    <first two>/<id>        once it is whole, synced and renamed

The row of an object is written by the action that takes it in, in that action's transaction. Until
then the object belongs to nobody: whatever a crash, a refusal or a broken upload leaves behind is
sealed, without a key anywhere, and `sweep_orphans` removes it.
"""

import hashlib
import io
import os
import re
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Final, Self, cast

from django.core.files.storage import default_storage
from typing_extensions import Buffer

from governance.envelope import Identity, OpeningReader, SealingWriter, Source
from governance.errors import ObjectMissingError, SealError
from governance.keyring import data_key_context, unwrap_key, wrap_key
from governance.models import StoredObject, Tenant
from governance.scoping import across_tenants, reaches
from governance.subject_keys import StoredSubjectKeys, subject_key_ref
from governance.suites import suite_named
from governance.tenant_keys import (
    KeyPurpose,
    create_tenant_keys,
    current_key,
    key_of_version,
    key_provider,
    keyed_hash,
    named_hash,
    operator_keys,
    register_root_wrapped,
    rewrap_data_keys,
    rewrap_tenant_keys,
    rotate_root,
    rotate_tenant,
)

__all__ = [
    "ObjectWriter",
    "StoredSubjectKeys",
    "create_tenant_keys",
    "discard",
    "key_provider",
    "keyed_hash",
    "named_hash",
    "open_object",
    "operator_keys",
    "register_root_wrapped",
    "rewrap_data_keys",
    "rewrap_tenant_keys",
    "rotate_root",
    "rotate_tenant",
    "subject_key_ref",
    "sweep_orphans",
]

GRACE: Final = timedelta(hours=24)  # longer than any upload, and any transaction that takes one in
_INCOMING: Final = "incoming"
_PART: Final = re.compile(r"[0-9a-f]{32}\.part")
_WHOLE: Final = re.compile(r"[0-9a-f]{32}")


class ObjectWriter(io.RawIOBase):
    """Seals what is written to it into a new object of `tenant`.

    Used as a context manager; `finish` gives the object, everything else removes it:

        with ObjectWriter(tenant, "version") as writer:
            writer.write(...)
            stored = writer.finish()

    The `StoredObject` is not saved: the action that takes it in saves it. It is a writable file, so
    that pyarrow and csv write to it; closing it does not finish it.
    """

    def __init__(self, tenant: Tenant, kind: str) -> None:
        super().__init__()
        chosen = suite_named(tenant.suite)
        self._tenant = tenant
        self._kind = kind
        self._id = uuid.uuid4()
        self._key = os.urandom(chosen.key_length)
        self._suite = chosen
        self._part = _path(f"{_INCOMING}/{self._id.hex}.part")
        self._file = _HashingFile(_create(self._part))
        identity = Identity(str(tenant.id), kind, str(self._id))
        self._sealing = SealingWriter(cast("BinaryIO", self._file), chosen, self._key, identity)
        self._stored: StoredObject | None = None

    @property
    def object_id(self) -> uuid.UUID:
        """The id that the object will have."""
        return self._id

    def writable(self) -> bool:
        """It can be written."""
        return True

    def tell(self) -> int:
        """Plaintext bytes so far."""
        return self._sealing.size

    def write(self, data: Buffer, /) -> int:
        """Seal the next bytes.

        Raises:
            ValueError: the object is finished or aborted.
        """
        return self._sealing.write(data)

    def finish(self) -> StoredObject:
        """Seal the last segment, sync, give the object its name, wrap its key.

        After this returns the object survives a power cut. Called again, it gives the same object.
        """
        if self._stored is not None:
            return self._stored
        self._sealing.finish()
        self._file.sync()
        name = f"{self._id.hex[:2]}/{self._id.hex}"
        whole = _path(name)
        _make_folder(whole.parent)
        self._part.replace(whole)
        _sync_folder(whole.parent)
        kek = current_key(self._tenant, KeyPurpose.KEK)
        context = data_key_context(str(self._tenant.id), self._kind, str(self._id), kek.version)
        self._stored = StoredObject(
            id=self._id,
            tenant=self._tenant,
            kind=self._kind,
            suite=self._suite.slug,
            wrapped_key=wrap_key(kek.suite, kek.key, self._key, context),
            kek_version=kek.version,
            name=name,
            size=self._sealing.size,
            sealed_size=self._file.size,
            digest=self._file.digest(),
        )
        return self._stored

    def abort(self) -> None:
        """Remove what was written. Called again, or after a removal by others, it does nothing."""
        self._sealing.discard()
        self._file.close()
        self._part.unlink(missing_ok=True)
        if self._stored is not None:
            discard(self._stored)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None or self._stored is None:
            self.abort()
        self.close()


def open_object(stored: StoredObject) -> BinaryIO:
    """The plaintext of a stored object as a read-only, seekable file. Close it after use.

    Raises:
        ObjectMissingError: the sealed bytes are not in storage.
        KeyVersionError: the tenant's key that wraps the object's key is gone.
        SealError: whatever else is wrong; also while it is read. Also where the open scope is
            another tenant's: a foreign key is followed unscoped, and a row that was made to point
            at another tenant's object would open it with that tenant's keys.
    """
    if not reaches(stored.tenant_id):
        raise SealError
    owner, kind, object_id = str(stored.tenant_id), stored.kind, str(stored.id)
    kek = key_of_version(stored.tenant_id, KeyPurpose.KEK, stored.kek_version)
    context = data_key_context(owner, kind, object_id, stored.kek_version)
    key = unwrap_key(kek.key, bytes(stored.wrapped_key), context)
    try:
        source = default_storage.open(stored.name, "rb")
    except FileNotFoundError:
        raise ObjectMissingError("the sealed bytes of this object are gone") from None
    reader = OpeningReader(cast("Source", source), key, Identity(owner, kind, object_id))
    return cast("BinaryIO", reader)


def discard(stored: StoredObject) -> None:
    """Remove the sealed bytes of an object that no action took in.

    Whoever lost the connection while it committed does not know whether the action took it in: the
    row decides. Where that cannot be asked, the bytes stay, and `sweep_orphans` asks again.
    """
    with across_tenants(reason="bytes that a row names are never removed"):
        if StoredObject.objects.filter(pk=stored.pk).exists():
            return
    default_storage.delete(stored.name)


def sweep_orphans(older_than: timedelta = GRACE) -> int:
    """Remove sealed bytes that belong to no row and are older than this; return how many files.

    What is younger may be an upload under way, or an object whose row is being committed. Files
    that the vault did not name are left alone.
    """
    before = time.time() - older_than.total_seconds()
    removed = 0
    for path in _orphans(before):
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def _orphans(before: float) -> Iterator[Path]:
    root = _path("")
    for part in root.glob(f"{_INCOMING}/*.part"):
        if _PART.fullmatch(part.name) and _touched(part) < before:
            yield part
    for folder in root.glob("[0-9a-f][0-9a-f]"):
        old = {
            f"{folder.name}/{path.name}": path
            for path in folder.iterdir()
            if _WHOLE.fullmatch(path.name) and _touched(path) < before
        }
        with across_tenants(reason="files without a row belong to no tenant"):
            known = set(
                StoredObject.objects.filter(name__startswith=f"{folder.name}/").values_list(
                    "name", flat=True
                )
            )
        for name in old.keys() - known:
            yield old[name]


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()  # renamed or removed since the folder was read


class _HashingFile:
    """A new file that knows the SHA-256 and the length of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: Buffer) -> int:
        self._hash.update(data)
        written = self._file.write(data)
        self.size += written
        return written

    def sync(self) -> None:
        """Onto the disk, before the name that promises it is whole."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        self._file.close()

    def digest(self) -> str:
        return self._hash.hexdigest()


def _path(name: str) -> Path:
    return Path(default_storage.path(name))


def _create(path: Path) -> IO[bytes]:
    _make_folder(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb")


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
