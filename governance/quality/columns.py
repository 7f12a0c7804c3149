"""The sketch of one column: what is counted of its cells while they pass."""

import base64
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from governance.quality.buckets import Buckets
from governance.quality.hashing import Hashes, text_hashes
from governance.quality.kinds import KINDS, STANDS_IN, CellKind, read_kinds

Counts = npt.NDArray[np.int64]

_LENGTHS: Final = 26  # text lengths by powers of two: 1, 2-3, 4-7, … characters
_SPACE: Final = 2.0**64


@dataclass(frozen=True)
class Detail:
    """How much a sketch keeps: of wide tables less a column, so that the whole stays bounded.

    Attributes:
        drawn: smallest hashes kept, for the number of distinct values.
        hitters: values whose frequency is kept, by hash.
        buckets: buckets of numbers.
    """

    drawn: int
    hitters: int
    buckets: int


def detail_for(columns: int) -> Detail:
    """Full detail up to 64 columns (about 10 KB each as JSON), then a quarter, then a sixteenth."""
    if columns <= 64:  # noqa: PLR2004 - named above
        return Detail(drawn=256, hitters=128, buckets=512)
    if columns <= 512:  # noqa: PLR2004 - eight times as many
        return Detail(drawn=64, hitters=32, buckets=128)
    return Detail(drawn=16, hitters=16, buckets=32)


