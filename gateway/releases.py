"""Which version of a model is served."""

from collections.abc import Collection
from uuid import UUID

from gateway.errors import LicenseError
from governance.scoping import across_tenants
from training.models import ModelState, ModelVersion


def check_released(versions: Collection[UUID]) -> None:
    """Whether these versions are served now: asked in the transaction that charges for them.

    Raises:
        LicenseError: `model.not_released`: one of them is not, any more.
    """
    with across_tenants(reason="a license reaches the model of another tenant"):
        rows = ModelVersion.objects.filter(pk__in=versions, state=ModelState.RELEASED)
        if rows.count() != len(versions):
            raise LicenseError("this version was withdrawn meanwhile", code="model.not_released")


def released_version(model_id: UUID) -> ModelVersion | None:
    """The newest released version, whoever's it is: the license is what lets the caller ask."""
    with across_tenants(reason="a license reaches the model of another tenant"):
        return (
            ModelVersion.objects.filter(model_id=model_id, state=ModelState.RELEASED)
            .select_related("artifact", "run", "model")
            .order_by("-number")
            .first()
        )
