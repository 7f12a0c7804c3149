"""Which version of a model is served, and what its answers say of the end of its service."""

from datetime import datetime
from uuid import UUID

from django.utils import timezone
from django.utils.http import http_date

from gateway.authentication import Caller, KeyActor
from gateway.models import License
from governance.scoping import across_tenants
from training.models import ModelState, ModelVersion
from training.rollouts import Parts, parts


def parts_of(model_id: UUID) -> Parts:
    """The versions that have a part, whoever's they are: the license lets the caller ask."""
    with across_tenants(reason="a license reaches the model of another tenant"):
        released = (
            ModelVersion.objects.filter(model_id=model_id, state=ModelState.RELEASED)
            .select_related("artifact", "run", "model")
            .order_by("-number")
        )
        return parts(released, timezone.now())


def released_version(model_id: UUID, number: int | None = None) -> ModelVersion | None:
    """The newest released version that answers all calls but a canary's.

    With a number that version and no other: None where it is not released.
    """
    if number is None:
        return parts_of(model_id).full
    with across_tenants(reason="a license reaches the model of another tenant"):
        return (
            ModelVersion.objects.filter(model_id=model_id, number=number, state=ModelState.RELEASED)
            .select_related("artifact", "run", "model")
            .first()
        )


def version_for(actor: Caller, model_id: UUID) -> ModelVersion | None:
    """What answers a caller: for a key, the version that its license is bound to, if it is."""
    if isinstance(actor, KeyActor):
        bound = License.objects.filter(pk=actor.facts.license_id, model=model_id)
        return released_version(model_id, bound.values_list("version", flat=True).first())
    return released_version(model_id)


def licensed_versions(now: datetime, most: int) -> list[ModelVersion]:
    """The newest released version of each model that a license in force names, `most` of them."""
    with across_tenants(reason="readiness asks whether models open, whoever's they are"):
        licensed = License.objects.filter(
            revoked_at=None, starts_at__lte=now, expires_at__gt=now
        ).values("model")
        found = (
            ModelVersion.objects.filter(model__in=licensed, state=ModelState.RELEASED)
            .select_related("artifact", "model")
            .order_by("model", "-number")
        )
        newest: dict[UUID, ModelVersion] = {}
        for version in found.iterator(chunk_size=100):
            newest.setdefault(version.model_id, version)
            if len(newest) == most:
                break
        return list(newest.values())


def notice(version: ModelVersion) -> dict[str, str]:
    """The headers of an answer by a version whose end was announced, RFC 9745 and RFC 8594."""
    if version.sunset_at is None or version.deprecated_at is None:
        return {}
    return {
        "Deprecation": f"@{int(version.deprecated_at.timestamp())}",
        "Sunset": http_date(version.sunset_at.timestamp()),
    }


def affected(version: ModelVersion, now: datetime) -> list[License]:
    """Licenses in force that a version's end concerns, of models of one's own.

    Those bound to it, and, where it is what the model serves, those that are bound to none.
    """
    rows = License.objects.filter(
        tenant_id=version.tenant_id, model=version.model_id, revoked_at=None, expires_at__gt=now
    ).select_related("customer")
    served = parts_of(version.model_id).full
    unbound = served is not None and served.pk == version.pk
    return [
        row
        for row in rows.order_by("expires_at")
        if row.version == version.number or (unbound and row.version is None)
    ]
