"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint), and the keys that sign them.

A note is text, an empty line, and signature lines:

    <origin>
    <tree size>
    <base64 root>

    — <key name> base64(key id ‖ signature)

A checkpoint is a note of these three lines. `open_note` verifies before anything is read out of the
text. Signatures of unknown keys are ignored, which leaves room for witnesses, for ML-DSA, and for a
rotation in which the old and the new key both sign.

Everything here is pure; `audit.signer` is what holds a log's private key.
"""

import base64
import binascii
import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from audit.errors import ProofError
from audit.merkle import HASH_SIZE

ED25519: Final = b"\x01"  # the signature type of C2SP signed-note
MAX_NOTE: Final = 1_000_000  # bytes
MAX_SIGNATURES: Final = 100

_KEY_SIZE: Final = 32
_KEY_ID_SIZE: Final = 4
_DASH: Final = "— "
_PRIVATE: Final = "PRIVATE+KEY+"
_NAME: Final = re.compile(r"[^\s+\x00-\x1f]{1,255}")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")  # all but the newline
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_ID: Final = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public Ed25519 key with its name; `str()` is its vkey text, `name+id+base64`."""

    name: str
    public: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a vkey.

        Raises:
            ProofError: it is malformed, of another type, or its id is not its own.
        """
        name, public = _parse_key(text.strip())
        key = cls(name, public)
        if str(key) != text.strip():
            raise ProofError("a verifier key's id does not belong to it")
        return key

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ LF ‖ 0x01 ‖ public key), the first four bytes."""
        message = self.name.encode() + b"\n" + ED25519 + self.public
        return hashlib.sha256(message).digest()[:_KEY_ID_SIZE]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the vkey text, in hexadecimal: what one person reads out to another."""
        return hashlib.sha256(str(self).encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_b64(ED25519 + self.public)}"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private Ed25519 key with its name. Its text form is a secret; `str()` does not show it."""

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> Self:
        """A new random key.

        Raises:
            ProofError: the name holds a space, a plus sign or a control character.
        """
        if _NAME.fullmatch(name) is None:
            raise ProofError("that is no name for a key")
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, secret: str) -> Self:
        """Read the `PRIVATE+KEY+name+id+base64` form.

        Raises:
            ProofError: it is malformed, of another type, or its id is not its own.
        """
        text = secret.strip()
        if not text.startswith(_PRIVATE):
            raise ProofError("a signing key is malformed")
        name, seed = _parse_key(text.removeprefix(_PRIVATE))
        key = cls(name, seed)
        if key.secret_text() != text:
            raise ProofError("a signing key's id does not belong to it")
        return key

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return _verifier(self.name, self.seed)

    def secret_text(self) -> str:
        """The text that the key file holds."""
        key_id = self.verifier.key_id.hex()
        return f"{_PRIVATE}{self.name}+{key_id}+{_b64(ED25519 + self.seed)}"

    def sign(self, message: bytes) -> bytes:
        """A plain Ed25519 signature (RFC 8032), 64 bytes."""
        return _private(self.seed).sign(message)


