"""How far a version has moved from another, column by column, reckoned from their sketches.

The population stability index over the bins i of the older version, with shares p and q,

    PSI = Σ (q_i − p_i) · ln(q_i / p_i)

(Siddiqi, "Credit Risk Scorecards", 2006; it is Jeffreys' divergence): 0.1 is worth a look, 0.25 is
acted upon. Between samples of one population it is (1/n + 1/m) times a χ² with one degree of
freedom less than there are bins (Yurdakul and Naranjo, "Statistical properties of the population
stability index", 2020), so that an index below the 95 % point of that is noise, whatever its size.

For numbers the Kolmogorov-Smirnov distance is told beside it,

    D = sup |F(x) − G(x)|, significant above 1.358 · √((n + m) / (n·m)) at 5 %

(Smirnov 1948), with Cohen's d (the difference of the means in pooled standard deviations) as the
size of the effect. D is taken at the edges of the sketch's buckets: the true supremum is larger by
at most the share of the fullest bucket.
"""

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from governance.quality.buckets import Buckets, Floats
from governance.quality.columns import ColumnSketch
from governance.quality.judging import main_kind
from governance.quality.kinds import CellKind
from governance.quality.sketches import TableSketch

WARN: Final = 0.1  # PSI
ACT: Final = 0.25
MISSING: Final = 0.02  # a change of the missing share
NEW: Final = 0.02  # share of cells in categories that were not there
_KS_WARN: Final = 0.1
_KS_ACT: Final = 0.25
_BINS: Final = 10
_BIN_ROWS: Final = 50  # fewer rows a bin measure chance
_SMALLEST: Final = 1e-4  # share that an empty bin is given: the logarithm has no 0
_KS_5_PERCENT: Final = 1.358
_NORMAL_95: Final = 1.645
_NUMERIC: Final = 0.95  # share of numbers from which a column is compared by number


class Level(StrEnum):
    """What a column's drift asks for."""

    STABLE = "stable"
    WARN = "warn"
    ACT = "act"


class Basis(StrEnum):
    """What the bins of a column are."""

    NUMBERS = "numbers"
    CATEGORIES = "categories"
    LENGTHS = "lengths"  # of texts with too many values to count each
    NONE = "none"


