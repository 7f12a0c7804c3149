"""Licenses: what the owner of a model lets a customer call, how often, until when."""

from collections.abc import Collection
from datetime import datetime

from django.utils import timezone

from audit.canonical import LARGEST
from audit.events import Event
from audit.recording import Record, action
from gateway.models import Feature, License
from gateway.moments import LONGEST, in_days, microseconds
from gateway.releases import released_version
from governance.errors import ConflictError, InvalidError, RefusedError
from governance.models import Purpose, Tenant
from governance.permissions import Permission
from governance.rbac import UserActor
from training.models import Model, ModelState, ModelVersion
from training.rollouts import ended


@action(Event.LICENSE_ISSUED, requires=Permission.LICENSE_ISSUE)
def issue_license(  # noqa: PLR0913 - a license's terms, each named at the call
    record: Record,
    actor: UserActor,
    model: Model,
    *,
    customer: Tenant,
    features: Collection[str],
    purpose: str,
    quota: int,
    expires_at: datetime,
    starts_at: datetime | None = None,
    version: int | None = None,
) -> License:
    """Let `customer` call `model`: the version that it serves, whichever that is at the time.

    With `version`, a released one's number, the license is bound to it: neither a newer one nor a
    canary answers its calls, and once its service has ended nothing does.

    `features` are of `Feature`; `purpose` is one that the model's owner declared; `quota` is in
    units, of which a prediction costs one. The license starts now if not told otherwise.

    Raises:
        InvalidError: `license.features_invalid`, `license.quota_invalid`, `license.term_invalid`,
            `license.not_a_customer`, `license.version_unknown`; the pointer names the argument.
        RefusedError: `purpose.unknown`.
        ConflictError: `model.not_released`.
    """
    now = timezone.now()
    starts_at = starts_at or now
    wanted = sorted(set(features))
    if not customer.is_customer:
        raise InvalidError(
            "this tenant is no customer", code="license.not_a_customer", pointer="/customer"
        )
    if not wanted or not set(wanted) <= set(Feature.values):
        raise InvalidError(
            "name one or more of the features that there are",
            code="license.features_invalid",
            pointer="/features",
        )
    if not 0 < quota <= LARGEST:
        raise InvalidError(
            "a quota is a whole number from 1 to 2**53 - 1",
            code="license.quota_invalid",
            pointer="/quota",
        )
    if not max(starts_at, now) < expires_at <= in_days(LONGEST):
        raise InvalidError(
            "a license ends after it starts, in the future, within a hundred years",
            code="license.term_invalid",
            pointer="/expires_at",
        )
    if not Purpose.objects.filter(tenant_id=model.tenant_id, slug=purpose).exists():
        raise RefusedError(
            "the model's owner declared no such purpose", code="purpose.unknown", pointer="/purpose"
        )
    if released_version(model.id) is None:
        raise ConflictError("no version of this model is released", code="model.not_released")
    pinned = None if version is None else _pinned(model, version, now)
    license_ = License.objects.create(
        tenant_id=model.tenant_id,
        pinned=pinned,
        customer=customer,
        model=model,
        features=wanted,
        purpose=purpose,
        quota=quota,
        starts_at=starts_at,
        expires_at=expires_at,
        issued_by_id=actor.user_id,
    )
    record.about(license_)
    record.facts(
        customer=customer.reference,
        model=model.reference,
        features=wanted,
        purpose=purpose,
        quota=quota,
        expires=microseconds(expires_at),
        **({} if pinned is None else {"version": pinned.reference}),
    )
    return license_


def _pinned(model: Model, number: int, now: datetime) -> ModelVersion:
    found: ModelVersion | None = model.versions.filter(
        number=number, state=ModelState.RELEASED
    ).first()
    if found is None or ended(found, now):
        raise InvalidError(
            "a license is bound to a released version of its model",
            code="license.version_unknown",
            pointer="/version",
        )
    return found


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
