"""Which version of a model is served."""

from uuid import UUID

from governance.scoping import across_tenants
from training.models import ModelState, ModelVersion


def released_version(model_id: UUID, number: int | None = None) -> ModelVersion | None:
    """The newest released version, whoever's it is: the license is what lets the caller ask.

    With a number that version and no other: None where it is not released.
    """
    named = {} if number is None else {"number": number}
    with across_tenants(reason="a license reaches the model of another tenant"):
        return (
            ModelVersion.objects.filter(model_id=model_id, state=ModelState.RELEASED, **named)
            .select_related("artifact", "run", "model")
            .order_by("-number")
            .first()
        )
