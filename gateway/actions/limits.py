"""Limits beside a license's own: set, changed and lifted by who licenses the models."""

from dataclasses import dataclass

from django.db import IntegrityError, transaction

from audit.canonical import LARGEST
from audit.events import Event
from audit.recording import Record, action
from gateway.gcra import checked_rate
from gateway.models import ApiKey, License, Limit, LimitPeriod, LimitScope
from governance.errors import ConflictError, InvalidError
from governance.models import Tenant
from governance.permissions import Permission
from governance.rbac import UserActor
from training.models import Model

Limited = ApiKey | License | Tenant | Model


@dataclass(frozen=True)
class Wanted:
    """What a limit is to say: a rate, a quota, or both.

    Attributes:
        rate, burst: calls a second, and at once; the burst is the rate if only that is told.
        quota: charged units.
        period: of the quota, of `LimitPeriod`.
    """

    rate: int | None = None
    burst: int | None = None
    quota: int | None = None
    period: str = LimitPeriod.TOTAL


def _checked(wanted: Wanted) -> dict[str, int | str | None]:
    rate, burst = checked_rate(wanted.rate, wanted.burst)
    if wanted.quota is not None and not 0 < wanted.quota <= LARGEST:
        raise InvalidError(
            "a quota is a whole number from 1 to 2**53 - 1",
            code="limit.quota_invalid",
            pointer="/quota",
        )
    if wanted.period not in LimitPeriod.values:
        raise InvalidError(
            "the periods are total and month", code="limit.period_unknown", pointer="/period"
        )
    if rate is None and wanted.quota is None:
        raise InvalidError("a limit has a rate, a quota or both", code="limit.empty")
    return {"rate": rate, "burst": burst, "quota": wanted.quota, "period": wanted.period}


def _described(limited: Limited) -> tuple[LimitScope, str, Tenant | None]:
    """What is limited: its kind, its name, and the customer whose calls it is about."""
    match limited:
        case ApiKey():
            return LimitScope.KEY, limited.public_id, limited.tenant
        case License():
            return LimitScope.LICENSE, str(limited.id), limited.customer
        case Tenant():
            return LimitScope.CUSTOMER, limited.slug, limited
        case Model():
            return LimitScope.MODEL, limited.slug, None


@action(Event.LIMIT_SET, requires=Permission.LICENSE_ISSUE)
def set_limit(
    record: Record, actor: UserActor, owner: Tenant, *, of: Limited, wanted: Wanted
) -> Limit:
    """Set the limit of a key, a license, a customer or a model, for calls to the owner's models.

    In the place of the one that it has. What was used stays used, unless the period changes: then
    it is counted anew. It binds every process within five seconds.

    Raises:
        InvalidError: `limit.rate_invalid`, `limit.burst_invalid`, `limit.quota_invalid`,
            `limit.period_unknown`, `limit.empty`, `license.not_a_customer`.
        ConflictError: `limit.race`: somebody else set it at the same moment.
    """
    del actor
    terms = _checked(wanted)
    scope, name, customer = _described(of)
    if isinstance(of, Tenant) and not of.is_customer:
        raise InvalidError(
            "this tenant is no customer", code="license.not_a_customer", pointer="/of"
        )
    rows = Limit.objects.filter(tenant=owner, scope=scope, subject=of.pk)
    # By statements that leave `used` alone: calls are charged at this moment.
    rows.exclude(period=wanted.period).update(used=0, began=0)
    if not rows.update(**terms):
        try:
            with transaction.atomic():
                Limit.objects.create(
                    tenant=owner, scope=scope, subject=of.pk, name=name, customer=customer, **terms
                )
        except IntegrityError:
            raise ConflictError(
                "this limit was set at the same moment", code="limit.race"
            ) from None
    limit: Limit = rows.get()
    record.about(limit)
    record.facts(
        scope=scope.value,
        of=of.reference,
        **{name: value for name, value in terms.items() if value is not None},
    )
    return limit


@action(Event.LIMIT_LIFTED, requires=Permission.LICENSE_ISSUE)
def lift_limit(record: Record, actor: UserActor, limit: Limit) -> None:
    """Take a limit away, with what was used of it.

    Raises:
        ConflictError: `limit.lifted`: it is gone already.
    """
    del actor
    kinds = {LimitScope.CUSTOMER: "tenant", LimitScope.KEY: "key"}
    kind = kinds.get(LimitScope(limit.scope), limit.scope)
    named = limit.name if kind == "key" else limit.subject
    record.facts(scope=limit.scope, of=f"{kind}:{named}")
    deleted, _ = Limit.objects.filter(pk=limit.pk).delete()
    if not deleted:
        raise ConflictError("this limit was lifted already", code="limit.lifted")
