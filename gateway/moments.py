"""Moments: as the log writes them, and as people tell them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from governance.errors import InvalidError

LONGEST: Final = 36_500  # days; a hundred years
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Whole microseconds since the Unix epoch; a float's 53 bits would lose the last digit."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def expiring(days: int) -> Q:
    """Rows that open something now, and will not in so many days."""
    now = timezone.now()
    until = now + timedelta(days=days)
    return Q(revoked_at__isnull=True, expires_at__gt=now, expires_at__lte=until)


def in_days(days: int) -> datetime:
    """The moment that many days from now.

    Raises:
        InvalidError: `term.invalid`: not 1 to `LONGEST` days.
    """
    if not 0 < days <= LONGEST:
        raise InvalidError(f"a term is 1 to {LONGEST} days", code="term.invalid", pointer="/days")
    return timezone.now() + timedelta(days=days)
