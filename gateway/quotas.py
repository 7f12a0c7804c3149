"""Limits beside the license's own: of a key, a license, a customer, a model, in all or a month.

A quota is taken by a conditional UPDATE in the transaction that charges the call, after the
license's and in the order of ids, so that no two transactions wait for each other in a circle.

A month is a calendar month of UTC, and rolls over by itself: the first call of a later month counts
from nothing. No call takes a row back to an earlier one: what a machine says whose clock is behind
counts in the month that has begun.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet
from django.utils import timezone

from gateway.gcra import Rate
from gateway.limits import Bucket
from gateway.models import ApiKey, License, Limit, LimitPeriod, LimitScope
from governance.scoping import across_tenants

if TYPE_CHECKING:
    from gateway.licensing import Terms

# In the order in which they are asked, after `license.quota_exhausted`.
EXHAUSTED: Final[Mapping[LimitScope, tuple[str, str]]] = {
    LimitScope.KEY: ("quota.key_exhausted", "the key's quota is used up"),
    LimitScope.LICENSE: (
        "quota.license_exhausted",
        "the license's quota of this period is used up",
    ),
    LimitScope.CUSTOMER: ("quota.customer_exhausted", "the customer's quota is used up"),
    LimitScope.MODEL: ("quota.model_exhausted", "the model's quota is used up"),
}
_SCOPES: Final = {code: scope for scope, (code, _) in EXHAUSTED.items()}


def month_of(moment: datetime) -> int:
    """The calendar month of UTC, counted from year 0."""
    at = moment.astimezone(UTC)
    return at.year * 12 + at.month - 1


def month_ends(moment: datetime) -> datetime:
    """When the next calendar month of UTC begins."""
    year, month = divmod(month_of(moment) + 1, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class LimitTerms:
    """A limit, as it was when it was read."""

    id: UUID
    scope: LimitScope
    subject: UUID
    rate: Rate | None
    quota: int | None
    period: LimitPeriod
    used: int
    began: int

    @classmethod
    def of(cls, limit: Limit) -> "LimitTerms":
        """The terms that a row holds."""
        return cls(
            id=limit.id,
            scope=LimitScope(limit.scope),
            subject=limit.subject,
            rate=_rate(limit),
            quota=limit.quota,
            period=LimitPeriod(limit.period),
            used=limit.used,
            began=limit.began,
        )

    def used_at(self, moment: datetime) -> int:
        """Units used in the period of a moment."""
        over = self.period is LimitPeriod.MONTH and self.began < month_of(moment)
        return 0 if over else self.used


@dataclass(frozen=True)
class Limits:
    """The rates and quotas of one license's calls."""

    license: Bucket | None
    terms: tuple[LimitTerms, ...]

    @classmethod
    def of(cls, license_: License) -> "Limits":
        """Read them."""
        rate = _rate(license_)
        own = None if rate is None else Bucket(f"license:{license_.id}", rate)
        return cls(own, read(license_))

    def quotas(self, key: UUID) -> tuple[LimitTerms, ...]:
        """Those with a quota that concern a key's calls."""
        return of_key(self.terms, key) if self.terms else ()

    def buckets(self, key: UUID) -> tuple[Bucket, ...]:
        """The buckets that a key's call takes a token from."""
        own = () if self.license is None else (self.license,)
        if not self.terms:
            return own
        return own + tuple(
            Bucket(f"limit:{one.id}", one.rate)
            for one in self.terms
            if one.rate is not None and _concerns(one, key)
        )


def read(license_: "License | Terms") -> tuple[LimitTerms, ...]:
    """The limits of a license's calls, those of all its keys among them."""
    with across_tenants(reason="the limits of a model's owner bind every customer's calls"):
        rows = binding(license_, Limit.objects.all()).order_by("id")
        return tuple(LimitTerms.of(row) for row in rows)


def binding(license_: "License | Terms", rows: "QuerySet[Limit]") -> "QuerySet[Limit]":
    """Those of `rows` that bind a license's calls."""
    keys = ApiKey.objects.filter(license=license_.id)
    owner = License.objects.filter(pk=license_.id).values("tenant_id")
    return rows.filter(
        Q(scope=LimitScope.KEY, subject__in=keys.values("pk"))
        | Q(scope=LimitScope.LICENSE, subject=license_.id)
        | Q(scope=LimitScope.CUSTOMER, subject=license_.customer_id)
        | Q(scope=LimitScope.MODEL, subject=license_.model_id),
        tenant_id__in=owner,
    )


def of_key(terms: Sequence[LimitTerms], key: UUID) -> tuple[LimitTerms, ...]:
    """Those with a quota that concern a key's calls."""
    return tuple(one for one in terms if one.quota is not None and _concerns(one, key))


def exhausted(scope: LimitScope, limits: Sequence[LimitTerms], units: int, now: datetime) -> bool:
    """Whether a limit of this scope has no units left for a call."""
    return any(
        one.scope is scope and one.quota is not None and one.used_at(now) + units > one.quota
        for one in limits
    )


def wait_for(code: str, limits: Sequence[LimitTerms], now: datetime) -> int | None:
    """Seconds until the quota that a code names begins anew; None if it does not."""
    scope = _SCOPES.get(code)
    if any(one.scope is scope and one.period is LimitPeriod.MONTH for one in limits):
        return max(1, int((month_ends(now) - now).total_seconds()) + 1)
    return None


# `began` first, as far as SQL has an order: both sides read the row as it was.
_TAKE: Final = """
    UPDATE gateway_limit SET
        used = %(units)s + CASE
            WHEN period = 'month' AND began < %(month)s THEN 0 ELSE used END,
        began = CASE WHEN began < %(month)s THEN %(month)s ELSE began END
    WHERE id = %(limit)s AND (quota IS NULL OR quota - %(units)s >= CASE
        WHEN period = 'month' AND began < %(month)s THEN 0 ELSE used END)
"""


def take(taken: Sequence[tuple[LimitTerms, int]], *, at: datetime) -> LimitTerms | None:
    """Take units from limits, in one order; the first that has not enough left, or is gone.

    Inside the transaction that charges: what was taken before a refusal is rolled back with it.
    """
    if not taken:
        return None
    units: Counter[UUID] = Counter()
    for limit, number in taken:
        units[limit.id] += number
    with connection.cursor() as cursor:
        for place in sorted(units):
            native = connection.features.has_native_uuid_field
            cursor.execute(
                _TAKE,
                {
                    "limit": place if native else place.hex,
                    "units": units[place],
                    "month": month_of(at),
                },
            )
            if cursor.rowcount != 1:
                return next(limit for limit, _ in taken if limit.id == place)
    return None


def used_now(limit: Limit) -> int:
    """Units used in the period of this moment."""
    return LimitTerms.of(limit).used_at(timezone.now())


def _concerns(limit: LimitTerms, key: UUID) -> bool:
    return limit.scope is not LimitScope.KEY or limit.subject == key


def _rate(row: License | Limit) -> Rate | None:
    return None if row.rate is None or row.burst is None else Rate(row.rate, row.burst)
