"""Seats: how many keys open a license at a time."""

from django.utils import timezone

from gateway.models import ApiKey, License
from governance.errors import ConflictError
from governance.scoping import across_tenants


def seats_taken(license_: License) -> int:
    """How many keys of a license are neither revoked nor expired, test keys among them."""
    with across_tenants(reason="the keys of a license are its customer's"):
        count: int = ApiKey.objects.filter(
            license=license_, revoked_at__isnull=True, expires_at__gt=timezone.now()
        ).count()
    return count


def check_seat(license_: License) -> None:
    """Whether one more key fits; the caller holds the license's row.

    Raises:
        ConflictError: `license.seats_taken`.
    """
    if license_.seats is not None and seats_taken(license_) >= license_.seats:
        raise ConflictError(
            "all seats of this license are taken: revoke a key first", code="license.seats_taken"
        )
