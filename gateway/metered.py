"""Usage in the order of the log: each event beside the entry that proves it, and its place.

An event, its prediction and their entry commit together, and the log takes the entry later. So a
place in the log that is taken has its event, and one stretch of the log always reads the same.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import connection

HOUR: Final = 3_600_000_000  # microseconds
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_SELECT: Final = """
    SELECT l."index", e.id, e."at", u.tenant_id, u.license_id, u.request_id, u.sku, u.units,
           u.charged
    FROM audit_leaf AS l
    JOIN audit_auditentry AS e ON e.id = l.entry_id
    JOIN gateway_prediction AS p ON p.entry_id = l.entry_id
    JOIN gateway_usageevent AS u ON u.tenant_id = p.tenant_id AND u.request_id = p.request_id
    WHERE l."index" >= %s AND l."index" < %s
    ORDER BY l."index", u.sku
"""


@dataclass(frozen=True, slots=True)
class Metered:
    """One usage event whose entry stands in the log.

    Attributes:
        index: the entry's place in the log.
        entry: the entry's id.
        at: the entry's time, microseconds since the Unix epoch.
        customer: the tenant that called.
        license: under which license.
        request: the call's id, unique with `sku` for a customer.
        sku: what was called.
        units: what it costs.
        charged: False for a test key's call.
    """

    index: int
    entry: uuid.UUID
    at: int
    customer: uuid.UUID
    license: uuid.UUID
    request: str
    sku: str
    units: int
    charged: bool

    @property
    def hour(self) -> datetime:
        """The whole hour, UTC, that the entry's time is in."""
        return _EPOCH + timedelta(microseconds=self.at // HOUR * HOUR)


def metered(first: int, end: int) -> Iterator[Metered]:
    """The events of the log's places from `first` to before `end`, in that order.

    Of every tenant: the caller narrows what it shows.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SELECT, [first, end])
        for index, entry, at, customer, license_, request, sku, units, charged in cursor:
            yield Metered(
                index, _uuid(entry), at, _uuid(customer), _uuid(license_), request, sku, units,
                bool(charged),
            )  # fmt: skip


def _uuid(value: uuid.UUID | str) -> uuid.UUID:
    """A UUID as the database has it: SQLite keeps its hexadecimal digits."""
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)
