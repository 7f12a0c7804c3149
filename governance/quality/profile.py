"""What a sketch tells a person: shares and marks of each column, and of the table.

The amber marks are the monitors of the compliance design: missing from 2 %, validity below 99 %,
duplicates above 0.5 %. They stop nothing; the contract does.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any, Final

from governance.quality.columns import ColumnSketch
from governance.quality.contract import ColumnTerms, Contract
from governance.quality.judging import (
    INVALID,
    Check,
    label_shares,
    main_kind,
    outliers,
    present,
    type_drift,
)
from governance.quality.kinds import KINDS, CellKind
from governance.quality.sketches import TableSketch

MARKS: Final = {
    Check.MISSING: 0.02,
    Check.TYPE: 0.01,
    Check.OUTLIERS: 0.01,
    "invalid": 0.01,
    Check.DUPLICATES: 0.005,
}
RARE_LABEL: Final = 0.05  # a label rarer than this is marked
_QUANTILES: Final = (0.25, 0.5, 0.75)


def summarize(
    sketch: TableSketch,
    contract: Contract,
    failures: Mapping[Any, int],
    *,
    told: Collection[str],
) -> dict[str, Any]:
    """The profile of a version, as JSON.

    Args:
        sketch: of all its rows.
        contract: whose declared labels and bounds it is held against.
        failures: of the cell-by-cell checks.
        told: columns whose numbers may be told: those that the plan keeps as they are.
    """
    labels = label_shares(sketch, contract)
    duplicates = sketch.duplicates()
    return {
        "rows": sketch.rows,
        "duplicates": round(duplicates, 6),
        "target": contract.table.target or "",
        "labels": [{"label": name, "share": round(share, 6)} for name, share in labels.items()],
        "marks": [
            *([Check.DUPLICATES.value] if duplicates > MARKS[Check.DUPLICATES] else []),
            *([Check.LABELS.value] if labels and min(labels.values()) < RARE_LABEL else []),
        ],
        "columns": [
            _column(
                name,
                sketch.column(name),
                contract.columns.get(name, ColumnTerms()),
                failures,
                told=name in told,
            )
            for name in sketch.names
        ],
    }


def _column(
    name: str,
    column: ColumnSketch,
    terms: ColumnTerms,
    failures: Mapping[Any, int],
    *,
    told: bool,
) -> dict[str, Any]:
    there = present(column, terms)
    checked = [failures[name, check] for check in INVALID if (name, check) in failures]
    shares = {
        "missing": 1 - there / column.rows if column.rows else 0.0,
        "type": type_drift(column, terms.type),
        "outliers": outliers(column.numbers),
        "invalid": min(1.0, sum(checked) / max(1, there)) if checked else None,
    }
    return {
        "name": name,
        "kind": main_kind(column),
        "kinds": dict(zip(KINDS, column.kinds.tolist(), strict=True)),
        "distinct": column.distinct(),
        **{key: None if share is None else round(share, 6) for key, share in shares.items()},
        "numbers": _numbers(column) if told else None,
        "marks": [
            key for key, share in shares.items() if share is not None and share >= MARKS[key]
        ],
    }


def _numbers(column: ColumnSketch) -> dict[str, float] | None:
    """Bounds, quartiles, mean and deviation, to as many digits as the sketch knows."""
    numbers = column.numbers
    if not numbers.total:
        return None
    low, middle, high = (numbers.quantile(share) for share in _QUANTILES)
    whole = not column.kinds[KINDS.index(CellKind.REAL)]
    places = {
        "min": numbers.minimum(),
        "lower_quartile": low,
        "median": middle,
        "upper_quartile": high,
        "max": numbers.maximum(),
    }
    told = {
        **{key: _whole(x, numbers.width) if whole else x for key, x in places.items()},
        "mean": numbers.mean(),
        "deviation": numbers.deviation(),
    }
    return {
        "count": numbers.total,
        "off_by": round(numbers.width, 6),
        **{key: float(f"{value:.4g}") for key, value in told.items() if math.isfinite(value)},
    }


def _whole(number: float, width: float) -> float:
    """The whole number that a bucket of whole numbers stands for, where it holds one alone."""
    nearest = round(number)
    return float(nearest) if abs(number - nearest) <= 1.001 * width * abs(number) else number
