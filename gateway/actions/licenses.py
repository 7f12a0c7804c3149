"""Licenses: what the owner of a model lets a customer call, how often, until when."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.events import Event
from audit.recording import Record, action
from gateway.agreements import Agreement, tidy
from gateway.gcra import checked_rate
from gateway.models import (
    AmendmentKind,
    ApiKey,
    License,
    LicenseAmendment,
    SuspensionReason,
)
from gateway.moments import microseconds
from gateway.seats import seats_taken
from governance.errors import ConflictError, InvalidError
from governance.models import Tenant
from governance.permissions import Permission
from governance.rbac import UserActor
from governance.scoping import across_tenants
from training.models import Model


@action(Event.LICENSE_ISSUED, requires=Permission.LICENSE_ISSUE)
def issue_license(  # noqa: PLR0913 - a license's terms, each named at the call
    record: Record,
    actor: UserActor,
    model: Model,
    *,
    customer: Tenant,
    features: Collection[str],
    purposes: Collection[str],
    quota: int,
    expires_at: datetime,
    starts_at: datetime | None = None,
    rate: int | None = None,
    burst: int | None = None,
    version: int | None = None,
    regions: Collection[str] = (),
    seats: int | None = None,
    trial: bool = False,
) -> License:
    """Let `customer` call `model`.

    `features` are of `Feature`; `purposes` are of those that the model's owner declared; `quota` is
    in units, of which a prediction costs one. Calls go to the newest released version, whichever
    that is at the time, or to the `version` of that number alone. Without `regions` it holds
    everywhere, without `seats` for any number of keys. It starts now if not told otherwise. `rate`
    is in calls a second, `burst` in calls at once: as many as the rate, where only that is told.

    Raises:
        InvalidError: `license.not_a_customer`, `license.term_invalid`; and as `Agreement.check`.
        RefusedError: `purpose.unknown`.
        ConflictError: `model.not_released`, `license.trial_used`.
    """
    now = timezone.now()
    rate, burst = checked_rate(rate, burst)
    agreed = Agreement(
        version=version,
        features=tidy(features),
        purposes=tidy(purposes),
        regions=tidy(regions),
        quota=quota,
        seats=seats,
        trial=trial,
        rate=rate,
        burst=burst,
        starts_at=starts_at or now,
        expires_at=expires_at,
    )
    if not customer.is_customer:
        raise InvalidError(
            "this tenant is no customer", code="license.not_a_customer", pointer="/customer"
        )
    _check_end(expires_at, now)
    agreed.check(model)
    try:
        with transaction.atomic():
            license_ = License.objects.create(
                tenant_id=model.tenant_id,
                customer=customer,
                model=model,
                **agreed.fields(),
                began_as_trial=trial,
                issued_by_id=actor.user_id,
            )
    except IntegrityError:
        # The one constraint that these terms can meet; any other is ours, and is not told as this.
        if not trial:
            raise
        raise ConflictError(
            "this customer had a trial of this model", code="license.trial_used", pointer="/trial"
        ) from None
    record.about(license_)
    told = {name: value for name, value in agreed.told().items() if value is not None}
    record.facts(
        customer=customer.reference,
        model=model.reference,
        terms=agreed.digest,
        expires=told.pop("expires_at"),
        **{name: told[name] for name in told if name != "starts_at"},
    )
    return license_


@action(Event.LICENSE_REVOKED, requires=Permission.LICENSE_REVOKE)
def revoke_license(record: Record, actor: UserActor, license_: License) -> License:
    """End a license now. Its keys open nothing from the next call on.

    Raises:
        ConflictError: `license.revoked`: it was revoked before.
    """
    del actor
    now = timezone.now()
    if not License.objects.filter(pk=license_.pk, revoked_at__isnull=True).update(revoked_at=now):
        raise ConflictError("this license was revoked already", code="license.revoked")
    license_.revoked_at = now
    record.facts(customer=f"tenant:{license_.customer_id}")
    return license_


@action(Event.LICENSE_SUSPENDED, requires=Permission.LICENSE_SUSPEND)
def suspend_license(record: Record, actor: UserActor, license_: License, *, reason: str) -> License:
    """Let a license rest: no call commits under it from now on, until it is resumed.

    `reason` is of `SuspensionReason`. The term runs on.

    Raises:
        InvalidError: `license.reason_unknown`.
        ConflictError: `license.revoked`, `license.suspended`.
    """
    del actor
    if reason not in SuspensionReason.values:
        raise InvalidError(
            "name one of the reasons that there are",
            code="license.reason_unknown",
            pointer="/reason",
        )
    held = _held(license_)
    if held.suspended_at is not None:
        raise ConflictError("this license is suspended already", code="license.suspended")
    held.suspended_at, held.suspended_for = timezone.now(), reason
    held.save(update_fields=["suspended_at", "suspended_for"])
    record.facts(customer=f"tenant:{held.customer_id}", reason=reason)
    return held


@action(Event.LICENSE_RESUMED, requires=Permission.LICENSE_SUSPEND)
def resume_license(record: Record, actor: UserActor, license_: License) -> License:
    """Let a suspended license hold again.

    Raises:
        ConflictError: `license.revoked`, `license.not_suspended`.
    """
    del actor
    held = _held(license_)
    if held.suspended_at is None:
        raise ConflictError("this license is not suspended", code="license.not_suspended")
    held.suspended_at, held.suspended_for = None, ""
    held.save(update_fields=["suspended_at", "suspended_for"])
    record.facts(customer=f"tenant:{held.customer_id}")
    return held


@action(Event.LICENSE_RENEWED, requires=Permission.LICENSE_RENEW)
def renew_license(
    record: Record, actor: UserActor, license_: License, *, expires_at: datetime
) -> License:
    """Extend a license's term, expired or not: the same license, and the same keys.

    Keys that end with the license end with it still; one that was given an earlier end keeps it.
    A trial is not renewed: it is converted by an amendment first.

    Raises:
        InvalidError: `license.term_invalid`: not after the present end, and in the future.
        ConflictError: `license.revoked`, `license.trial_renewed`.
    """
    held = _held(license_)
    before = Agreement.of(held)
    if held.trial:
        raise ConflictError("a trial is converted, not renewed", code="license.trial_renewed")
    _check_end(expires_at, max(timezone.now(), held.expires_at))
    held.expires_at = expires_at
    Agreement.of(held).check(held.model)
    with across_tenants(reason="the keys of a license are its customer's"):
        ending = ApiKey.objects.filter(
            license=held, revoked_at__isnull=True, expires_at=before.expires_at
        )
        keys = ending.update(expires_at=expires_at)
    amendment = _amend(actor, held, before, AmendmentKind.RENEWAL)
    record.facts(
        customer=f"tenant:{held.customer_id}",
        number=amendment.number,
        expires=microseconds(expires_at),
        keys=keys,
        before=amendment.before_digest,
        after=amendment.after_digest,
    )
    return held


@action(Event.LICENSE_AMENDED, requires=Permission.LICENSE_AMEND)
def amend_license(
    record: Record, actor: UserActor, license_: License, *, changes: Mapping[str, Any]
) -> License:
    """Change terms of a license, each named as in `issue_license`; the others stay.

    `{"trial": False}` makes a trial a paid license. A call in flight is committed under the terms
    as they are at its commit, or refused by them.

    Raises:
        InvalidError: `license.amendment_invalid`, `license.quota_below_use`; and as
            `Agreement.check`.
        RefusedError: `purpose.unknown`.
        ConflictError: `license.revoked`, `license.not_a_trial`, `license.seats_taken`,
            `model.not_released`.
    """
    held = _held(license_)
    before = Agreement.of(held)
    after = before.amended(changes)
    after.check(held.model)
    if after.quota < held.used:
        raise InvalidError(
            "more units are used than that", code="license.quota_below_use", pointer="/quota"
        )
    if after.seats is not None and seats_taken(held) > after.seats:
        raise ConflictError(
            "more keys are open than that: revoke some first",
            code="license.seats_taken",
            pointer="/seats",
        )
    for name in changes:
        setattr(held, name, after.fields()[name])
    amendment = _amend(actor, held, before, AmendmentKind.AMENDMENT)
    record.facts(
        customer=f"tenant:{held.customer_id}",
        number=amendment.number,
        changed=sorted(name for name in changes if before.told()[name] != after.told()[name]),
        before=amendment.before_digest,
        after=amendment.after_digest,
    )
    return held


def _held(license_: License) -> License:
    """The license as it is now, locked until the transaction ends.

    Raises:
        ConflictError: `license.revoked`.
    """
    rows = License.objects.select_related("model").select_for_update(of=("self",))
    held: License = rows.get(pk=license_.pk)
    if held.revoked_at is not None:
        raise ConflictError("this license was revoked already", code="license.revoked")
    return held


def _amend(
    actor: UserActor, held: License, before: Agreement, kind: AmendmentKind
) -> LicenseAmendment:
    """Write the terms that `held` has by now, and the row that tells them from `before`."""
    after = Agreement.of(held)
    held.amended += 1
    held.save(update_fields=[*after.fields(), "amended"])
    amendment: LicenseAmendment = LicenseAmendment.objects.create(
        tenant_id=held.tenant_id,
        license=held,
        number=held.amended,
        kind=kind,
        before=before.told(),
        after=after.told(),
        before_digest=before.digest,
        after_digest=after.digest,
        amended_by_id=actor.user_id,
    )
    return amendment


def _check_end(expires_at: datetime, after: datetime) -> None:
    if expires_at <= after:
        raise InvalidError(
            "a license ends in the future, and later than it did",
            code="license.term_invalid",
            pointer="/expires_at",
        )
