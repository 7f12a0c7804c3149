"""Entries for tests of the log, with their pending leaves, as `audit.recording` writes them."""

import secrets
import time
import uuid
from typing import Any

from audit.canonical import canonical
from audit.merkle import leaf_hash
from audit.models import AuditEntry, PendingLeaf

EVENTS = ("dataset.anonymized", "model.predicted", "key.revoked")


def make_entry(number: int = 0, *, entry_id: uuid.UUID | None = None, **changes: Any) -> AuditEntry:
    """Append one entry and its pending leaf; `changes` override fields of the body."""
    entry_id = entry_id or _time_ordered(number)
    fields = {
        "v": 1,
        "id": str(entry_id),
        "event": EVENTS[number % len(EVENTS)],
        "outcome": ("done", "done", "denied", "failed")[number % 4],
        "at": 1_790_000_000_000_000 + number * 3_600_000_000,
        "tenant": f"tenant:{number % 2}",
        "actor": f"user:{number % 5}",
        "subject": f"dataset:{number}",
        "permission": "dataset:anonymize",
        "reason": None,
        "request": f"request-{number}",
        "facts": {"rows": number},
        "private": {},
        "nonce": secrets.token_hex(16),
        **changes,
    }
    body = canonical(fields)
    entry = AuditEntry.objects.create(
        id=entry_id,
        body=body,
        event=fields["event"],
        outcome=fields["outcome"],
        tenant=fields["tenant"],
        actor=fields["actor"],
        subject=fields["subject"],
        request_id=fields["request"],
        at=fields["at"],
    )
    PendingLeaf.objects.create(entry_id=entry_id, leaf_hash=leaf_hash(body))
    return entry


def make_entries(count: int, *, start: int = 0) -> list[AuditEntry]:
    """Append `count` entries."""
    return [make_entry(number) for number in range(start, start + count)]


def _time_ordered(number: int) -> uuid.UUID:
    """A version 7 id; `number` stands in for the clock's next tick."""
    milliseconds = time.time_ns() // 1_000_000 + number
    value = (milliseconds & (2**48 - 1)) << 80 | secrets.randbits(80)
    return uuid.UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)
