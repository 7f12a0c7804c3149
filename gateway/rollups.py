"""Usage by the hour, rolled up over stretches of the signed log: each event is counted once.

One round, labeled in the code:

    1. a transaction opens and takes the one lock (PostgreSQL: advisory; SQLite: BEGIN IMMEDIATE)
    2. the stretch begins after the last round's, and ends at most with the newest checkpoint
    3. its events are added up by customer, license, kind and hour; the round and its sums commit

A process killed before 3 leaves nothing, after it a whole round. Were there no lock, the second of
two rounds at once would fail: both begin at the same index, which is the round's key.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import connection, transaction

from audit.sequencer import latest_checkpoint
from gateway.metered import Metered, metered
from gateway.models import UsageRollup, UsageRound
from governance import rounds
from governance.scoping import across_tenants

EVERY: Final = 60.0  # seconds between rounds of the sweeper
SPAN: Final = 10_000  # places of the log in one round
_LOCK: Final = 0x726F6C6C  # any constant; "roll" in ASCII

Place = tuple[UUID, UUID, str, datetime]  # customer, license, sku, hour


@dataclass(slots=True)
class Sums:
    """What the events of one place add up to.

    Attributes:
        first, last: the lowest and the highest index of their entries.
        calls: events.
        units: what they cost.
        charged: of these, what was charged.
    """

    first: int
    last: int
    calls: int = 0
    units: int = 0
    charged: int = 0


def added_up(events: Iterable[Metered]) -> dict[Place, Sums]:
    """The sums of events that come in the order of the log."""
    sums: dict[Place, Sums] = {}
    for one in events:
        place = (one.customer, one.license, one.sku, one.hour)
        total = sums.setdefault(place, Sums(one.index, one.index))
        total.last = one.index
        total.calls += 1
        total.units += one.units
        total.charged += one.units if one.charged else 0
    return sums


def rolled_end() -> int:
    """The place in the log up to which everything is rolled up: before it all, from it nothing."""
    last = UsageRound.objects.order_by("-last_index").values_list("last_index", flat=True).first()
    return 0 if last is None else last + 1


def roll_up(span: int = SPAN) -> int:
    """Roll up what the newest checkpoint covers and no round did; how many events that were."""
    events = 0
    while (count := _round(span)) is not None:
        events += count
    return events


def _round(span: int) -> int | None:
    """One round of at most `span` places; None if there was nothing to do."""
    with (
        across_tenants(reason="usage of every customer is rolled up"),
        transaction.atomic(durable=True),  # 1
    ):
        _take_lock()
        first, newest = rolled_end(), latest_checkpoint()  # 2
        end = min(first + span, 0 if newest is None else newest.size)
        if end <= first:
            return None
        sums = added_up(metered(first, end))  # 3
        stretch = UsageRound.objects.create(first_index=first, last_index=end - 1)
        UsageRollup.objects.bulk_create(
            UsageRollup(
                round=stretch,
                tenant_id=customer,
                license_id=license_,
                sku=sku,
                hour=hour,
                first_index=total.first,
                last_index=total.last,
                calls=total.calls,
                units=total.units,
                charged=total.charged,
            )
            for (customer, license_, sku, hour), total in sums.items()
        )
        return sum(total.calls for total in sums.values())


def _take_lock() -> None:
    """One round at a time, until the transaction ends."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    # On SQLite the transaction itself is the lock: the settings open it with BEGIN IMMEDIATE.


rounds.register_round("rollups", EVERY, roll_up)
