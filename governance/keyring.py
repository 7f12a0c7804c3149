"""Keys that wrap keys.

    root key (the provider's, never in the database)
      └─ tenant keys, wrapped by it:  "kek" wraps, "hash" hashes, "token" makes tokens
           └─ data keys, wrapped by the "kek": one for each stored object, one for each data subject

    wrapped = suite id (1 byte) ‖ nonce (12 random bytes) ‖ AEAD ciphertext ‖ tag

The associated data names what is wrapped, for whom and by which version of the wrapping key, so
that a wrapped key moved to another row does not open. Rotating a level makes a new version of its
key and wraps the level below anew; the data under it is never touched.
"""

import base64
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from audit.signer import write_private
from governance.errors import KeyFileError, KeyVersionError, SealError, SuiteError
from governance.suites import (
    DEFAULT_SUITE,
    NONCE_LENGTH,
    Suite,
    joined,
    open_with,
    seal_with,
    suite,
    suite_named,
)

FILE_FORMAT: Final = 1


class KeyProvider(Protocol):
    """Whoever keeps the root keys: a file here, a hardware module or a cloud service elsewhere."""

    def current_version(self) -> int:
        """The version that `wrap` uses."""

    def wrap(self, plaintext: bytes, aad: bytes) -> tuple[int, bytes]:
        """Seal a key under the current root key; return that key's version and the sealed key."""

    def unwrap(self, version: int, wrapped: bytes, aad: bytes) -> bytes:
        """Open what `wrap` sealed under this version.

        Raises:
            KeyVersionError: the provider has no such version.
            SealError: the sealed key or the associated data is another.
        """

    def rotate(self) -> int:
        """Make a new version current and return it. Earlier ones still open what they sealed."""


