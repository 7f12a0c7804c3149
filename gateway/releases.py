"""Which version of a model is served."""

from datetime import datetime
from uuid import UUID

from gateway.models import License
from governance.scoping import across_tenants
from training.models import ModelState, ModelVersion


def released_version(model_id: UUID) -> ModelVersion | None:
    """The newest released version, whoever's it is: the license is what lets the caller ask."""
    with across_tenants(reason="a license reaches the model of another tenant"):
        return (
            ModelVersion.objects.filter(model_id=model_id, state=ModelState.RELEASED)
            .select_related("artifact", "run", "model")
            .order_by("-number")
            .first()
        )


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
