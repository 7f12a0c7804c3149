"""Look at a quarantined file without seeing anybody in it, and have it read in another way."""

from audit.events import Event
from audit.recording import Record, action
from governance import leases
from governance.actions.datasets import PROFILE, QUEUE
from governance.errors import ConflictError
from governance.models import Dataset, StoredObject
from governance.models.datasets import DatasetState
from governance.permissions import Permission
from governance.rbac import UserActor
from governance.tables.encoding import accepted

_READABLE = {DatasetState.PROPOSED, DatasetState.REJECTED, DatasetState.FAILED}


@action(Event.DATASET_PREVIEWED, requires=Permission.DATASET_PREVIEW)
def begin_preview(
    record: Record, actor: UserActor, dataset: Dataset, *, encoding: str = ""
) -> StoredObject:
    """Allow a masked look; the file is read after this commits, since some are read to their end.

    Raises:
        TableError: `table.encoding_unsupported`.
        ConflictError: `dataset.source_gone`.
    """
    del actor
    source = dataset.source
    if source is None or source.kind != "quarantine":
        raise ConflictError("this dataset's file is gone", code="dataset.source_gone")
    record.facts(encoding=accepted(encoding) if encoding else "as_found", object=source.reference)
    return source


@action(Event.DATASET_REREAD, requires=Permission.PLAN_AMEND)
def reread_dataset(record: Record, actor: UserActor, dataset: Dataset, *, encoding: str) -> Dataset:
    """Have the file read in a stated encoding; a new plan takes the place of the old one.

    Raises:
        TableError: `table.encoding_unsupported`.
        ConflictError: `dataset.busy`: it is being read, or sealed already.
    """
    del actor
    codec = accepted(encoding)
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    if dataset.state not in _READABLE:
        raise ConflictError("this dataset cannot be read anew now", code="dataset.busy")
    dataset.encoding_override = encoding
    dataset.state = DatasetState.QUARANTINED
    dataset.error_code = dataset.error_detail = ""
    dataset.save(update_fields=["encoding_override", "state", "error_code", "error_detail"])
    record.facts(encoding=codec)
    leases.enqueue(PROFILE, dataset.reference, QUEUE, tenant_id=dataset.tenant_id)
    return dataset