# A receipt a call: deriving the same key anew would cost as much as the signature.
@functools.lru_cache(maxsize=8)
def _private(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


@functools.lru_cache(maxsize=8)
def _verifier(name: str, seed: bytes) -> VerifierKey:
    return VerifierKey(name, _private(seed).public_key().public_bytes_raw())


def sign_note(text: str, *keys: SigningKey) -> str:
    """The note: `text`, an empty line, one signature line for each key.

    Raises:
        ProofError: the text does not end in a newline, or holds a control character.
    """
    if not keys or not _note_text(text):
        raise ProofError("that text cannot be signed as a note")
    return f"{text}\n" + "".join(_signature_line(text, key) for key in keys)


def add_signature(note: str, key: SigningKey) -> str:
    """The note with one more signature: a rotation's second key, or a witness."""
    text, _ = _take_apart(note)
    return note + _signature_line(text, key)


def open_note(note: str, keys: Sequence[VerifierKey]) -> tuple[str, list[VerifierKey]]:
    """Verify a note; return its text and the keys that signed it.

    Raises:
        ProofError: malformed, no signature by any of `keys`, or one of theirs is wrong.
    """
    text, signatures = _take_apart(note)
    known = {(key.name, key.key_id): key for key in keys}
    signed_by: list[VerifierKey] = []
    for name, blob in signatures:
        key = known.get((name, blob[:_KEY_ID_SIZE]))
        if key is None or key in signed_by:
            continue
        verify_signature(key, text.encode(), blob[_KEY_ID_SIZE:])
        signed_by.append(key)
    if not signed_by:
        raise ProofError("the note is not signed by a known key")
    return text, signed_by


def verify_signature(key: VerifierKey, message: bytes, signature: bytes) -> None:
    """Check a plain Ed25519 signature.

    Raises:
        ProofError: it does not hold.
    """
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise ProofError("a signature does not hold") from None


@dataclass(frozen=True, slots=True)
class TreeHead:
    """What a checkpoint says: the log's origin, its size in leaves, and the root at that size."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a checkpoint's text, after `open_note` has verified it.

        Raises:
            ProofError: malformed, or with extension lines, which this log never writes.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0] or not _SIZE.fullmatch(lines[1]):  # noqa: PLR2004 - origin, size, root and the end
            raise ProofError("a checkpoint is malformed")
        root = unbase64(lines[2])
        if len(root) != HASH_SIZE:
            raise ProofError("a checkpoint is malformed")
        return cls(lines[0], int(lines[1]), root)

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"


def verify_checkpoint(note: str, origin: str, keys: Sequence[VerifierKey]) -> TreeHead:
    """Verify a checkpoint's signature, then read it, then compare its origin.

    Raises:
        ProofError: a signature, the form or the origin is wrong.
    """
    text, _ = open_note(note, keys)
    head = TreeHead.parse(text)
    if head.origin != origin:
        raise ProofError("the checkpoint is of another log")
    return head


def unbase64(text: str) -> bytes:
    """Strict standard base64: one text for one value, so that no second spelling passes.

    Raises:
        ProofError: it is anything else.
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ProofError("base64 is malformed") from None
    if _b64(data) != text:
        raise ProofError("base64 is malformed")
    return data


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _parse_key(text: str) -> tuple[str, bytes]:
    """Name and key bytes of `name+id+base64`; base64 itself may hold plus signs."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    if _NAME.fullmatch(name) is None or _KEY_ID.fullmatch(key_id) is None:
        raise ProofError("a key is malformed")
    data = unbase64(encoded)
    if data[:1] != ED25519 or len(data) != 1 + _KEY_SIZE:
        raise ProofError("a key is of another type or length")
    return name, data[1:]


def _signature_line(text: str, key: SigningKey) -> str:
    blob = key.verifier.key_id + key.sign(text.encode())
    return f"{_DASH}{key.name} {_b64(blob)}\n"


def _take_apart(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Text and (key name, key id ‖ signature) pairs of a well-formed note; nothing is trusted."""
    if len(note) > MAX_NOTE:
        raise ProofError("a note is too large")
    text, empty, tail = note.rpartition("\n\n")
    text += "\n"
    lines = tail.split("\n")
    if not empty or lines.pop() or not lines or len(lines) > MAX_SIGNATURES:
        raise ProofError("a note is malformed")
    if not _note_text(text):
        raise ProofError("a note is malformed")
    return text, [_read_signature(line) for line in lines]


def _read_signature(line: str) -> tuple[str, bytes]:
    if not line.startswith(_DASH):
        raise ProofError("a signature line is malformed")
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    blob = unbase64(encoded)
    if _NAME.fullmatch(name) is None or len(blob) <= _KEY_ID_SIZE:
        raise ProofError("a signature line is malformed")
    return name, blob


def _note_text(text: str) -> bool:
    """Whether a note may hold this text: it ends in a newline, and that is its only control."""
    return text.endswith("\n") and _CONTROL.search(text) is None
