"""What a caller may know of: models of their own and licensed ones, and tenants."""

import uuid
from typing import Any

from django.db.models import Q, QuerySet

from audit.events import Event
from audit.recording import append_refusal
from gateway.authentication import Caller, KeyActor
from gateway.models import ApiKey, License, LimitScope
from governance.errors import NotFoundError
from governance.lookup import find
from governance.models import Tenant
from governance.permissions import Permission
from governance.rbac import Actor
from governance.scoping import across_tenants
from training.models import Model


def models_for(actor: Caller) -> QuerySet[Any]:
    """The models that a caller owns or is licensed for; a key, its own license's alone."""
    licensed = License.objects.filter(customer_id=actor.tenant_id, revoked_at__isnull=True)
    if isinstance(actor, KeyActor):
        licensed = licensed.filter(pk=actor.facts.license_id)
        reached = Q(pk__in=licensed.values("model_id"))
    else:
        reached = Q(tenant_id=actor.tenant_id) | Q(pk__in=licensed.values("model_id"))
    with across_tenants(reason="a license lets its customer see the model"):
        rows: QuerySet[Any] = Model.objects.filter(reached)
    return rows


def find_model(actor: Caller, value: str) -> Model:
    """One of those, by slug or id.

    Raises:
        NotFoundError: there is none, or it is not the caller's to know of; recorded.
    """
    found: Model | None = models_for(actor).filter(named(value)).first()
    if found is None:
        raise missing(actor, "model", Permission.MODEL_VIEW)
    return found


def tenants_for(actor: Actor) -> list[Tenant]:
    """The tenants that a caller may see: their own, or all for who runs the platform."""
    return [
        tenant
        for tenant in Tenant.objects.order_by("slug")
        if actor.may(Permission.TENANT_VIEW, tenant).allowed
    ]


def find_tenant(actor: Actor, value: str) -> Tenant:
    """One of those, by slug or id.

    Raises:
        NotFoundError: as `find_model`.
    """
    found = Tenant.objects.filter(named(value)).first()
    if found is None or not actor.may(Permission.TENANT_VIEW, found).allowed:
        raise missing(actor, "tenant", Permission.TENANT_VIEW)
    return found


def missing(actor: Actor, kind: str, permission: Permission) -> NotFoundError:
    """Record a look-up that found nothing; the error to raise."""
    append_refusal(
        Event.LOOKUP_REFUSED, actor, None, NotFoundError.code, permission.value, kind=kind
    )
    return NotFoundError(f"there is no such {kind} here")


def find_limited(actor: Actor, scope: str, value: str) -> ApiKey | License | Tenant | Model:
    """What a limit is to be of.

    Raises:
        NotFoundError: there is none, or it is not the actor's to know of.
    """
    match LimitScope(scope):
        case LimitScope.KEY:
            return find(actor, ApiKey, value)
        case LimitScope.LICENSE:
            return find(actor, License, value)
        case LimitScope.CUSTOMER:
            return find_tenant(actor, value)
        case LimitScope.MODEL:
            return find(actor, Model, value)


def named(value: str) -> Q:
    """The condition on a row that `value` names, by slug or id."""
    try:
        return Q(pk=uuid.UUID(value))
    except ValueError:
        return Q(slug=value)
