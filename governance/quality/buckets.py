"""How numbers are spread, in at most 512 buckets that merge exactly.

UDDSketch (Epicoco, Melle, Cafaro, Pulimeno and Morleo 2020, on Masson, Rim and Lee's DDSketch of
2019): a number x falls in bucket ceil(log_g |x|) of its sign, so that every bucket is as wide as a
fixed share of its numbers. When there are more than `capacity` buckets, neighbors are joined in
pairs and g becomes g². The level that a set of numbers ends at depends on the set alone, so a
merge gives exactly the sketch of all the numbers, in whatever order they came.

No number rests here as it was. The finest bucket spans 1/4096 of its numbers, about four digits
of each: enough for an age, a year or a share, and too little to read an account number from.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

FINEST: Final = 1 + 1 / 4096  # g of level 0
_LOG: Final = math.log(FINEST)
_SHIFT: Final = 1 << 24  # past the index of the smallest and the largest float
_TINY: Final = 1e-300  # nearer to zero is zero


@dataclass
class Buckets:
    """Counts of numbers by bucket.

    Attributes:
        capacity: most buckets kept.
        level: how many times neighbors were joined; g is `FINEST` to the power of 2^level.
        codes: bucket codes in the order of their numbers: 0 for zero, else the sign times the
            shifted index.
        counts: numbers in each.
        low: level-0 code of the smallest number.
        high: level-0 code of the largest number.
    """

    capacity: int = 512
    level: int = 0
    codes: Codes = field(default_factory=lambda: np.empty(0, np.int64))
    counts: Codes = field(default_factory=lambda: np.empty(0, np.int64))
    low: int = 0
    high: int = 0

    def add(self, numbers: Floats, counts: Codes) -> None:
        """Take in finite numbers, each as often as its count says."""
        if not len(numbers):
            return
        fine = code_of(numbers)
        self._join(_coarse(fine, self.level), counts, int(fine.min()), int(fine.max()))

    def merge(self, other: Self) -> None:
        """Take in what another of the same capacity counted."""
        if not len(other.codes):
            return
        self._raise_to(other.level)
        self._join(
            _coarse(other.codes, self.level - other.level), other.counts, other.low, other.high
        )

    def _join(self, codes: Codes, counts: Codes, low: int, high: int) -> None:
        if len(self.codes):
            self.low, self.high = min(self.low, low), max(self.high, high)
        else:
            self.low, self.high = low, high
        self.codes, self.counts = _summed(
            np.concatenate([self.codes, codes]), np.concatenate([self.counts, counts])
        )
        while len(self.codes) > self.capacity:
            self._raise_to(self.level + 1)

    def _raise_to(self, level: int) -> None:
        if level > self.level:
            self.codes, self.counts = _summed(_coarse(self.codes, level - self.level), self.counts)
            self.level = level

    # What is told of the numbers

    @property
    def total(self) -> int:
        """How many numbers."""
        return int(self.counts.sum())

    @property
    def width(self) -> float:
        """How far a number told here may be from the number meant, as a share of it."""
        grown = _LOG * 2.0**self.level
        return math.expm1(grown) / (math.exp(grown) + 1) if grown < 700 else 1.0  # noqa: PLR2004 - where exp ends

    def minimum(self) -> float:
        """The smallest number, to four digits."""
        return float(_number(np.array([self.low]), 0)[0])

    def maximum(self) -> float:
        """The largest number, to four digits."""
        return float(_number(np.array([self.high]), 0)[0])

    def numbers(self) -> Floats:
        """One number a bucket, from the smallest up; `width` says how near."""
        return _number(self.codes, self.level)

    def mean(self) -> float:
        """The mean; nan of nothing."""
        return float(np.average(self.numbers(), weights=self.counts)) if self.total else math.nan

    def deviation(self) -> float:
        """The standard deviation (of the population); nan of nothing."""
        if not self.total:
            return math.nan
        from_mean = self.numbers() - self.mean()
        return math.sqrt(float(np.average(from_mean**2, weights=self.counts)))

    def quantile(self, share: float) -> float:
        """The number below which `share` of the numbers lie; nan of nothing."""
        if not self.total:
            return math.nan
        wanted = share * (self.total - 1)
        found = int(np.searchsorted(np.cumsum(self.counts), wanted, side="right"))
        return float(self.numbers()[min(found, len(self.codes) - 1)])

    def below(self, bound: float) -> int:
        """How many numbers are surely below: those that share its bucket are not counted."""
        return int(self.counts[self.codes < self._place(bound)].sum())

    def above(self, bound: float) -> int:
        """How many numbers are surely above."""
        return int(self.counts[self.codes > self._place(bound)].sum())

    def lowest_below(self, bound: float) -> bool:
        """Whether the smallest number is below, to four digits."""
        return self.low < int(code_of(np.array([bound]))[0])

    def highest_above(self, bound: float) -> bool:
        """Whether the largest number is above, to four digits."""
        return self.high > int(code_of(np.array([bound]))[0])

    def shares(self, edges: Codes, level: int) -> Floats:
        """The share of numbers between edges: up to the first, between each two, above the last.

        Args:
            edges: bucket codes of `level`, rising; a bucket counts below the edge that it equals.
            level: at least this sketch's own.
        """
        places = np.searchsorted(edges, _coarse(self.codes, level - self.level), side="left")
        return np.bincount(places, weights=self.counts, minlength=len(edges) + 1) / self.total

    def at(self, level: int) -> tuple[Codes, Codes]:
        """Codes and counts, joined up to `level`."""
        return _summed(_coarse(self.codes, level - self.level), self.counts)

    def _place(self, bound: float) -> int:
        return int(_coarse(code_of(np.array([bound])), self.level)[0])

    # As JSON

    def as_dict(self) -> dict[str, Any]:
        """Codes as differences, which are short."""
        return {
            "level": self.level,
            "codes": np.diff(self.codes, prepend=0).tolist(),
            "counts": self.counts.tolist(),
            "low": self.low,
            "high": self.high,
        }

    @classmethod
    def from_dict(cls, told: dict[str, Any], capacity: int) -> Self:
        """What `as_dict` told."""
        return cls(
            capacity,
            told["level"],
            np.cumsum(np.array(told["codes"], np.int64)),
            np.array(told["counts"], np.int64),
            told["low"],
            told["high"],
        )


def code_of(numbers: Floats) -> Codes:
    """The finest bucket of each number."""
    size = np.abs(numbers)
    near = size < _TINY
    index = np.ceil(np.log(np.where(near, 1.0, size)) / _LOG).astype(np.int64)
    return np.where(near, 0, np.sign(numbers).astype(np.int64) * (index + _SHIFT))


def _coarse(codes: Codes, levels: int) -> Codes:
    """Each code after its bucket was joined to its neighbor `levels` times."""
    if not levels:
        return codes
    index = np.abs(codes) - _SHIFT
    joined = -((-index) >> levels)  # divided by 2^levels and rounded up
    return np.where(codes == 0, 0, np.sign(codes) * (joined + _SHIFT))


def _number(codes: Codes, level: int) -> Floats:
    """The number whose distance to both ends of its bucket is the same share of them."""
    log = _LOG * 2.0**level
    index = (np.abs(codes) - _SHIFT).astype(np.float64)
    with np.errstate(over="ignore"):
        size = np.exp(np.clip(index * log, -690, 709)) * 2 / (math.exp(min(log, 700.0)) + 1)
    return np.where(codes == 0, 0.0, np.sign(codes) * size)


def _summed(codes: Codes, counts: Codes) -> tuple[Codes, Codes]:
    """Rising codes, each once, with the sum of its counts."""
    found, place = np.unique(codes, return_inverse=True)
    summed = np.zeros(len(found), np.int64)
    np.add.at(summed, place, counts)
    return found, summed
