"""A masked look at a quarantined file: allowed by an action, read once that has committed."""

from governance.actions.readings import begin_preview
from governance.models import Dataset
from governance.rbac import UserActor
from governance.tables.reading import Preview, preview
from governance.vault import open_object


def preview_dataset(
    actor: UserActor, dataset: Dataset, *, encoding: str = "", part: int = 1
) -> Preview:
    """The first rows as shapes, with the format and encoding that were found or are tried.

    Args:
        actor: who looks.
        dataset: whose newest batch is looked at.
        encoding: one to try in the place of what was found or told.
        part: which file of the batch, from 1.

    Raises:
        RefusedError: the actor may not.
        TableError: the file cannot be read so; `table.encoding_unsupported`.
        ConflictError: `dataset.source_gone`.
    """
    looked_at = begin_preview(actor, dataset, encoding=encoding, part=part)
    with open_object(looked_at.stored) as file:
        return preview(
            file,
            format=looked_at.declared_format or None,
            encoding=encoding or looked_at.encoding_override or None,
        )