@dataclass(frozen=True)
class Drift:
    """One column's drift; what was not reckoned is None.

    Attributes:
        name: the column.
        level: what it asks for.
        basis: what the bins are.
        psi: population stability index.
        noise: the index below which it is chance, at 5 %.
        ks: Kolmogorov-Smirnov distance.
        ks_noise: the distance below which it is chance, at 5 %.
        effect: Cohen's d.
        missing: change of the missing share.
        new: share of cells whose category the older version does not have.
        kind_changed: whether most cells are of another type now.
    """

    name: str
    level: Level
    basis: Basis
    psi: float | None
    noise: float | None
    ks: float | None
    ks_noise: float | None
    effect: float | None
    missing: float
    new: float | None
    kind_changed: bool

    def as_dict(self) -> dict[str, Any]:
        """The drift as JSON, to six decimals."""
        return {
            key: round(value, 6) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


def compare(old: TableSketch, new: TableSketch) -> dict[str, Any]:
    """The drift of every common column, and which columns came and went.

    Both sketches are of one dataset, under one key.
    """
    columns = [
        column_drift(name, old.column(name), new.column(name))
        for name in new.names
        if name in old.names
    ]
    levels = [column.level for column in columns]
    return {
        "rows": [old.rows, new.rows],
        "level": max(levels, key=list(Level).index, default=Level.STABLE).value,
        "added": [name for name in new.names if name not in old.names],
        "removed": [name for name in old.names if name not in new.names],
        "columns": [column.as_dict() for column in columns],
    }


def column_drift(name: str, old: ColumnSketch, new: ColumnSketch) -> Drift:
    """The drift of one column."""
    missing = _missing(new) - _missing(old)
    kinds = main_kind(old), main_kind(new)
    changed = bool(kinds[0] and kinds[1]) and _family(kinds[0]) != _family(kinds[1])
    bins = _bins(old, new)
    psi = noise = ks = ks_noise = effect = None
    n, m = int(bins.old.sum()), int(bins.new.sum())
    if n and m:
        psi = stability_index(bins.old / n, bins.new / m)
        noise = (1 / n + 1 / m) * _chi_square_95(len(bins.old) - 1)
    if bins.basis is Basis.NUMBERS and old.numbers.total and new.numbers.total:
        ks = distance(old.numbers, new.numbers)
        n, m = old.numbers.total, new.numbers.total
        ks_noise = _KS_5_PERCENT * math.sqrt((n + m) / (n * m))
        effect = effect_size(old.numbers, new.numbers)
    fresh = _new_share(old, new) if bins.basis is Basis.CATEGORIES else None
    return Drift(
        name=name,
        level=_level(
            [
                (_beyond(psi, noise), WARN, ACT),
                (_beyond(ks, ks_noise), _KS_WARN, _KS_ACT),
                (abs(missing), MISSING, math.inf),
                (fresh or 0.0, NEW, math.inf),
                (float(changed), 1.0, 1.0),
            ]
        ),
        basis=bins.basis,
        psi=psi,
        noise=noise,
        ks=ks,
        ks_noise=ks_noise,
        effect=effect,
        missing=missing,
        new=fresh,
        kind_changed=changed,
    )


def stability_index(old: Floats, new: Floats) -> float:
    """PSI of two lists of shares over the same bins."""
    return float(stability_indices(old, new))


def stability_indices(old: Floats, new: Floats) -> Floats:
    """(…) PSI of (…, bins) shares, each with its own counterpart."""
    p, q = np.maximum(old, _SMALLEST), np.maximum(new, _SMALLEST)
    indices: Floats = ((q - p) * np.log(q / p)).sum(-1)
    return indices


def distance(old: Buckets, new: Buckets) -> float:
    """The Kolmogorov-Smirnov distance at the edges of both sketches' buckets."""
    level = max(old.level, new.level)
    (codes, counts), (others, other_counts) = old.at(level), new.at(level)
    edges = np.union1d(codes, others)
    below = np.concatenate([[0], np.cumsum(counts)])[np.searchsorted(codes, edges, side="right")]
    other = np.concatenate([[0], np.cumsum(other_counts)])[
        np.searchsorted(others, edges, side="right")
    ]
    return float(np.abs(below / old.total - other / new.total).max())


def effect_size(old: Buckets, new: Buckets) -> float:
    """Cohen's d: new mean less old, in pooled standard deviations; 0 where all numbers agree."""
    pooled = math.sqrt((old.deviation() ** 2 + new.deviation() ** 2) / 2)
    apart = new.mean() - old.mean()
    return apart / pooled if pooled else 0.0


@dataclass(frozen=True)
class _Binned:
    basis: Basis
    old: Floats  # cells in each bin
    new: Floats


def _bins(old: ColumnSketch, new: ColumnSketch) -> _Binned:
    if _is_numeric(old) and _is_numeric(new):
        return _number_bins(old.numbers, new.numbers)
    if old.counts_all and new.counts_all:
        values = sorted(old.hitters.keys() | new.hitters.keys())
        return _Binned(
            Basis.CATEGORIES,
            np.array([old.hitters.get(value, 0) for value in values], np.float64),
            np.array([new.hitters.get(value, 0) for value in values], np.float64),
        )
    used = (old.lengths + new.lengths) > 0
    return _Binned(
        Basis.LENGTHS, old.lengths[used].astype(np.float64), new.lengths[used].astype(np.float64)
    )


def _number_bins(old: Buckets, new: Buckets) -> _Binned:
    """Bins between the deciles of the older version, fewer where there are few rows."""
    if not old.total or not new.total:
        return _Binned(Basis.NONE, np.zeros(1), np.zeros(1))
    level = max(old.level, new.level)
    codes, counts = old.at(level)
    wanted = max(2, min(_BINS, min(old.total, new.total) // _BIN_ROWS))
    ranks = np.arange(1, wanted) / wanted * old.total
    places = np.searchsorted(np.cumsum(counts), ranks, side="left")
    edges = np.unique(codes[np.minimum(places, len(codes) - 1)])
    return _Binned(
        Basis.NUMBERS,
        old.shares(edges, level) * old.total,
        new.shares(edges, level) * new.total,
    )


def _new_share(old: ColumnSketch, new: ColumnSketch) -> float:
    total = sum(new.hitters.values())
    fresh = sum(count for value, count in new.hitters.items() if value not in old.hitters)
    return fresh / total if total else 0.0


def _is_numeric(column: ColumnSketch) -> bool:
    total = int(column.kinds.sum())
    return total > 0 and column.numeric() >= _NUMERIC * total


def _missing(column: ColumnSketch) -> float:
    return (column.missing + column.stand_ins) / column.rows if column.rows else 0.0


def _family(kind: str) -> str:
    return CellKind.REAL.value if kind == CellKind.INTEGER else kind


def _beyond(value: float | None, noise: float | None) -> float:
    """The value, or 0 where it is chance."""
    return value if value is not None and value > (noise or 0.0) else 0.0


def _level(found: list[tuple[float, float, float]]) -> Level:
    if any(value >= act for value, _, act in found):
        return Level.ACT
    return Level.WARN if any(value >= warn for value, warn, _ in found) else Level.STABLE


def _chi_square_95(freedom: int) -> float:
    """The 95 % point of χ² (Wilson and Hilferty 1931: within 1 % from three degrees on)."""
    if freedom <= 0:
        return 0.0
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + _NORMAL_95 * math.sqrt(part)) ** 3)
