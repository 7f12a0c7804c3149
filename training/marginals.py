"""One-way marginals of a version under differential privacy: noisy histograms over public bins.

For all k columns together, one Gaussian release. Bins are public: declared categories, 32 even bins
between declared bounds, or the powers of two of `training.bounds`. A record is in one bin of each
column at most, so blanking it moves the stacked histograms by at most √k in L2. Empty cells and
values outside every bin are counted nowhere. Whole numbers after the noise leave no low bits for a
floating-point attack (as in `training.evaluation`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from training.bounds import edges
from training.features import column_of, number
from training.mechanisms import Mechanism
from training.randomness import Source
from training.units import First

BINS: Final = 32
Counts = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """The public bins of one column: values, or edges between which a number lies."""

    values: tuple[str, ...] = ()
    borders: tuple[float, ...] = ()
    whole: bool = False  # numbers are integers

    def __len__(self) -> int:
        """How many."""
        return len(self.values) or len(self.borders) - 1

    def count(self, cells: Sequence[str | None]) -> Counts:
        """How many cells lie in each bin."""
        if self.values:
            place = {value: n for n, value in enumerate(self.values)}
            at = [place[c.strip()] for c in cells if c is not None and c.strip() in place]
            return np.bincount(np.array(at, np.int64), minlength=len(self)).astype(np.float64)
        numbers = np.array([number(cell) for cell in cells], dtype=np.float64)
        numbers = numbers[np.isfinite(numbers)]
        numbers = np.clip(numbers, self.borders[0], self.borders[-1])
        return np.histogram(numbers, np.array(self.borders))[0].astype(np.float64)

    def draw(self, rows: int, weights: Counts | None, generator: np.random.Generator) -> list[str]:
        """Values by their weights; each as likely as another where nothing is known."""
        shares = None
        if weights is not None and (kept := np.maximum(weights, 0)).sum() > 0:
            shares = kept / kept.sum()
        chosen = generator.choice(len(self), rows, p=shares)
        if self.values:
            return [self.values[n] for n in chosen]
        borders = np.array(self.borders)
        drawn = generator.uniform(borders[chosen], borders[chosen + 1])
        if self.whole:
            return [str(int(value)) for value in np.clip(np.floor(drawn), borders[0], borders[-1])]
        return [f"{value:.6g}" for value in drawn]


def bins_of(declared: Mapping[str, Any], *, numeric: bool) -> Bins | None:
    """The public bins of a column by its declaration; None where nothing public says what it holds.

    Args:
        declared: the column's declaration, or nothing.
        numeric: whether the plan found it to hold numbers.
    """
    match declared.get("kind"):
        case "category" if declared.get("values"):
            return Bins(values=tuple(str(value).strip() for value in declared["values"]))
        case "numeric" if "low" in declared and "high" in declared:
            low, high = float(declared["low"]), float(declared["high"])
            whole = all(float(declared[name]).is_integer() for name in ("low", "high"))
            count = min(BINS, max(1, int(high - low))) if whole else BINS
            return Bins(borders=tuple(np.linspace(low, high, count + 1).tolist()), whole=whole)
        case "numeric":
            return Bins(borders=tuple(edges().tolist()))
        case "encoded":
            return None  # text, whatever it looks like
    return Bins(borders=tuple(edges().tolist())) if numeric else None


def noisy_marginals(
    frames: Iterable[pl.DataFrame],
    bins: Mapping[str, Bins],
    mechanism: Mechanism,
    source: Source,
    subject: str | None = None,
) -> dict[str, Counts]:
    """The one release, over every row, or over the first row of each person.

    Args:
        frames: the version's rows.
        bins: the k columns; at least one.
        mechanism: its noise multiplier is relative to the sensitivity √k.
        source: secure randomness.
        subject: the column that tells persons apart, where they are the privacy unit.
    """
    first = First()
    totals = {name: np.zeros(len(known)) for name, known in bins.items()}
    for read in frames:
        chosen = None if subject is None else first.of(column_of(read, subject))
        frame = read if chosen is None else read.filter(pl.Series(chosen))
        for name, known in bins.items():
            totals[name] += known.count(frame[name].cast(pl.String).to_list())
    sigma = mechanism.noise_multiplier * math.sqrt(len(bins))
    return {
        name: np.rint(counts + sigma * source.gaussian(counts.size))
        for name, counts in totals.items()
    }
