"""Which version of a model is served."""

from uuid import UUID

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
