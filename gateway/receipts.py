"""Receipts: signed, once a call has committed, over the entry that recorded it.

Everything in a receipt follows from the entry, so that it is signed when it is asked for and never
stored: a replay and `GET /api/v1/receipts/…` give the same note as the first answer did.
"""

import functools
import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from audit.checkpoint import SigningKey
from audit.errors import ProofError
from audit.merkle import leaf_hash
from audit.models import AuditEntry
from audit.receipts import Receipt, sign_receipt
from audit.sequencer import inclusion_proof
from audit.signer import read_key

# The sequencer takes seconds. The promise leaves room for one that must be repaired by hand.
MERGE_WITHIN: Final = timedelta(hours=24)


def signing_key() -> SigningKey:
    """The receipt key, read once a process. Called before a call is charged, to fail early.

    Raises:
        KeyMissingError: the key is missing or exposed.
    """
    return _read(str(settings.RECEIPT_KEY_FILE))


def receipt_for(entry_id: uuid.UUID) -> dict[str, Any]:
    """As `receipt_over`, of an entry that was committed before.

    Raises:
        ProofError: there is no such entry.
        KeyMissingError: the receipt key is missing or exposed.
    """
    body = AuditEntry.objects.filter(pk=entry_id).values_list("body", flat=True).first()
    if body is None:
        raise ProofError("there is no such entry")
    return receipt_over(bytes(body))


def receipt_over(entry: bytes) -> dict[str, Any]:
    """What the caller keeps, over a committed entry's body: the signed note, and what it says.

    Raises:
        KeyMissingError: the receipt key is missing or exposed.
    """
    body = json.loads(entry)
    receipt = Receipt(
        leaf_hash=leaf_hash(entry),
        entry_id=uuid.UUID(body["id"]),
        event=body["event"],
        request_id=body["request"],
        tenant=body["tenant"],
        at=body["at"],
        merge_by=body["at"] + MERGE_WITHIN // timedelta(microseconds=1),
        facts=body["facts"],
    )
    return {
        "note": sign_receipt(signing_key(), receipt),
        "entry": body["id"],
        "leaf_hash": receipt.leaf_hash.hex(),
        "merge_by": receipt.merge_by,
    }


def proof_for(entry_id: uuid.UUID) -> str | None:
    """The C2SP proof file that redeems a receipt; None until the log has merged the entry."""
    try:
        return str(inclusion_proof(entry_id))
    except ProofError as error:
        if error.stable_code != "audit.not_sequenced":
            raise
        return None


@functools.lru_cache(maxsize=4)
def _read(path: str) -> SigningKey:
    return read_key(Path(path))
