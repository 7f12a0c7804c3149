"""Which version is meant where somebody names a dataset or a model."""

from audit.events import Event
from audit.recording import append_refusal
from governance.errors import NotFoundError
from governance.models import Dataset, DatasetVersion
from governance.permissions import Permission
from governance.rbac import Actor
from training.errors import RunRefusedError
from training.models import Model, ModelState, ModelVersion


def sealed_version(actor: Actor, dataset: Dataset, number: int | None = None) -> DatasetVersion:
    """The newest sealed version of a dataset, or the one of this number.

    Raises:
        RunRefusedError: `run.not_sealed`: nothing trains on raw data. The refusal is recorded.
    """
    versions = DatasetVersion.objects.filter(dataset=dataset).order_by("-number")
    found: DatasetVersion | None = (
        versions if number is None else versions.filter(number=number)
    ).first()
    if found is None:
        append_refusal(
            Event.RUN_REQUESTED, actor, dataset, "run.not_sealed", Permission.RUN_REQUEST.value
        )
        raise RunRefusedError(
            "this dataset has no such sealed version to train on", code="run.not_sealed"
        )
    return found


def releasable(model: Model) -> ModelVersion:
    """The newest version that waits for release; where none does, the newest.

    Raises:
        NotFoundError: no run of this name has finished yet.
    """
    versions = ModelVersion.objects.filter(model=model).order_by("-number")
    found: ModelVersion | None = (
        versions.filter(state=ModelState.REGISTERED).first() or versions.first()
    )
    if found is None:
        raise NotFoundError("this model has no version yet", code="model.no_version")
    return found
