"""How well rows hide the people in them, measured, and made so by generalization and suppression.

Rows that agree in all quasi-identifiers are one class. Three figures, over the classes that go out:

    k  rows in the smallest class (Sweeney, 2002)
    l  fewest different sensitive values in a class; beside it exp(entropy) (Machanavajjhala et al.,
       "l-diversity", TKDD 2007)
    t  the largest earth mover's distance between a class and all rows (Li, Li, Venkatasubramanian,
       "t-closeness", ICDE 2007): for categories every two values are 1 apart, so it is half the sum
       of |p - q|; for numbers the distance is in ranks, so it is the mean of |cumulated p - q|

The rows are read once, into counts of each combination of values; everything after that looks at
counts. So memory grows with the number of combinations and not with the number of rows.

`search` tries generalizations from the least to the most: the cost of a node is the sum, over the
columns, of level / height, and of two that cost the same the one that leaves fewer rows out wins.
At each node, classes that miss a threshold are left out, and what remains is measured anew until
all of it meets them, since t compares with what goes out. A node that leaves out more than a tenth
of the rows fails. Two facts keep the search short: whoever misses k or l in a coarser table misses
it in every finer one, so levels that fail with everything else at `*` are skipped.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from governance.anonymization.hierarchies import Ladder, ladder
from governance.errors import InvalidError, RefusedError

MOST_SUPPRESSED: Final = Fraction(1, 10)
MOST_NODES: Final = 50_000
MOST_COMBINATIONS: Final = 5_000_000
_PENDING: Final = 500_000  # rows of partial counts before they are added up
_MOST_RANKS: Final = 256  # a numeric sensitive column of more values is ranked in so many bins
_CELLS: Final = 4_000_000  # of a table of classes by ranks at one time
_COUNT: Final = "\0count"  # no column of a table has a NUL in its name

Integers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Thresholds:
    """What goes out must reach k and l and stay within t."""

    k: int
    l: int = 2  # noqa: E741 - its name in every paper
    t: Decimal = Decimal("0.3")


@dataclass(frozen=True)
class Measures:
    """What a table measures. Without a sensitive column, l and t say nothing and are None."""

    rows: int
    classes: int
    k: int
    l: int | None  # noqa: E741 - as above
    entropy_l: float | None
    t: float | None

    def misses(self, wanted: Thresholds) -> tuple[str, ...]:
        """The codes of what is not reached."""
        found = []
        if self.k < wanted.k:
            found.append("release.k_missed")
        if self.l is not None and self.l < wanted.l:
            found.append("release.l_missed")
        if self.t is not None and self.t > float(wanted.t) + _ROUNDING:
            found.append("release.t_missed")
        return tuple(found)


_ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class Node:
    """A generalization, and what it measures once classes that miss were left out.

    Attributes:
        levels: the level of each quasi-identifier, in their order.
        measures: of what goes out.
        suppressed: rows that do not.
        kept: which combinations go out.
    """

    levels: tuple[int, ...]
    measures: Measures
    suppressed: int
    kept: npt.NDArray[np.bool_] = field(repr=False, compare=False)


class Counts:
    """How many rows hold each combination of quasi-identifiers and sensitive values."""

    def __init__(self, quasi: Sequence[str], sensitive: Sequence[str]) -> None:
        self.quasi = tuple(quasi)
        self.sensitive = tuple(sensitive)
        self.names = tuple(dict.fromkeys((*quasi, *sensitive)))
        self._parts: list[pl.DataFrame] = []
        self._pending = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Count the rows of a frame; its columns of these names, of any type.

        Raises:
            RefusedError: `release.too_many_combinations`.
        """
        texts = frame.select(as_text(name) for name in self.names)
        counted = texts.group_by(self.names).agg(pl.len().cast(pl.Int64).alias(_COUNT))
        self._parts.append(counted)
        self._pending += counted.height
        if self._pending > _PENDING:
            self._add_up()

    def table(self) -> pl.DataFrame:
        """The combinations with their counts, in one order whatever the frames were."""
        self._add_up()
        return self._parts[0] if self._parts else pl.DataFrame()

    def _add_up(self) -> None:
        if not self._parts:
            return
        counted = pl.concat(self._parts).group_by(self.names).agg(pl.col(_COUNT).sum())
        if counted.height > MOST_COMBINATIONS:
            raise RefusedError(
                "the quasi-identifiers have too many combinations to be told apart here",
                code="release.too_many_combinations",
            )
        self._parts = [counted.sort(self.names)]
        self._pending = counted.height


