"""Private facts: the log holds a salted commitment, the value lies beside it under a subject's key.

    commitment = HMAC-SHA256(salt, entry id ‖ 0x1F ‖ field ‖ 0x1F ‖ canonical(value))

The salt is 32 random bytes, so that a value of few possibilities cannot be guessed from the
commitment. Salt and value rest sealed together; once the subject's key is deleted the commitment
opens for nobody, and every proof over the entry still holds. Whoever is shown salt and value can
check them against the log with `verify_private`.
"""

import hashlib
import hmac
import json
import secrets
import uuid
from typing import Any, Final, Protocol

from audit.canonical import canonical
from audit.errors import KeyMissingError, ProofError

SALT_SIZE: Final = 32
_SEPARATOR: Final = b"\x1f"


class SubjectKeys(Protocol):
    """Whoever keeps a key for each data subject; governance registers the real one."""

    def seal(self, key_ref: str, plaintext: bytes, aad: bytes) -> bytes:
        """Encrypt under the key named `key_ref`, bound to `aad`."""
        ...

    def open(self, key_ref: str, sealed: bytes, aad: bytes) -> bytes:
        """Decrypt; raises a `DomainError` where the key is gone or the bytes were changed."""
        ...


_providers: list[SubjectKeys] = []


def register_subject_keys(provider: SubjectKeys) -> None:
    """Set the key provider of this process; the last one registered counts."""
    _providers[:] = [provider]


def commitment(salt: bytes, entry_id: uuid.UUID, field: str, value: Any) -> str:
    """The commitment to `value` in hexadecimal, as it stands in the entry's body."""
    message = _SEPARATOR.join([str(entry_id).encode(), field.encode(), canonical(value)])
    return hmac.digest(salt, message, hashlib.sha256).hex()


def verify_private(
    committed: str, salt: bytes, entry_id: uuid.UUID, field: str, value: Any
) -> None:
    """Check a disclosed salt and value against the commitment in an entry's body.

    Raises:
        ProofError: they do not fit.
    """
    if len(salt) != SALT_SIZE or not hmac.compare_digest(
        commitment(salt, entry_id, field, value), committed
    ):
        raise ProofError("the disclosed value is not the one committed to")


def commit_private(entry_id: uuid.UUID, field: str, value: Any, key_ref: str) -> str:
    """Store `value` sealed under the subject key `key_ref`; return its commitment.

    Call it in the transaction that appends the entry.

    Raises:
        KeyMissingError: no key provider is registered: nothing is stored unsealed.
        CanonicalError: the value has no canonical form.
    """
    from audit.models import PrivateFact  # noqa: PLC0415 - commitments are checked without Django

    salt = secrets.token_bytes(SALT_SIZE)
    sealed = _provider().seal(key_ref, salt + canonical(value), _aad(entry_id, field))
    PrivateFact.objects.create(entry_id=entry_id, field=field, key_ref=key_ref, sealed=sealed)
    return commitment(salt, entry_id, field, value)


def open_private(entry_id: uuid.UUID, field: str) -> tuple[bytes, Any]:
    """Salt and value of a private fact, checked against the entry's commitment.

    The caller is an action: reading personal data is an operation.

    Raises:
        ProofError: there is no such fact, or it is not the one committed to.
        KeyMissingError: no key provider is registered.
        DomainError: the provider's own, where the subject's key is gone.
    """
    from audit.models import AuditEntry, PrivateFact  # noqa: PLC0415 - as in commit_private

    fact = PrivateFact.objects.filter(entry_id=entry_id, field=field).first()
    entry = AuditEntry.objects.filter(pk=entry_id).first()
    if fact is None or entry is None:
        raise ProofError("the entry has no such private fact")
    opened = _provider().open(fact.key_ref, bytes(fact.sealed), _aad(entry_id, field))
    salt, value = opened[:SALT_SIZE], json.loads(opened[SALT_SIZE:])
    committed = json.loads(bytes(entry.body)).get("private", {}).get(field, "")
    verify_private(committed, salt, entry_id, field, value)
    return salt, value


def _provider() -> SubjectKeys:
    if not _providers:
        raise KeyMissingError("no subject keys are registered", code="audit.subject_keys_missing")
    return _providers[0]


def _aad(entry_id: uuid.UUID, field: str) -> bytes:
    """Binds a sealed fact to its place: moved to another entry or field it does not open."""
    return _SEPARATOR.join([b"portcullis private fact", str(entry_id).encode(), field.encode()])