def wrap_key(chosen: Suite, wrapping_key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Seal a key under another.

    Raises:
        SuiteError: the wrapping key's length is not the suite's.
    """
    return _wrap(chosen, wrapping_key, os.urandom(NONCE_LENGTH), plaintext, aad)


def unwrap_key(wrapping_key: bytes, wrapped: bytes, aad: bytes) -> bytes:
    """Open what `wrap_key` made.

    Raises:
        SealError: whatever is wrong.
    """
    prefix, nonce = wrapped[:1], wrapped[1 : 1 + NONCE_LENGTH]
    if len(nonce) != NONCE_LENGTH:
        raise SealError
    try:
        aead = suite(prefix[0]).aead(wrapping_key)
    except SuiteError:
        raise SealError from None
    return open_with(aead, nonce, wrapped[1 + NONCE_LENGTH :], prefix + aad)


def tenant_key_context(tenant: str, purpose: str, version: int) -> bytes:
    """Associated data of a tenant key under the root key."""
    return joined("portcullis tenant key", tenant, purpose, str(version))


def data_key_context(tenant: str, kind: str, object_id: str, kek_version: int) -> bytes:
    """Associated data of a stored object's data key under the tenant's key-encryption key."""
    return joined("portcullis data key", tenant, kind, object_id, str(kek_version))


def subject_key_context(tenant: str, subject_ref: str, kek_version: int) -> bytes:
    """Associated data of a data subject's key under the tenant's key-encryption key."""
    return joined("portcullis subject key", tenant, subject_ref, str(kek_version))


def derive(chosen: Suite, key: bytes, use: str, domain: str, length: int) -> bytes:
    """A key for one use and domain out of a tenant's key: what is hashed for one joins no other."""
    return chosen.derive(key, joined("portcullis derived key", use, domain), length)


class LocalKeyFile:
    """Root keys in one JSON file that only its owner can read.

    `{"format": 1, "keys": [{"version": 1, "suite": "aes-gcm", "key": "<base64>"}, …]}`; the last
    version is current. The file is replaced as a whole, so that a crash leaves the old one or the
    new one, and read again when another process has replaced it.
    """

    def __init__(self, path: Path, *, create: bool, chosen: Suite = DEFAULT_SUITE) -> None:
        """Read the file; at first start, make it.

        Args:
            path: the key file. Its folder is made, for the owner alone, when it is to be created.
            create: whether a missing file may be made. Where keys are already wrapped it must not
                be: a new root key opens none of them, and the real file may just not be mounted.
            chosen: the suite of new root keys.

        Raises:
            KeyFileError: the file is missing and must not be made; it is malformed; it is open to
                others or another user's.
        """
        self._path = path
        self._chosen = chosen
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[int, _RootKey] = {}
        if create and not path.exists():
            self._create()
        self._refresh()

    def current_version(self) -> int:
        """The last version in the file."""
        self._refresh()
        return max(self._keys)

    def wrap(self, plaintext: bytes, aad: bytes) -> tuple[int, bytes]:
        """Seal a key under the current root key; see `KeyProvider`."""
        version = self.current_version()
        root = self._keys[version]
        return version, wrap_key(root.suite, root.key, plaintext, _root_context(version, aad))

    def unwrap(self, version: int, wrapped: bytes, aad: bytes) -> bytes:
        """Open what `wrap` sealed; see `KeyProvider`."""
        self._refresh()
        root = self._keys.get(version)
        if root is None:
            raise KeyVersionError(f"the key file has no root key of version {version}")
        return unwrap_key(root.key, wrapped, _root_context(version, aad))

    def rotate(self) -> int:
        """Append a new root key; see `KeyProvider`."""
        with self._locked():
            self._refresh()
            version = max(self._keys) + 1
            self._write(self._keys | {version: _RootKey.new(self._chosen)})
        self._refresh()
        return version

    def _create(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            if not self._path.exists():  # another process may have come first
                self._write({1: _RootKey.new(self._chosen)})

    def _write(self, keys: "dict[int, _RootKey]") -> None:
        for stale in self._path.parent.glob(f"{self._path.name}.*.new"):
            stale.unlink(missing_ok=True)  # left by a crash; nobody else writes: we hold the lock
        entries = [
            {"version": v, "suite": k.suite.slug, "key": base64.b64encode(k.key).decode("ascii")}
            for v, k in sorted(keys.items())
        ]
        text = json.dumps({"format": FILE_FORMAT, "keys": entries}, indent=1) + "\n"
        write_private(self._path, text)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock: the file itself is replaced, and a lock on it would be lost."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _refresh(self) -> None:
        """Read the file where it is another than the one read last."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            raise KeyFileError(
                "ROOT_KEY_FILE cannot be read", code="crypto.key_file_missing"
            ) from None
        try:
            # Judged on the open file, not on its name: it cannot be exchanged in between.
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                raise KeyFileError("ROOT_KEY_FILE is not ours", code="crypto.key_file_unsafe")
            if stat.S_IMODE(status.st_mode) & 0o177:
                raise KeyFileError(
                    "ROOT_KEY_FILE is open to others: its mode must be 0600",
                    code="crypto.key_file_unsafe",
                )
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    self._keys = _parse(file.read())
                self._seen = seen
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True, repr=False)
class _RootKey:
    suite: Suite
    key: bytes

    @classmethod
    def new(cls, chosen: Suite) -> "_RootKey":
        return cls(chosen, os.urandom(chosen.key_length))


def _parse(text: bytes) -> dict[int, _RootKey]:
    try:
        document: Any = json.loads(text)
        versions = [entry["version"] for entry in document["keys"]]
        if document["format"] != FILE_FORMAT or versions != list(range(1, len(versions) + 1)):
            raise KeyFileError("ROOT_KEY_FILE is of another format, or lacks a version")
        keys = {entry["version"]: _parse_key(entry) for entry in document["keys"]}
    except (ValueError, KeyError, TypeError, AttributeError, SuiteError):
        # Neither the cause nor its text: both may hold key bytes.
        raise KeyFileError("ROOT_KEY_FILE is malformed") from None
    if not keys:
        raise KeyFileError("ROOT_KEY_FILE holds no key")
    return keys


def _parse_key(entry: dict[str, Any]) -> _RootKey:
    chosen = suite_named(entry["suite"])
    key = base64.b64decode(entry["key"], validate=True)
    chosen.aead(key)  # checks the length
    return _RootKey(chosen, key)


def _root_context(version: int, aad: bytes) -> bytes:
    return joined("portcullis root key", str(version)) + aad


def _wrap(chosen: Suite, wrapping_key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """The whole of wrapping, without randomness."""
    prefix = bytes([chosen.id])
    return prefix + nonce + seal_with(chosen.aead(wrapping_key), nonce, plaintext, prefix + aad)