def as_text(name: str) -> pl.Expr:
    """A column as the texts that are counted, generalized and written; an empty cell is ''."""
    return pl.col(name).cast(pl.String).fill_null("")


class Table:
    """Combinations of values as numbers, with a ladder for each quasi-identifier."""

    def __init__(self, counts: Counts, declared: Mapping[str, Mapping[str, Any]]) -> None:
        frame = counts.table()
        self.quasi, self.sensitive = counts.quasi, counts.sensitive
        self.weights: Integers = (
            frame[_COUNT].to_numpy().astype(np.int64) if frame.width else np.zeros(0, np.int64)
        )
        self.rows = int(self.weights.sum())
        self.ladders: tuple[Ladder, ...] = ()
        self._codes: list[list[Integers]] = []
        if not self.rows:
            return
        for name in self.quasi:
            totals = frame.group_by(name).agg(pl.col(_COUNT).sum()).sort(name)
            by_value = dict(zip(totals[name].to_list(), totals[_COUNT].to_list(), strict=True))
            built = ladder(name, by_value, declared.get(name, {}))
            self.ladders += (built,)
            self._codes.append([_codes(frame[name], rung.of) for rung in built.rungs])
        self._ranked = [_Sensitive(frame[name], self.weights) for name in self.sensitive]

    @property
    def top(self) -> tuple[int, ...]:
        """The level of each column at which it says nothing."""
        return tuple(ladder_.height for ladder_ in self.ladders)

    def named(self, levels: Sequence[int]) -> dict[str, str]:
        """Columns with the names of their levels, as the record keeps them."""
        return {
            built.column: built.rungs[level].name
            for built, level in zip(self.ladders, levels, strict=True)
        }

    def cost(self, levels: Sequence[int]) -> Fraction:
        """Sum of level / height: 0 for the values themselves."""
        return sum(
            (
                Fraction(level, built.height)
                for built, level in zip(self.ladders, levels, strict=True)
            ),
            Fraction(0),
        )

    def measure(self, levels: Sequence[int]) -> Measures:
        """The figures at these levels, with all rows."""
        return self.whole(levels).measures

    def enforce(self, levels: Sequence[int], wanted: Thresholds) -> Node:
        """Leave classes out until all that remain meet the thresholds."""
        classes = self._classes(levels)
        kept = np.ones(len(self.weights), np.bool_)
        while True:
            figures = self._figures(classes, kept)
            missing = figures.missing(wanted)
            if not missing.any():
                measures = figures.measures()
                return Node(tuple(levels), measures, self.rows - measures.rows, kept)
            kept &= ~missing[classes]

    def whole(self, levels: Sequence[int]) -> Node:
        """All rows at these levels, whatever they measure."""
        kept = np.ones(len(self.weights), np.bool_)
        return Node(tuple(levels), self._figures(self._classes(levels), kept).measures(), 0, kept)

    def misses_for_good(self, levels: Sequence[int], wanted: Thresholds) -> bool:
        """Whether k and l alone cost more than may be suppressed; then no finer node can do."""
        figures = self._figures(self._classes(levels), np.ones(len(self.weights), np.bool_))
        missing = figures.missing(Thresholds(wanted.k, wanted.l, Decimal(2)))
        return bool(figures.sizes[missing].sum() > self.rows * MOST_SUPPRESSED)

    def _classes(self, levels: Sequence[int]) -> Integers:
        """The class of each combination, numbered from 0."""
        classes = np.zeros(len(self.weights), np.int64)
        for codes, level in zip(self._codes, levels, strict=True):
            code = codes[level]
            # Numbered anew after each column, so that the product never overflows.
            _, classes = np.unique(classes * (int(code.max()) + 1) + code, return_inverse=True)
        return classes

    def _figures(self, classes: Integers, kept: npt.NDArray[np.bool_]) -> "_Figures":
        weights = np.where(kept, self.weights, 0)
        count = int(classes.max()) + 1 if len(classes) else 0
        sizes = np.bincount(classes, weights=weights, minlength=count).astype(np.int64)
        return _Figures(sizes, [one.figures(classes, weights, sizes) for one in self._ranked])


