"""Look at a quarantined file without seeing anybody in it, and have it read in another way."""

from audit.events import Event
from audit.recording import Record, action
from governance import leases
from governance.actions.datasets import PROFILE, QUEUE
from governance.errors import ConflictError
from governance.models import Dataset
from governance.models.datasets import DatasetState
from governance.permissions import Permission
from governance.rbac import UserActor
from governance.tables.encoding import accepted
from governance.tables.reading import Preview, preview
from governance.vault import open_object

_READABLE = {DatasetState.PROPOSED, DatasetState.REJECTED, DatasetState.FAILED}


@action(Event.DATASET_PREVIEWED, requires=Permission.DATASET_PREVIEW)
def preview_dataset(
    record: Record, actor: UserActor, dataset: Dataset, *, encoding: str = "", rows: int = 5
) -> Preview:
    """The first rows as shapes, with the format and encoding that were found or are tried.

    Args:
        record: filled here.
        actor: who looks.
        dataset: whose quarantined file is looked at.
        encoding: one to try in the place of what was found or told.
        rows: at most so many.

    Raises:
        TableError: the file cannot be read so; `table.encoding_unsupported`.
        ConflictError: `dataset.source_gone`.
    """
    del actor
    source = dataset.source
    if source is None or source.kind != "quarantine":
        raise ConflictError("this dataset's file is gone", code="dataset.source_gone")
    with open_object(source) as file:
        shown = preview(
            file,
            rows,
            format=dataset.declared_format or None,
            encoding=encoding or dataset.encoding_override or None,
        )
    record.facts(
        format=shown.format.value,
        encoding="none" if shown.encoding is None else shown.encoding.name,
        rows=len(shown.rows),
    )
    return shown


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
