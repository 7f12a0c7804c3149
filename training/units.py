"""Whose rows are whose: what one Poisson coin decides, and how much of C each row may use.

The privacy unit is what a neighboring table blanks: one record, or one person with all of their
rows. With persons as the unit

    one coin     decides over all rows of a person (user-level sampling; McMahan et al., arXiv
                 1710.06963), so that a person is in a step with probability q, whole or not at all;
    one vector   is the person's: the mean of the clipped vectors of their r rows, each of norm at
                 most C. Its norm is at most C whatever r is, so the noise, the accountant and the
                 promise are those of a record. A person with many rows counts once, not more;
    one row      of a person is read where rows are counted: bounds, marginals, held-out figures.

A row whose subject is unknown cannot be bounded with the person's others, and is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
import numpy.typing as npt


class Unit(StrEnum):
    """What the guarantee protects."""

    RECORD = "record"
    SUBJECT = "subject"


@dataclass(frozen=True)
class Units:
    """Rows by unit.

    Attributes:
        rows: (n,) row numbers, those of one unit next to each other.
        starts: (U + 1,) where each unit's begin in `rows`.
    """

    rows: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]

    @classmethod
    def of(cls, owners: npt.NDArray[np.int64]) -> Self:
        """From (n,) numbers, equal where the unit is the same; a unit's rows keep their order."""
        order = np.argsort(owners, kind="stable")
        _, starts = np.unique(owners[order], return_index=True)
        return cls(order, np.append(starts, len(owners)).astype(np.intp))

    def __len__(self) -> int:
        """How many units U there are."""
        return len(self.starts) - 1

    def expand(
        self, drawn: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """All rows of the drawn units, and each row's share of its unit: (b,) and (b,).

        Shares are rounded down, so that those of a unit never add up to more than 1.
        """
        sizes = self.starts[drawn + 1] - self.starts[drawn]
        # Row k of unit i stands at starts[i] + k; the running count less what came before is k.
        before = np.repeat(np.cumsum(sizes) - sizes, sizes)
        places = np.repeat(self.starts[drawn], sizes) + np.arange(sizes.sum()) - before
        shares = np.nextafter((1 / sizes).astype(np.float32), np.float32(0))
        return self.rows[places], np.repeat(shares, sizes)


def known(subjects: Sequence[str | None]) -> npt.NDArray[np.bool_]:
    """(n,) whether each row says whose it is."""
    return np.fromiter((bool(name and name.strip()) for name in subjects), np.bool_, len(subjects))


def numbered(subjects: Sequence[str | None]) -> npt.NDArray[np.int64]:
    """(n,) equal numbers for equal subjects, in the order in which they first come."""
    found: dict[str, int] = {}
    return np.fromiter(
        (found.setdefault((name or "").strip(), len(found)) for name in subjects),
        np.int64,
        len(subjects),
    )


class First:
    """Which rows are the first of their subject, over one table after the other."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def of(self, subjects: Sequence[str | None]) -> npt.NDArray[np.bool_]:
        """(n,) True at the first row of each known subject that was not seen before."""
        return np.fromiter(map(self._is_new, subjects), np.bool_, len(subjects))

    def _is_new(self, name: str | None) -> bool:
        text = (name or "").strip()
        if not text or text in self._seen:
            return False
        self._seen.add(text)
        return True