class _Sensitive:
    """One sensitive column: values in order, numbers by size, with the distance that suits them."""

    def __init__(self, column: pl.Series, weights: Integers) -> None:
        values = column.unique().sort().to_list()
        numbers = [_number(value) for value in values]
        self.ordered = all(number is not None for number in numbers) and len(values) > 1
        if self.ordered:
            order = sorted(range(len(values)), key=lambda place: numbers[place] or 0.0)
            values = [values[place] for place in order]
        self.codes = _codes(column, {value: value for value in values}, values)
        if self.ordered:
            totals = np.bincount(self.codes, weights=weights).astype(np.float64)
            self.ranks = _ranks(totals)[self.codes]
        else:
            self.ranks = self.codes

    def figures(
        self, classes: Integers, weights: Integers, sizes: Integers
    ) -> tuple[Integers, Reals, Reals]:
        """Different values, exp(entropy) and t of each class; of an empty class 0, 0 and 0."""
        present = weights > 0
        pairs, at = np.unique(
            classes[present] * (int(self.codes.max()) + 1) + self.codes[present],
            return_inverse=True,
        )
        counts = np.bincount(at, weights=weights[present], minlength=len(pairs))
        of = pairs // (int(self.codes.max()) + 1)
        distinct = np.bincount(of, minlength=len(sizes))
        shares = counts / np.maximum(sizes[of], 1)
        entropy = np.bincount(of, weights=-shares * np.log(shares), minlength=len(sizes))
        perplexity = np.where(sizes > 0, np.exp(entropy), 0.0)
        return distinct, perplexity, self._distances(classes, weights, sizes)

    def _distances(self, classes: Integers, weights: Integers, sizes: Integers) -> Reals:
        values = int(self.ranks.max()) + 1
        overall = np.bincount(self.ranks, weights=weights, minlength=values)
        overall = overall / max(overall.sum(), 1)
        out = np.zeros(len(sizes))
        step = max(1, _CELLS // values)
        for first in range(0, len(sizes), step):
            within = (classes >= first) & (classes < first + step) & (weights > 0)
            width = min(step, len(sizes) - first)
            table = np.bincount(
                (classes[within] - first) * values + self.ranks[within],
                weights=weights[within],
                minlength=width * values,
            ).reshape(width, values)
            total = table.sum(axis=1, keepdims=True)
            gap = np.where(total > 0, table / np.maximum(total, 1) - overall, 0.0)
            if self.ordered:
                moved = np.abs(np.cumsum(gap, axis=1)).sum(axis=1) / max(values - 1, 1)
            else:
                moved = np.abs(gap).sum(axis=1) / 2
            out[first : first + width] = moved
        return out


@dataclass(frozen=True)
class _Figures:
    """The size of each class, and for each sensitive column its figures."""

    sizes: Integers
    sensitive: Sequence[tuple[Integers, Reals, Reals]]

    def missing(self, wanted: Thresholds) -> npt.NDArray[np.bool_]:
        """Which classes hold rows and miss a threshold."""
        bad = self.sizes < wanted.k
        for distinct, _, distance in self.sensitive:
            bad = bad | (distinct < wanted.l) | (distance > float(wanted.t) + _ROUNDING)
        return bad & (self.sizes > 0)

    def measures(self) -> Measures:
        """The worst class decides."""
        held = self.sizes > 0
        if not held.any():
            return Measures(0, 0, 0, None, None, None)
        one = bool(self.sensitive)
        return Measures(
            rows=int(self.sizes.sum()),
            classes=int(held.sum()),
            k=int(self.sizes[held].min()),
            l=min(int(d[held].min()) for d, _, _ in self.sensitive) if one else None,
            entropy_l=min(float(e[held].min()) for _, e, _ in self.sensitive) if one else None,
            t=max(float(t[held].max()) for _, _, t in self.sensitive) if one else None,
        )


def search(table: Table, wanted: Thresholds) -> Node | None:
    """The least generalization that meets the thresholds with at most a tenth left out, or None.

    Raises:
        InvalidError: `release.too_many_columns`: the lattice is too large to be searched.
    """
    # One class of all rows has the largest k and l that there are, and t = 0.
    if not table.rows or not is_within(table.enforce(table.top, wanted), table):
        return None
    if math.prod(height + 1 for height in table.top) > MOST_NODES:
        raise InvalidError(
            "so many quasi-identifiers have too many generalizations to be tried",
            code="release.too_many_columns",
        )
    best: Node | None = None
    for levels in _ascending(table, _lowest(table, wanted)):
        if best is not None and table.cost(levels) > table.cost(best.levels):
            break
        node = table.enforce(levels, wanted)
        if is_within(node, table) and (best is None or node.suppressed < best.suppressed):
            best = node
    return best


def is_within(node: Node, table: Table) -> bool:
    """Whether anything goes out, and no more than a tenth stays behind."""
    return node.measures.rows > 0 and node.suppressed <= table.rows * MOST_SUPPRESSED


def _lowest(table: Table, wanted: Thresholds) -> list[int]:
    """For each column the lowest level that could do with all others at the top."""
    lowest = []
    for place, height in enumerate(table.top):
        level = 0
        while level < height:
            alone = [*table.top[:place], level, *table.top[place + 1 :]]
            if not table.misses_for_good(alone, wanted):
                break
            level += 1
        lowest.append(level)
    return lowest


def _ascending(table: Table, lowest: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every node from `lowest` up, cheapest first, and of equal cost in the order of the levels."""
    start = tuple(lowest)
    heap = [(table.cost(start), start)]
    seen = {start}
    while heap:
        _, levels = heapq.heappop(heap)
        yield levels
        for place, height in enumerate(table.top):
            if levels[place] < height:
                above = (*levels[:place], levels[place] + 1, *levels[place + 1 :])
                if above not in seen:
                    seen.add(above)
                    heapq.heappush(heap, (table.cost(above), above))


def count(frames: Iterable[pl.DataFrame], quasi: Sequence[str], sensitive: Sequence[str]) -> Counts:
    """The one pass over the rows.

    Raises:
        RefusedError: `release.too_many_combinations`.
    """
    counts = Counts(quasi, sensitive)
    for frame in frames:
        counts.add(frame)
    return counts


def _codes(column: pl.Series, of: Mapping[str, str], order: Sequence[str] = ()) -> Integers:
    """Each cell as the number of what it is mapped to."""
    numbers = {value: place for place, value in enumerate(order or dict.fromkeys(of.values()))}
    coded = column.replace_strict(
        list(of), [numbers[value] for value in of.values()], return_dtype=pl.Int64
    )
    return coded.to_numpy().astype(np.int64)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _ranks(totals: Reals) -> Integers:
    """The rank of each value; of more than 256 values, the equal share of the rows it falls into.

    Binning moves t by less than 1/256.
    """
    if len(totals) <= _MOST_RANKS:
        return np.arange(len(totals), dtype=np.int64)
    middle = (np.cumsum(totals) - totals / 2) / max(totals.sum(), 1)
    bins = np.minimum((middle * _MOST_RANKS).astype(np.int64), _MOST_RANKS - 1)
    _, dense = np.unique(bins, return_inverse=True)
    return dense.astype(np.int64)
