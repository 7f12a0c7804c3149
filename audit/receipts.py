"""What the receipt key signs: receipts for single calls, and the digests of bundle manifests.

A receipt is a signed note that promises, for one answered call, that its entry will stand in the
log by a deadline. Kept beside the answer it convicts a log that later leaves the entry out.

    <origin>/receipts
    {"at":…,"entry":"…","event":"…","facts":{…},"leaf_hash":"…","merge_by":…,…}

    — <origin>/receipts base64(key id ‖ signature)

Each kind of note has a first line of its own, so that none passes for another, or for a checkpoint.
All functions are pure.
"""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from audit.canonical import canonical
from audit.checkpoint import SigningKey, VerifierKey, open_note, sign_note
from audit.errors import CanonicalError, ProofError
from audit.merkle import HASH_SIZE

VERSION: Final = 1
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_RECEIPTS, _BUNDLE, _KEYS = "/receipts", "/bundle", "/keys"


def receipt_key_name(origin: str) -> str:
    """The name of a log's receipt key."""
    return origin + _RECEIPTS


@dataclass(frozen=True, slots=True)
class Receipt:
    """The promise for one call.

    Attributes:
        leaf_hash: the entry's leaf hash (RFC 6962), 32 bytes.
        entry_id: the entry's id.
        event: the entry's event.
        request_id: the call's request id, None outside a request.
        tenant: the tenant's id as a value.
        at: when the entry was made, microseconds since the Unix epoch.
        merge_by: the deadline by which the log holds the entry, microseconds likewise.
        facts: what the caller may hold the provider to: model digest, guarantee; canonical JSON.
    """

    leaf_hash: bytes
    entry_id: uuid.UUID
    event: str
    request_id: str | None
    tenant: str | None
    at: int
    merge_by: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The JSON object that is signed."""
        return {
            "v": VERSION,
            "leaf_hash": self.leaf_hash.hex(),
            "entry": str(self.entry_id),
            "event": self.event,
            "request": self.request_id,
            "tenant": self.tenant,
            "at": self.at,
            "merge_by": self.merge_by,
            "facts": dict(self.facts),
        }

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the body, after its signature was verified.

        Raises:
            ProofError: it is malformed, or not in canonical form.
        """
        try:
            body = json.loads(text)
            receipt = cls(
                leaf_hash=bytes.fromhex(body["leaf_hash"]),
                entry_id=uuid.UUID(body["entry"]),
                event=body["event"],
                request_id=body["request"],
                tenant=body["tenant"],
                at=body["at"],
                merge_by=body["merge_by"],
                facts=body["facts"],
            )
            same = canonical(receipt.body()) == text.encode()
        except (ValueError, KeyError, TypeError, AttributeError, CanonicalError):
            raise ProofError("a receipt is malformed") from None
        if not same or len(receipt.leaf_hash) != HASH_SIZE:
            raise ProofError("a receipt is malformed")
        return receipt


def sign_receipt(key: SigningKey, receipt: Receipt) -> str:
    """The receipt as a signed note.

    Raises:
        CanonicalError: a fact has no canonical form.
        ProofError: the key is no receipt key.
    """
    _origin(key.name)
    return sign_note(f"{key.name}\n{canonical(receipt.body()).decode()}\n", key)


def verify_receipt(note: str, keys: Sequence[VerifierKey]) -> Receipt:
    """Verify a receipt's signature, then read it.

    Raises:
        ProofError: the signature does not hold, or the note is no receipt of that key.
    """
    name, line, key = _open_two_lines(note, keys)
    if name != key.name or not name.endswith(_RECEIPTS):
        raise ProofError("the note is no receipt")
    return Receipt.parse(line)


def sign_manifest(key: SigningKey, digest: str) -> str:
    """A note over the SHA-256 (hexadecimal) of a bundle's manifest.

    Raises:
        ProofError: the key is no receipt key.
    """
    return sign_note(f"{_origin(key.name)}{_BUNDLE}\n{digest}\n", key)


def verify_manifest(note: str, keys: Sequence[VerifierKey]) -> str:
    """Verify the note over a manifest; return the digest that the manifest must have.

    Raises:
        ProofError: the signature does not hold, or the note is none over a manifest.
    """
    name, line, key = _open_two_lines(note, keys)
    if name != _origin(key.name) + _BUNDLE or _DIGEST.fullmatch(line) is None:
        raise ProofError("the note is not over a manifest")
    return line


def certify_receipt_key(log_key: SigningKey, receipt_key: VerifierKey) -> str:
    """The note in which a log's key vouches for its receipt key.

    Raises:
        ProofError: the receipt key has the name of another log.
    """
    if _origin(receipt_key.name) != log_key.name:
        raise ProofError("the receipt key is named after another log")
    return sign_note(f"{log_key.name}{_KEYS}\n{receipt_key}\n", log_key)


def verify_certificate(note: str, log_keys: Sequence[VerifierKey]) -> VerifierKey:
    """Verify a certificate; return the receipt key it vouches for.

    Raises:
        ProofError: the signature does not hold, or it is no certificate of that log.
    """
    name, line, key = _open_two_lines(note, log_keys)
    certified = VerifierKey.parse(line)
    if name != key.name + _KEYS or _origin(certified.name) != key.name:
        raise ProofError("the note is no certificate of a receipt key")
    return certified


def _open_two_lines(note: str, keys: Sequence[VerifierKey]) -> tuple[str, str, VerifierKey]:
    text, signed_by = open_note(note, keys)
    lines = text.split("\n")
    if len(lines) != 3 or lines[2]:  # noqa: PLR2004 - two lines and the end
        raise ProofError("the note is malformed")
    return lines[0], lines[1], signed_by[0]


def _origin(key_name: str) -> str:
    """The origin of the log whose receipt key has this name."""
    if not key_name.endswith(_RECEIPTS):
        raise ProofError("the key is no receipt key")
    return key_name.removesuffix(_RECEIPTS)
