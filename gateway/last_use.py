"""When a key was last used: bookkeeping, of which a killed process may lose a minute.

At once at the first use, so that a key that is used a single time is not missed; from then on at
most one write a key and minute. The statement's own condition holds that across processes, and a
process asks the database only when its own memory does not know better. What was rolled back with
the call that wrote it is not remembered.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from gateway.keys import KeyFacts
from gateway.models import ApiKey
from governance.scoping import across_tenants

EVERY: Final = timedelta(minutes=1)
REMEMBERED: Final = 10_000  # keys

_touched: dict[UUID, datetime] = {}


def touch(key: KeyFacts, *, at: datetime) -> None:
    """Say that a key was used."""
    last = _touched.get(key.id)
    if last is not None and at - last < EVERY:
        return
    with across_tenants(reason="a key was used, whosever it is"):
        unsaid = Q(last_used_at__isnull=True) | Q(last_used_at__lte=at - EVERY)
        ApiKey.objects.filter(unsaid, pk=key.id).update(last_used_at=at)
    transaction.on_commit(lambda: _remember(key.id, at))


def forget() -> None:
    """Ask the database again for every key."""
    _touched.clear()


def _remember(key: UUID, at: datetime) -> None:
    if len(_touched) >= REMEMBERED:
        _touched.clear()
    _touched[key] = at
