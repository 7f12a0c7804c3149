"""Which rows of a dataset are held out: decided by their place and the dataset's id, for ever.

The split reads nothing of a row, so it costs no ε. It is the same for every run and every version
of a dataset, which is what lets charges to the two parts compose in parallel (`training.charges`).
That holds only while row i is the same record in each version, so a version that lost rows is not
trained on.
"""

import hashlib
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from training.evaluation import held_out

SHARE: Final = 0.1


def held_out_rows(dataset: UUID, rows: int) -> npt.NDArray[np.bool_]:
    """(rows,) True where a row is held out; a longer table begins with the same answers."""
    key = hashlib.sha256(f"portcullis split 1 {dataset}".encode()).digest()
    return held_out([str(place) for place in range(rows)], SHARE, key)
