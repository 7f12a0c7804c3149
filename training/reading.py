"""A sealed version's rows in the clear, split as ever: what runs and examinations read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from governance.models import DatasetVersion
from governance.versions import frames
from training.errors import RunRefusedError
from training.features import column_of
from training.planning import check_subject
from training.split import held_out_rows, held_out_subjects
from training.units import First, Unit, known, numbered


@dataclass(frozen=True)
class Rows:
    """Rows of both parts.

    Attributes:
        train: those to train on, and `owners` (n,) whose each is; None where each is a unit.
        counted: of them one a unit, for what counts rows.
        held_out: the others, one a unit.
    """

    train: pl.DataFrame
    owners: npt.NDArray[np.int64] | None
    counted: pl.DataFrame
    held_out: pl.DataFrame


def read(version: DatasetVersion, columns: Sequence[str], unit: Unit) -> Rows:
    """Some columns of a version, in memory.

    Raises:
        RunRefusedError: `run.rows_differ`, `run.subject_unreadable`, `run.subject_changed`.
    """
    subject = check_subject(version) if unit is Unit.SUBJECT else None
    needed = list(dict.fromkeys([*columns, *([] if subject is None else [subject])]))
    table = pl.concat(frame.select(needed) for frame in frames(version))
    if len(table) != version.rows:
        raise RunRefusedError(
            "the sealed rows are not as many as the version says", code="run.rows_differ"
        )
    if subject is None:
        mask = held_out_rows(version.dataset_id, version.rows)
        train = table.filter(pl.Series(~mask))
        return Rows(train, None, train, table.filter(pl.Series(mask)))
    people = column_of(table, subject)
    usable, mask = known(people), held_out_subjects(version.dataset_id, people)
    first = First().of(people)  # a person is in one part, so first of all is first of the part
    return Rows(
        table.filter(pl.Series(usable & ~mask)),
        numbered(people)[usable & ~mask],
        table.filter(pl.Series(first & ~mask)),
        table.filter(pl.Series(first & mask)),
    )
