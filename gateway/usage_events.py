"""Usage as CloudEvents 1.0, in the order of the log, for a billing system of somebody else's.

    source      <log origin>/customers/<customer's id>
    id          <the call's id>/<what was called>: unique with the source, and never another
    time        of the call's entry
    subject     the license

A call's id is unique for its customer alone, so that the customer is part of the source. A cursor
is a place in the log: every event before it was handed out. The same cursor gives the same events
again, more of them later; whoever keeps the last cursor, or drops what it has seen by source and
id, counts each once. Only what is rolled up is handed out: it is signed, and complete to its end.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from django.conf import settings

from audit.canonical import LARGEST
from audit.reports.layout import iso_time
from gateway.errors import RequestError
from gateway.metered import Metered, metered
from gateway.models import UsageRollup
from gateway.rollups import rolled_end

TYPE: Final = "portcullis.usage.v1"
MEDIA_TYPE: Final = "application/cloudevents-batch+json"
MOST: Final = 1000  # events in one batch
_RANGES: Final = 100  # stretches of the log that one batch looks through
_DIGITS: Final = 16


@dataclass(frozen=True)
class Batch:
    """Some events, and the cursor that goes on after them."""

    events: list[dict[str, Any]]
    next: int


def read_cursor(text: str) -> int:
    """The place that a cursor names; the beginning without one.

    Raises:
        RequestError: `request.cursor_invalid`.
    """
    plain = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    if text and (not plain or int(text) > LARGEST):
        raise RequestError("this cursor was not given here", code="request.cursor_invalid")
    return int(text or 0)


def batch(licenses: Collection[UUID], cursor: int, most: int = MOST) -> Batch:
    """The events of these licenses from the cursor on: at least `most`, if there are as many.

    A batch ends with a place in the log, not within it.
    """
    end = max(cursor, rolled_end())
    events: list[dict[str, Any]] = []
    for number, (first, last) in enumerate(_stretches(licenses, cursor, end)):
        if number == _RANGES:
            return Batch(events, first)
        mine = (one for one in metered(first, last + 1) if one.license in licenses)
        for index, there in groupby(mine, key=lambda one: one.index):
            events += map(as_event, there)
            if len(events) >= most:
                return Batch(events, index + 1)
    return Batch(events, end)


def _stretches(licenses: Collection[UUID], cursor: int, end: int) -> Iterator[tuple[int, int]]:
    """Where in the log from the cursor on there is usage of the licenses; none overlaps another."""
    rows = (
        UsageRollup.objects.filter(license__in=licenses, last_index__gte=cursor, last_index__lt=end)
        .order_by("first_index")
        .values_list("first_index", "last_index")
    )
    reached = cursor
    for first, last in rows.iterator():
        if last >= reached:
            yield max(first, reached), last
            reached = last + 1


def as_event(one: Metered) -> dict[str, Any]:
    """One usage event, in the JSON format of CloudEvents."""
    return {
        "specversion": "1.0",
        "type": TYPE,
        "source": f"{settings.LOG_ORIGIN}/customers/{one.customer}",
        "id": f"{one.request}/{one.sku}",
        "time": iso_time(one.at),
        "subject": f"license:{one.license}",
        "datacontenttype": "application/json",
        "data": {
            "customer": str(one.customer),
            "license": str(one.license),
            "sku": one.sku,
            "units": one.units,
            "charged": one.charged,
            "entry": str(one.entry),
            "index": one.index,
        },
    }
