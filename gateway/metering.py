"""What a call costs, written with the entry that proves it: called inside actions alone.

Quota is taken by one conditional UPDATE, so that no number of processes can admit one call too
many: the row's lock orders them (on SQLite the database's), and each sees what the one before it
left. A test key's call is counted and never charged.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import Exists, F, OuterRef

from audit.errors import DomainError
from gateway.errors import QuotaError
from gateway.keys import KeyFacts, read_key
from gateway.licensing import Call, Terms, admit
from gateway.models import ApiKey, License
from governance.scoping import across_tenants

_TOUCH_EVERY: Final = timedelta(minutes=1)
_TOUCHED_AT_MOST: Final = 10_000
_touched: dict[UUID, datetime] = {}


def take(calls: Sequence[Call], *, at: datetime) -> None:
    """Take the units of calls from their licenses, if these and the keys still allow them at `at`.

    Raises:
        CredentialError, LicenseError, QuotaError: the first denial that holds now, of one of them.
    """
    units: Counter[UUID] = Counter()
    by_key = {call.key.id: call for call in calls}
    for call in calls:
        units[call.key.id] += call.units if call.key.charged else 0
    # Always in this order: two transactions that lock the same licenses never wait in a circle.
    for call in sorted(by_key.values(), key=lambda one: (one.terms.id, one.key.id)):
        _take(call, units[call.key.id], at)


def _take(call: Call, units: int, at: datetime) -> None:
    key = ApiKey.objects.filter(pk=call.key.id, revoked_at__isnull=True, expires_at__gt=at)
    rows = License.objects.filter(
        # EXISTS and no join: a join would move the quota's condition into a subquery, which
        # PostgreSQL does not ask again after it has waited for another call's row lock.
        Exists(key.filter(license_id=OuterRef("pk"))),
        pk=call.terms.id,
        customer_id=call.key.tenant_id,
        revoked_at__isnull=True,
        starts_at__lte=at,
        expires_at__gt=at,
    )
    if call.key.charged:
        taken = rows.filter(used__lte=F("quota") - units).update(used=F("used") + units)
    else:
        taken = rows.count()
    if not taken:
        raise _why(call, at)


def touch(key: KeyFacts, *, at: datetime) -> None:
    """Say when a key was last used: at most once a key, a minute and a process."""
    last = _touched.get(key.id)
    if last is not None and at - last < _TOUCH_EVERY:
        return
    ApiKey.objects.filter(pk=key.id).update(last_used_at=at)
    if len(_touched) >= _TOUCHED_AT_MOST:
        _touched.clear()
    _touched[key.id] = at


def _why(call: Call, at: datetime) -> DomainError:
    """The denial, judged by the rows as they are now."""
    key = read_key(call.key.public_id) or call.key
    with across_tenants(reason="a license is read again to say why it refused"):
        terms = Terms.of(License.objects.get(pk=call.terms.id))
    denial = admit(
        Call(key, terms, call.feature, call.purpose, call.model_purposes, call.units, at)
    )
    # None: another call gave its units back in between; what was refused stays refused.
    return QuotaError("the license's quota is used up") if denial is None else denial.raised()
