"""The log's signer: it holds the private key, and remembers what it signed.

The database can be rolled back or restored from a backup; a log that signed size 120 and then signs
another tree of size 110 has told two stories. So the signer keeps its last (size, root) in a file
beside the key, outside the database, and signs a new tree only with a proof that the last one is
its prefix.
"""

import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from audit.checkpoint import SigningKey, TreeHead, VerifierKey, sign_note
from audit.errors import EquivocationError, KeyMissingError, ProofError
from audit.merkle import EMPTY_ROOT, verify_consistency

_PRIVATE_MODE: Final = 0o600


# Makes the consistency proof (`audit.merkle`) from the signer's last size to the one to be signed.
Prove = Callable[[int, int], Sequence[bytes]]


class Signer:
    """Signs checkpoints with the key in `key_file`; one process at a time, by file lock.

    The state file is `<key_file>.state`; `create_log_key` writes both. A key without its state is
    refused, since nobody knows what it signed: to move a log to another machine, move both files.
    """

    def __init__(self, key_file: Path, *more_keys: SigningKey) -> None:
        self.key_file = key_file
        self.state_file = key_file.with_name(key_file.name + ".state")
        self._key = read_key(key_file)
        self._more_keys = more_keys  # the other key of a rotation

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return self._key.verifier

    def last(self) -> TreeHead:
        """The last tree head this key signed; of size 0 for a new key.

        Raises:
            EquivocationError: the state file is missing or unreadable: what was signed is unknown.
        """
        try:
            state = json.loads(self.state_file.read_text())
            return TreeHead(state["origin"], state["size"], bytes.fromhex(state["root"]))
        except FileNotFoundError:
            raise EquivocationError("the signer's state file is missing") from None
        except (ValueError, KeyError, TypeError):
            raise EquivocationError("the signer's state file is unreadable") from None

    def sign(self, head: TreeHead, prove: Prove) -> str:
        """The signed checkpoint of `head`. The state is on disk before the signature leaves.

        Signing the last tree again is allowed, and gives the same note.

        Raises:
            EquivocationError: `head` is smaller than the last tree, or does not extend it, or is of
                another origin.
        """
        with self._locked():
            last = self.last()
            if head.origin != last.origin:
                raise EquivocationError("the signer's key belongs to another log")
            if head.size < last.size:
                raise EquivocationError(
                    f"the log has {head.size} leaves, and {last.size} were signed before"
                )
            try:
                proof = prove(last.size, head.size)
                verify_consistency(last.size, head.size, proof, last.root, head.root)
            except ProofError as error:
                raise EquivocationError(
                    f"the log does not extend the tree of {last.size} leaves signed before"
                ) from error
            _remember(self.state_file, head)
            return sign_note(str(head), self._key, *self._more_keys)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock_file = self.key_file.with_name(self.key_file.name + ".lock")
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def create_log_key(key_file: Path, origin: str) -> VerifierKey:
    """Make a log's key: state and public key first, so that no key is ever without its state.

    Raises:
        KeyMissingError: the file is there already; a log's key is never written over.
    """
    if key_file.exists():
        raise KeyMissingError("a key file is there already", code="audit.key_exists")
    key = SigningKey.generate(origin)
    _remember(key_file.with_name(key_file.name + ".state"), TreeHead(origin, 0, EMPTY_ROOT))
    write_private(key_file.with_name(key_file.name + ".vkey"), f"{key.verifier}\n")
    write_private(key_file, key.secret_text() + "\n")
    return key.verifier


def _remember(state_file: Path, head: TreeHead) -> None:
    state = {"origin": head.origin, "size": head.size, "root": head.root.hex()}
    write_private(state_file, json.dumps(state) + "\n")


def read_key(key_file: Path) -> SigningKey:
    """Read a private key.

    Raises:
        KeyMissingError: there is no such file, others may read it, or it holds no key.
    """
    try:
        descriptor = os.open(key_file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise KeyMissingError("a signing key is not where the settings say it is") from None
    with os.fdopen(descriptor) as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise KeyMissingError(
                f"a signing key file has mode {mode:04o}; it must be 0600", code="audit.key_exposed"
            )
        try:
            return SigningKey.parse(file.read())
        except (ProofError, UnicodeDecodeError):
            raise KeyMissingError("a signing key file holds no signing key") from None


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 so that after a crash either the old or the new text is there."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE_MODE)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
