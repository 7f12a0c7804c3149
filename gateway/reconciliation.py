"""Whether what was charged adds up: licenses, usage, entries and rollups, held against each other.

Each comparison is one statement, or reads a stretch of the log that no longer changes, so that it
is right while calls come in.
"""

import json
from collections.abc import Iterator
from typing import Final
from uuid import UUID

from django.db import connection

from audit.models import AuditEntry, Leaf
from gateway.metered import Metered, metered
from gateway.models import UsageRollup, UsageRound
from gateway.rollups import Place, Sums, added_up

_CHUNK: Final = 2000

_USED: Final = """
    SELECT l.id, l.used,
        (SELECT COALESCE(SUM(r.charged), 0) FROM gateway_usagerollup AS r
         WHERE r.license_id = l.id),
        (SELECT COALESCE(SUM(u.units), 0) FROM gateway_usageevent AS u
         WHERE u.license_id = l.id AND u.charged AND NOT EXISTS (
            SELECT 1 FROM gateway_prediction AS p JOIN audit_leaf AS f ON f.entry_id = p.entry_id
            WHERE p.tenant_id = u.tenant_id AND p.request_id = u.request_id AND f."index" <= (
                SELECT COALESCE(MAX(o.last_index), -1) FROM gateway_usageround AS o)))
    FROM gateway_license AS l
"""


def usage() -> Iterator[str]:
    """Units that a license used and that are in no rollup or event, and rollups of other sums."""
    with connection.cursor() as cursor:
        cursor.execute(_USED)
        for license_, used, rolled, unrolled in cursor.fetchall():
            if used != rolled + unrolled:
                key = license_ if isinstance(license_, UUID) else UUID(license_)
                yield f"license:{key} used {used}, and {rolled} + {unrolled} are accounted for"
    yield from _entries()
    yield from _rounds()


def _entries() -> Iterator[str]:
    """Events whose entry says something else."""
    last = Leaf.objects.order_by("-index").values_list("index", flat=True).first()
    for first in range(0, 0 if last is None else last + 1, _CHUNK):
        events = list(metered(first, first + _CHUNK))
        bodies = AuditEntry.objects.filter(
            pk__in=Leaf.objects.filter(
                index__gte=first, index__lt=first + _CHUNK
            ).values("entry_id")
        ).values_list("pk", "body")  # fmt: skip
        told = dict(bodies) if events else {}
        for event in events:
            facts = json.loads(bytes(told[event.entry]))["facts"]
            said = (facts.get("license"), facts.get("sku"), facts.get("units"))
            if (*said, facts.get("charged")) != _as_facts(event):
                yield f"entry {event.entry} says another charge than the usage of its call"


def _as_facts(event: Metered) -> tuple[str, str, int, bool]:
    return f"license:{event.license}", event.sku, event.units, event.charged


def _rounds() -> Iterator[str]:
    """Rounds that leave a gap or overlap, and rollups that are not what the log gives."""
    expected = 0
    for stretch in UsageRound.objects.order_by("first_index"):
        if stretch.first_index != expected:
            yield f"rollups: the round {stretch} does not begin at {expected}"
        expected = stretch.last_index + 1
        kept = {_place(row): _sums(row) for row in UsageRollup.objects.filter(round=stretch)}
        if kept != added_up(metered(stretch.first_index, stretch.last_index + 1)):
            yield f"rollups: the round {stretch} holds other sums than the log gives"


def _place(row: UsageRollup) -> Place:
    return row.tenant_id, row.license_id, row.sku, row.hour


def _sums(row: UsageRollup) -> Sums:
    return Sums(row.first_index, row.last_index, row.calls, row.units, row.charged)
