"""A masked look at a quarantined file: allowed by an action, read once that has committed."""

from governance.actions.readings import begin_preview
from governance.models import Dataset
from governance.rbac import UserActor
from governance.tables.reading import Preview, preview
from governance.vault import open_object


def preview_dataset(actor: UserActor, dataset: Dataset, *, encoding: str = "") -> Preview:
    """The first rows as shapes, with the format and encoding that were found or are tried.

    Args:
        actor: who looks.
        dataset: whose quarantined file is looked at.
        encoding: one to try in the place of what was found or told.

    Raises:
        RefusedError: the actor may not.
        TableError: the file cannot be read so; `table.encoding_unsupported`.
        ConflictError: `dataset.source_gone`.
    """
    source = begin_preview(actor, dataset, encoding=encoding)
    with open_object(source) as file:
        return preview(
            file,
            format=dataset.declared_format or None,
            encoding=encoding or dataset.encoding_override or None,
        )
