"""A sketch held against a contract: how much of each column is amiss, and what is too much.

Most terms are answered by the sketch alone, so that a version is judged when it is sealed without
being read again. Bounds, categories, patterns and uniqueness may need the rows: `unanswered` says
which, and `checking` counts them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from governance.quality.buckets import Buckets
from governance.quality.columns import ColumnSketch
from governance.quality.contract import ColumnTerms, ColumnType, Contract
from governance.quality.kinds import KINDS, STAND_INS, CellKind
from governance.quality.sketches import TableSketch

_FAR: Final = 3.0  # quartile distances: Tukey's outer fences
_MODIFIED_Z: Final = 3.5  # Iglewicz and Hoaglin 1993, where the quartiles are one number
_MEAN_DEVIATION: Final = 1.253314  # √(π/2), which makes it a standard deviation of a normal


class Check(StrEnum):
    """What can be amiss."""

    ROWS = "rows"
    DUPLICATES = "duplicates"
    LABELS = "labels"
    COLUMN = "column"
    MISSING = "missing"
    TYPE = "type"
    MIN = "min"
    MAX = "max"
    CATEGORIES = "categories"
    PATTERN = "pattern"
    UNIQUE = "unique"
    OUTLIERS = "outliers"


INVALID: Final = (Check.MIN, Check.MAX, Check.CATEGORIES, Check.PATTERN)

# (column, check) -> cells that fail it
Failures = dict[tuple[str, Check], int]


@dataclass(frozen=True)
class Breach:
    """A term that is not met: never a value, only how much.

    Attributes:
        column: its name; empty where the table as a whole is meant.
        check: which term.
        share: what was found: a share, or the number of rows.
        limit: what the contract allows.
    """

    column: str
    check: Check
    share: float
    limit: float

    def as_dict(self) -> dict[str, Any]:
        """The breach as JSON."""
        return {
            "column": self.column,
            "check": self.check.value,
            "share": round(self.share, 6),
            "limit": self.limit,
        }


def present(column: ColumnSketch, terms: ColumnTerms) -> int:
    """Cells with a value; a stand-in is one where the contract lists it among the categories."""
    listed = any(value.lower() in STAND_INS for value in terms.categories or ())
    return column.rows - column.missing if listed else column.present


def row_checks(terms: ColumnTerms) -> Iterator[Check]:
    """The checks of a column that are made cell by cell."""
    if terms.min is not None:
        yield Check.MIN
    if terms.max is not None:
        yield Check.MAX
    if terms.categories is not None:
        yield Check.CATEGORIES
    if terms.pattern is not None:
        yield Check.PATTERN
    if terms.unique:
        yield Check.UNIQUE


def answered(sketch: TableSketch, contract: Contract) -> Failures:
    """The cell-by-cell checks that the sketch answers.

    Bounds where no number is beyond them (to four digits), categories where every frequency is
    known.
    """
    found: Failures = {}
    for name, terms in contract.columns.items():
        if name not in sketch.names:
            continue
        column = sketch.column(name)
        numbers = column.numbers
        for check in row_checks(terms):
            match check:
                case Check.MIN if not numbers.total or _within(numbers, low=terms.min):
                    found[name, check] = 0
                case Check.MAX if not numbers.total or _within(numbers, high=terms.max):
                    found[name, check] = 0
                case Check.CATEGORIES if column.counts_all:
                    known = sketch.hashes(name, terms.categories or ())
                    good = sum(column.hitters.get(value, 0) for value in known)
                    found[name, check] = present(column, terms) - good
                case _:
                    pass
    return found


def unanswered(sketch: TableSketch, contract: Contract) -> bool:
    """Whether the rows must be read to judge this contract."""
    known = answered(sketch, contract)
    return any(
        (name, check) not in known
        for name, terms in contract.columns.items()
        if name in sketch.names
        for check in row_checks(terms)
    )


def judge(sketch: TableSketch, contract: Contract, failures: Mapping[Any, int]) -> list[Breach]:
    """Every term that is not met.

    Args:
        sketch: of the whole version.
        contract: the terms.
        failures: of the cell-by-cell checks, from `answered` or `checking.count_failures`.
    """
    return [
        *_table_breaches(sketch, contract),
        *(
            breach
            for name, terms in contract.columns.items()
            for breach in _column_breaches(sketch, name, terms, failures)
        ),
    ]


def _table_breaches(sketch: TableSketch, contract: Contract) -> Iterator[Breach]:
    terms = contract.table
    if sketch.rows < terms.min_rows:
        yield Breach("", Check.ROWS, sketch.rows, terms.min_rows)
    if terms.max_duplicates is not None and sketch.duplicates() > terms.max_duplicates:
        yield Breach("", Check.DUPLICATES, sketch.duplicates(), terms.max_duplicates)
    if terms.target is None or terms.min_label_share is None:
        return
    if terms.target not in sketch.names:
        yield Breach(terms.target, Check.COLUMN, 0, 1)
        return
    rarest = min(label_shares(sketch, contract).values(), default=0.0)
    if rarest < terms.min_label_share:
        yield Breach(terms.target, Check.LABELS, rarest, terms.min_label_share)


def label_shares(sketch: TableSketch, contract: Contract) -> dict[str, float]:
    """The share of each label of the target.

    By name where the contract lists them; else by rank, `1` being the commonest, for as many as
    the sketch counts: no value of the rows is told. One label alone has a rival without any cell.
    """
    target = contract.table.target
    if target is None or target not in sketch.names:
        return {}
    column = sketch.column(target)
    terms = contract.columns.get(target, ColumnTerms())
    total = present(column, terms)
    if not total:
        return {}
    if terms.categories:
        hashes = sketch.hashes(target, terms.categories)
        return {
            label: column.hitters.get(value, 0) / total
            for label, value in zip(terms.categories, hashes, strict=True)
        }
    counts = sorted(column.hitters.values(), reverse=True)
    counts += [0] * (2 - len(counts))
    return {str(rank): count / total for rank, count in enumerate(counts, start=1)}


def _column_breaches(
    sketch: TableSketch, name: str, terms: ColumnTerms, failures: Mapping[Any, int]
) -> Iterator[Breach]:
    if name not in sketch.names:
        yield Breach(name, Check.COLUMN, 0, 1)
        return
    column = sketch.column(name)
    there = present(column, terms)
    shares: list[tuple[Check, float, float | None]] = [
        (Check.MISSING, 1 - there / column.rows if column.rows else 0.0, terms.max_missing)
    ]
    if terms.type is not None:
        shares.append((Check.TYPE, type_drift(column, terms.type), terms.max_type_drift or 0.0))
    shares.extend(
        (
            check,
            failures.get((name, check), 0) / max(1, there),
            0.0 if check is Check.UNIQUE else terms.max_invalid,
        )
        for check in row_checks(terms)
    )
    shares.append((Check.OUTLIERS, outliers(column.numbers), terms.max_outliers))
    for check, share, limit in shares:
        if limit is not None and share > limit:
            yield Breach(name, check, share, limit)


def type_drift(column: ColumnSketch, declared: str | None = None) -> float:
    """The share of cells that are not of the declared type, or else of the commonest one.

    An integer is a number as well; everything is text.
    """
    total = int(column.kinds.sum())
    if not total:
        return 0.0
    by_kind = dict(zip(KINDS, column.kinds.tolist(), strict=True))
    match declared:
        case ColumnType.TEXT:
            fit = total
        case ColumnType.NUMBER:
            fit = column.numeric()
        case None:
            fit = max(
                column.numeric(),
                *(by_kind[kind] for kind in (CellKind.DATE, CellKind.BOOLEAN, CellKind.TEXT)),
            )
        case _:
            fit = by_kind[CellKind(declared)]
    return 1 - fit / total


def main_kind(column: ColumnSketch) -> str:
    """What most cells are, for the page; empty of an empty column."""
    if not column.kinds.sum():
        return ""
    by_kind = dict(zip(KINDS, column.kinds.tolist(), strict=True))
    number = by_kind.pop(CellKind.INTEGER), by_kind.pop(CellKind.REAL)
    best: CellKind = max(by_kind, key=lambda kind: by_kind[kind])
    if sum(number) >= by_kind[best]:
        best = CellKind.REAL if number[1] else CellKind.INTEGER
    return str(best)


def outliers(numbers: Buckets) -> float:
    """The share of numbers far out of the rest.

    Beyond three quartile distances from the quartiles (Tukey, "Exploratory Data Analysis", 1977);
    where both quartiles are one number, beyond 3.5 robust deviations from it, reckoned by the mean
    absolute deviation (Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993).
    """
    if not numbers.total:
        return 0.0
    low, middle, high = (numbers.quantile(share) for share in (0.25, 0.5, 0.75))
    if high > low:
        reach = _FAR * (high - low)
        return (numbers.below(low - reach) + numbers.above(high + reach)) / numbers.total
    spread = float((abs(numbers.numbers() - middle) * numbers.counts).sum()) / numbers.total
    if not spread:
        return 0.0
    reach = _MODIFIED_Z * _MEAN_DEVIATION * spread
    return (numbers.below(middle - reach) + numbers.above(middle + reach)) / numbers.total


def _within(numbers: Buckets, low: float | None = None, high: float | None = None) -> bool:
    """Whether no number is beyond the bound."""
    if low is not None:
        return not numbers.lowest_below(low)
    return high is None or not numbers.highest_above(high)
