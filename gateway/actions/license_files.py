"""License files and revocation lists, signed for customers who check them offline."""

import hashlib
from datetime import timedelta
from typing import Final

from django.db.models import Max
from django.utils import timezone

from audit.events import Event
from audit.keys import receipt_certificate
from audit.license_files import LicenseFile, sign_file
from audit.license_files import RevocationList as Listed
from audit.recording import Record, action
from audit.sequencer import latest_checkpoint
from gateway.agreements import Agreement
from gateway.models import License, RevocationList
from gateway.moments import microseconds
from gateway.receipts import signing_key
from governance.errors import ConflictError, InvalidError
from governance.permissions import Permission
from governance.rbac import UserActor

FILE_DAYS: Final = 30
LONGEST_FILE: Final = 366  # days
NEXT_UPDATE: Final = timedelta(days=7)


@action(Event.LICENSE_FILE_ISSUED, requires=Permission.LICENSE_EXPORT)
def issue_license_file(
    record: Record, actor: UserActor, license_: License, *, days: int = FILE_DAYS
) -> str:
    """The terms of a license as a signed file, good for `days`, and never past the license's end.

    Raises:
        InvalidError: `license.file_days_invalid`.
        ConflictError: `license.revoked`, `license.suspended`, `license.expired`; `audit.log_empty`.
        KeyMissingError: the receipt key or its certificate is missing.
    """
    del actor
    now = timezone.now()
    if not 0 < days <= LONGEST_FILE:
        raise InvalidError(
            f"a file is good for 1 to {LONGEST_FILE} days",
            code="license.file_days_invalid",
            pointer="/days",
        )
    held = License.objects.select_related("model").get(pk=license_.pk)
    if held.revoked_at is not None:
        raise ConflictError("the license was revoked", code="license.revoked")
    if held.suspended_at is not None:
        raise ConflictError("the license is suspended", code="license.suspended")
    if held.expires_at <= now:
        raise ConflictError("the license has expired", code="license.expired")
    checkpoint = latest_checkpoint()
    if checkpoint is None:
        raise ConflictError("nothing in the log was signed yet", code="audit.log_empty")
    agreed = Agreement.of(held)
    until = min(now + timedelta(days=days), held.expires_at)
    said = LicenseFile(
        license=held.id,
        owner=held.tenant_id,
        customer=held.customer_id,
        model=held.model.slug,
        terms=agreed.told(),
        amended=held.amended,
        issued_at=microseconds(now),
        valid_until=microseconds(until),
        size=checkpoint.size,
        root=bytes(checkpoint.root),
    )
    text = sign_file(signing_key(), said, receipt_certificate())
    record.facts(
        customer=f"tenant:{held.customer_id}",
        file=_digest(text),
        terms=agreed.digest,
        until=said.valid_until,
        size=checkpoint.size,
    )
    return text


@action(Event.REVOCATIONS_ISSUED, requires=Permission.LICENSE_EXPORT)
def issue_revocations(record: Record, actor: UserActor, license_: License) -> str:
    """The next revocation list for the customer of a license: their licenses of the same owner.

    No other customer's licenses stand in it: how many there are is nobody's to count.

    Raises:
        KeyMissingError: the receipt key or its certificate is missing.
    """
    del actor
    # Under the licenses' locks: of two lists the second has the higher number and the newer state.
    rows = list(
        License.objects.filter(tenant_id=license_.tenant_id, customer_id=license_.customer_id)
        .select_for_update(of=("self",))
        .order_by("pk")
    )
    lists = RevocationList.objects.filter(
        tenant_id=license_.tenant_id, customer_id=license_.customer_id
    )
    number = (lists.aggregate(last=Max("number"))["last"] or 0) + 1
    now = timezone.now()
    said = Listed(
        owner=license_.tenant_id,
        customer=license_.customer_id,
        number=number,
        issued_at=microseconds(now),
        next_update=microseconds(now + NEXT_UPDATE),
        revoked=tuple(row.id for row in rows if row.revoked_at is not None),
        suspended=tuple(
            row.id for row in rows if row.revoked_at is None and row.suspended_at is not None
        ),
    )
    text = sign_file(signing_key(), said, receipt_certificate())
    RevocationList.objects.create(
        tenant_id=license_.tenant_id,
        customer_id=license_.customer_id,
        number=number,
        digest=_digest(text),
        issued_at=now,
        next_update=now + NEXT_UPDATE,
    )
    record.facts(
        customer=f"tenant:{license_.customer_id}",
        file=_digest(text),
        number=number,
        revoked=len(said.revoked),
        suspended=len(said.suspended),
        next_update=said.next_update,
    )
    return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