@dataclass
class ColumnSketch:
    """Counts of one column.

    All of it merges exactly, but the frequencies of a column with more distinct values than
    `detail.hitters`: those are low by at most `slack`.

    Attributes:
        detail: how much is kept.
        rows: cells, missing ones included.
        missing: cells without anything but spaces.
        stand_ins: cells with a word that stands for a missing value ("NA", "?", "未知").
        kinds: cells by kind, in the order of `KINDS`; stand-ins are in none.
        smallest: the `drawn` smallest hashes of distinct values, rising (bottom-k, Cohen and
            Kaplan 2007).
        hitters: hash -> cells (Misra and Gries 1982, merged as in Agarwal and others, "Mergeable
            summaries", 2012).
        slack: most that a hitter's count is low by: at most cells / (hitters + 1).
        numbers: how the numbers are spread.
        lengths: texts by power of two of their characters.
    """

    detail: Detail
    rows: int = 0
    missing: int = 0
    stand_ins: int = 0
    kinds: Counts = field(default_factory=lambda: np.zeros(len(KINDS), np.int64))
    smallest: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    hitters: dict[int, int] = field(default_factory=dict)
    slack: int = 0
    numbers: Buckets = field(init=False)
    lengths: Counts = field(default_factory=lambda: np.zeros(_LENGTHS, np.int64))

    def __post_init__(self) -> None:
        self.numbers = Buckets(self.detail.buckets)

    def add(self, cells: pl.Series, key: bytes) -> Hashes:
        """Take in strings; `key` is this column's.

        Returns:
            The hash of every cell, in order: that of an empty text where there is nothing.
        """
        stripped = cells.str.strip_chars().fill_null("")
        coded = stripped.to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode()
        texts = pl.Series(coded.dictionary, dtype=pl.String)
        codes: Counts = coded.indices.to_numpy()
        counts = np.bincount(codes, minlength=len(texts)).astype(np.int64)
        hashes = text_hashes(texts, key)
        self.rows += len(cells)
        self._count(texts, hashes, counts)
        by_cell: Hashes = hashes[codes]
        return by_cell

    def _count(self, texts: pl.Series, hashes: Hashes, counts: Counts) -> None:
        """Count distinct texts, each as often as it came."""
        there = (texts != "").to_numpy()
        self.missing += int(counts[~there].sum())
        if not there.all():
            texts, hashes, counts = texts.filter(there), hashes[there], counts[there]
        if texts.is_empty():
            return
        kinds, numbers = read_kinds(texts)
        by_kind = np.bincount(kinds, counts, len(KINDS) + 1).astype(np.int64)
        self.kinds = self.kinds + by_kind[:STANDS_IN]
        self.stand_ins += int(by_kind[STANDS_IN])
        numeric = np.isfinite(numbers)
        self.numbers.add(numbers[numeric], counts[numeric])
        sizes = np.minimum(np.log2(texts.str.len_chars().to_numpy()).astype(np.int64), _LENGTHS - 1)
        self.lengths = self.lengths + np.bincount(sizes, counts, _LENGTHS).astype(np.int64)
        self._draw(hashes)
        self._hit(hashes, counts, 0)

    def merge(self, other: Self) -> None:
        """Take in what another sketch of the same column counted."""
        self.rows += other.rows
        self.missing += other.missing
        self.stand_ins += other.stand_ins
        self.kinds = self.kinds + other.kinds
        self.lengths = self.lengths + other.lengths
        self.numbers.merge(other.numbers)
        self._draw(other.smallest)
        self._hit(
            np.fromiter(other.hitters.keys(), np.uint64),
            np.fromiter(other.hitters.values(), np.int64),
            other.slack,
        )

    def _draw(self, hashes: Hashes) -> None:
        keep = self.detail.drawn
        if len(hashes) > keep:
            hashes = np.partition(hashes, keep - 1)[:keep]
        self.smallest = np.union1d(self.smallest, hashes)[:keep]

    def _hit(self, hashes: Hashes, counts: Counts, slack: int) -> None:
        """Add up frequencies; with more values than are kept, all go down by the next largest."""
        keep = self.detail.hitters
        known = np.fromiter(self.hitters.keys(), np.uint64)
        summed = counts.copy()
        if len(known) and len(hashes):
            order = np.argsort(known)
            rising = known[order]
            place = np.minimum(np.searchsorted(rising, hashes), len(rising) - 1)
            met = np.flatnonzero(rising[place] == hashes)
            held = np.fromiter(self.hitters.values(), np.int64)[order]
            summed[met] += held[place[met]]
            held[place[met]] = 0
            alone = held > 0
            hashes = np.concatenate([hashes, rising[alone]])
            summed = np.concatenate([summed, held[alone]])
        elif len(known):
            hashes, summed = known, np.fromiter(self.hitters.values(), np.int64)
        self.slack += slack
        if len(summed) > keep:
            cut = int(np.partition(summed, len(summed) - keep - 1)[len(summed) - keep - 1])
            left = summed > cut
            hashes, summed = hashes[left], summed[left] - cut
            self.slack += cut
        self.hitters = dict(zip(hashes.tolist(), summed.tolist(), strict=True))

    # What is told of the column

    @property
    def present(self) -> int:
        """Cells with a value: neither missing nor a stand-in."""
        return self.rows - self.missing - self.stand_ins

    def distinct(self) -> int:
        """Distinct values: exact below `detail.drawn`, else (k - 1) / U_k, off by 1/√(k - 2)."""
        keep = self.detail.drawn
        if len(self.smallest) < keep:
            return len(self.smallest)
        return min(self.present, round((keep - 1) * _SPACE / float(self.smallest[-1])))

    @property
    def counts_all(self) -> bool:
        """Whether every value's frequency is known exactly."""
        return self.slack == 0

    def numeric(self) -> int:
        """Cells that are numbers."""
        return int(
            self.kinds[KINDS.index(CellKind.INTEGER)] + self.kinds[KINDS.index(CellKind.REAL)]
        )

    # As JSON

    def as_dict(self) -> dict[str, Any]:
        """Hashes in base64, all else as numbers."""
        rising = sorted(self.hitters.items())
        return {
            "rows": self.rows,
            "missing": self.missing,
            "stand_ins": self.stand_ins,
            "kinds": self.kinds.tolist(),
            "smallest": packed(self.smallest),
            "hitters": packed(np.array([value for value, _ in rising], np.uint64)),
            "hits": [count for _, count in rising],
            "slack": self.slack,
            "numbers": self.numbers.as_dict(),
            "lengths": self.lengths.tolist(),
        }

    @classmethod
    def from_dict(cls, told: dict[str, Any], detail: Detail) -> Self:
        """What `as_dict` told."""
        made = cls(
            detail,
            told["rows"],
            told["missing"],
            told["stand_ins"],
            np.array(told["kinds"], np.int64),
            unpacked(told["smallest"]),
            dict(zip(unpacked(told["hitters"]).tolist(), told["hits"], strict=True)),
            told["slack"],
            np.array(told["lengths"], np.int64),
        )
        made.numbers = Buckets.from_dict(told["numbers"], detail.buckets)
        return made


def packed(hashes: Hashes) -> str:
    """Hashes as base64 of little-endian words."""
    return base64.b64encode(hashes.astype("<u8").tobytes()).decode()


def unpacked(text: str) -> Hashes:
    """What `packed` wrote."""
    return np.frombuffer(base64.b64decode(text), "<u8").astype(np.uint64)
