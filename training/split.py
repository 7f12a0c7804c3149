"""Which rows of a dataset are held out: decided by their place or their subject, for ever.

Where the privacy unit is a record, its place decides, and nothing of a row is read: row i must be
the same record in each version, so a version that lost rows is not trained on. Where it is a
person, a keyed hash of the pseudonym in the subject column decides over all of their rows.

Either way a unit is in one part, the same in every run and every version of a dataset, whatever
the other units are: that is what lets charges to the two parts compose in parallel
(`training.charges`), and why the split itself costs no ε.
"""

import hashlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from training.evaluation import held_out

SHARE: Final = 0.1


def held_out_rows(dataset: UUID, rows: int) -> npt.NDArray[np.bool_]:
    """(rows,) True where a row is held out; a longer table begins with the same answers."""
    return held_out([str(place) for place in range(rows)], SHARE, _key(dataset))


def held_out_subjects(dataset: UUID, subjects: Sequence[str | None]) -> npt.NDArray[np.bool_]:
    """(n,) True where a row's subject is held out; an unknown subject is in neither part's use."""
    # A prefix, so that a subject called "7" does not share the lot of the record in place 7.
    named = [f"subject {(name or '').strip()}" for name in subjects]
    return held_out(named, SHARE, _key(dataset))


def _key(dataset: UUID) -> bytes:
    return hashlib.sha256(f"portcullis split 1 {dataset}".encode()).digest()
