"""Look at a quarantined file without seeing anybody in it, and have it read in another way."""

from audit.events import Event
from audit.recording import Record, action
from governance import batches
from governance.errors import ConflictError
from governance.models import Batch, Dataset, Part
from governance.models.datasets import DatasetState
from governance.permissions import Permission
from governance.rbac import UserActor
from governance.stages import QUARANTINE
from governance.tables.encoding import accepted

_READABLE = {DatasetState.PROPOSED, DatasetState.REJECTED, DatasetState.FAILED}


@action(Event.DATASET_PREVIEWED, requires=Permission.DATASET_PREVIEW)
def begin_preview(
    record: Record, actor: UserActor, dataset: Dataset, *, encoding: str = "", part: int = 1
) -> Part:
    """Allow a masked look; the file is read after this commits, since some are read to their end.

    Args:
        record: filled here.
        actor: who looks.
        dataset: whose newest batch is looked at.
        encoding: one to try.
        part: which file of the batch, from 1.

    Raises:
        TableError: `table.encoding_unsupported`.
        ConflictError: `dataset.source_gone`.
    """
    del actor
    batch = batches.newest(dataset)
    looked_at = None if batch is None else batch.parts.filter(number=part).first()
    if looked_at is None or looked_at.stored.kind != QUARANTINE:
        raise ConflictError("this dataset's file is gone", code="dataset.source_gone")
    record.facts(
        encoding=accepted(encoding) if encoding else "as_found", object=looked_at.stored.reference
    )
    return looked_at


@action(Event.DATASET_REREAD, requires=Permission.PLAN_AMEND)
def reread_dataset(
    record: Record, actor: UserActor, dataset: Dataset, *, encoding: str, part: int | None = None
) -> Dataset:
    """Have the newest batch read anew; a new plan takes the place of the old one.

    What people decided about columns is carried over into it.

    Args:
        record: filled here.
        actor: the steward.
        dataset: one that waits for a plan or has failed, or whose newest batch could not be read.
        encoding: the stated one; "" to read it as before, by today's detector and rules.
        part: which file of the batch it holds for, from 1; None for all of them.

    Raises:
        TableError: `table.encoding_unsupported`.
        ConflictError: `dataset.busy`: it is being read, or sealed already; `dataset.source_gone`.
    """
    del actor
    codec = accepted(encoding) if encoding else "as_found"
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    batch = batches.newest(dataset)
    if batch is None:
        raise ConflictError("this dataset's file is gone", code="dataset.source_gone")
    if dataset.state not in _READABLE and not _refused(dataset, batch):
        raise ConflictError("this dataset cannot be read anew now", code="dataset.busy")
    told = batch.parts.all() if part is None else batch.parts.filter(number=part)
    if not (told.update(encoding_override=encoding) if encoding else told.exists()):
        raise ConflictError("this dataset's file is gone", code="dataset.source_gone")
    batch.reading += 1
    batch.error_code = ""
    batch.save(update_fields=["reading", "error_code"])
    appended = dataset.versions.exists()
    dataset.state = DatasetState.APPENDING if appended else DatasetState.QUARANTINED
    dataset.error_code = dataset.error_detail = ""
    dataset.save(update_fields=["state", "error_code", "error_detail"])
    record.facts(encoding=codec)
    batches.enqueue_profile(dataset, batch)
    return dataset


def _refused(dataset: Dataset, batch: Batch) -> bool:
    """Whether an appended batch could not be read, and the versions before it stand."""
    return dataset.state == DatasetState.SEALED and bool(batch.error_code)
