"""The contract of a dataset: what its versions must be before anything trains on them.

    {"columns": {"age": {"type": "number", "min": 17, "max": 90, "max_missing": 0.05},
                 "sex": {"categories": ["Female", "Male"], "max_invalid": 0},
                 "case": {"pattern": "[A-Z]{2}[0-9]{6}", "unique": true}},
     "table": {"min_rows": 1000, "max_duplicates": 0.005, "target": "income",
               "min_label_share": 0.05}}

Shares are parts of one. A column's `max_invalid` is the share of its values that may lie outside
`min`, `max`, `categories` or `pattern`; `max_type_drift` the share that may be of another type than
`type`. Where the steward set no contract, `derived` makes one of the public declarations, whose
limits are meant to stop a broken table and let a normal one through.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from audit.canonical import digest
from governance.errors import InvalidError

# Of a derived contract. A table that passes may still show the amber marks of `profile`.
MOST_MISSING: Final = 0.5  # of a declared column
MOST_TARGET_MISSING: Final = 0.05  # of labels
MOST_INVALID: Final = 0.05  # of values outside declared bounds or categories
MOST_TYPE_DRIFT: Final = 0.05  # of cells that are no numbers in a declared numeric column
MOST_DUPLICATES: Final = 0.5  # a narrow table of categories repeats itself and is none the worse
LEAST_LABEL: Final = 0.001  # of the rarer label: fraud is rare, and none at all is a mistake

_LARGEST_LIST: Final = 10_000
_LONGEST: Final = 1_000  # characters of a category or a pattern


class ColumnType(StrEnum):
    """What a column's cells may be said to be."""

    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    TEXT = "text"


@dataclass(frozen=True)
class ColumnTerms:
    """What one column must be; what is None is not looked at."""

    type: str | None = None
    max_type_drift: float | None = None
    max_missing: float | None = None
    min: float | None = None
    max: float | None = None
    categories: tuple[str, ...] | None = None
    pattern: str | None = None
    max_invalid: float = 0.0
    unique: bool = False
    max_outliers: float | None = None

    @property
    def numeric(self) -> bool:
        """Whether its cells are read as numbers."""
        return (
            self.min is not None
            or self.max is not None
            or self.type in {ColumnType.INTEGER, ColumnType.NUMBER}
        )


@dataclass(frozen=True)
class TableTerms:
    """What the table must be."""

    min_rows: int = 1
    max_duplicates: float | None = None
    target: str | None = None
    min_label_share: float | None = None


@dataclass(frozen=True)
class Contract:
    """All terms; a column that is not named is free."""

    columns: Mapping[str, ColumnTerms] = field(default_factory=dict)
    table: TableTerms = field(default_factory=TableTerms)

    def as_dict(self) -> dict[str, Any]:
        """The contract as JSON, without what is not asked."""
        plain = ColumnTerms()
        return {
            "columns": {
                name: {
                    key: list(value) if isinstance(value, tuple) else value
                    for key, value in asdict(terms).items()
                    if value != getattr(plain, key)
                }
                for name, terms in self.columns.items()
            },
            "table": {key: value for key, value in asdict(self.table).items() if value is not None},
        }

    def digest(self) -> str:
        """SHA-256 of the contract's canonical JSON, in which numbers are written as texts."""
        return digest(_canonical(self.as_dict()))


def read_contract(told: object, columns: Collection[str]) -> Contract:
    """Read a contract for a table that has `columns`.

    Raises:
        InvalidError: `quality.contract_invalid`, with a pointer to the field;
            `quality.contract_column`: it names a column that the table does not have.
    """
    whole = _object(told, "")
    _known(whole, {"columns", "table"}, "")
    named = _object(whole.get("columns", {}), "/columns")
    for name in named:
        if name not in columns:
            raise InvalidError(
                "the contract names a column that the table does not have",
                code="quality.contract_column",
                pointer=f"/columns/{name}",
            )
    table = _table(_object(whole.get("table", {}), "/table"))
    if table.target is not None and table.target not in columns:
        raise InvalidError(
            "the contract names a column that the table does not have",
            code="quality.contract_column",
            pointer="/table/target",
        )
    return Contract(
        {name: _column(_object(terms, f"/columns/{name}"), name) for name, terms in named.items()},
        table,
    )


def derived(declarations: Mapping[str, Any], columns: Collection[str]) -> Contract:
    """The contract that public declarations imply; what they say amiss implies nothing.

    Args:
        declarations: as training reads them: `columns`, `target`.
        columns: the columns of the version.
    """
    declared = declarations.get("columns")
    declared = declared if isinstance(declared, Mapping) else {}
    terms = {
        name: _implied(said)
        for name, said in declared.items()
        if name in columns and isinstance(said, Mapping)
    }
    goal = declarations.get("target")
    goal = goal if isinstance(goal, Mapping) else {}
    target = goal.get("column")
    if not isinstance(target, str) or target not in columns:
        return Contract(terms, TableTerms(max_duplicates=MOST_DUPLICATES))
    labels = tuple(
        label for label in (goal.get("positive"), goal.get("negative")) if isinstance(label, str)
    )
    terms[target] = ColumnTerms(
        max_missing=MOST_TARGET_MISSING,
        categories=labels if len(labels) == 2 else None,  # noqa: PLR2004 - both labels are named
        max_invalid=MOST_INVALID,
    )
    return Contract(
        terms,
        TableTerms(max_duplicates=MOST_DUPLICATES, target=target, min_label_share=LEAST_LABEL),
    )


def _implied(said: Mapping[str, Any]) -> ColumnTerms:
    match said.get("kind"):
        case "numeric":
            return ColumnTerms(
                type=ColumnType.NUMBER.value,
                max_type_drift=MOST_TYPE_DRIFT,
                max_missing=MOST_MISSING,
                min=_bound(said.get("low")),
                max=_bound(said.get("high")),
                max_invalid=MOST_INVALID,
            )
        case "category":
            listed = said.get("values")
            values = (
                tuple(
                    value.strip() for value in listed if isinstance(value, str) and _storable(value)
                )
                if isinstance(listed, list | tuple)
                else ()
            )
            return ColumnTerms(
                max_missing=MOST_MISSING, categories=values or None, max_invalid=MOST_INVALID
            )
        case _:
            return ColumnTerms()


def _bound(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


# Reading fields


def _object(told: object, pointer: str) -> Mapping[str, Any]:
    if not isinstance(told, Mapping):
        raise _invalid("an object is expected here", pointer)
    return told


def _known(told: Mapping[str, Any], names: Collection[str], pointer: str) -> None:
    for name in told:
        if name not in names:
            raise _invalid("there is no such term", f"{pointer}/{name}")


def _column(told: Mapping[str, Any], name: str) -> ColumnTerms:
    where = f"/columns/{name}"
    _known(told, ColumnTerms.__dataclass_fields__, where)
    terms = ColumnTerms(
        type=_type(told.get("type"), f"{where}/type"),
        max_type_drift=_share(told.get("max_type_drift"), f"{where}/max_type_drift"),
        max_missing=_share(told.get("max_missing"), f"{where}/max_missing"),
        min=_number(told.get("min"), f"{where}/min"),
        max=_number(told.get("max"), f"{where}/max"),
        categories=_categories(told.get("categories"), f"{where}/categories"),
        pattern=_pattern(told.get("pattern"), f"{where}/pattern"),
        max_invalid=_share(told.get("max_invalid"), f"{where}/max_invalid") or 0.0,
        unique=_flag(told.get("unique", False), f"{where}/unique"),
        max_outliers=_share(told.get("max_outliers"), f"{where}/max_outliers"),
    )
    if terms.min is not None and terms.max is not None and terms.min > terms.max:
        raise _invalid("min is above max", f"{where}/min")
    if terms.numeric and (terms.categories is not None or terms.pattern is not None):
        raise _invalid("a numeric column has bounds, not categories or a pattern", where)
    return terms


def _table(told: Mapping[str, Any]) -> TableTerms:
    _known(told, TableTerms.__dataclass_fields__, "/table")
    rows = told.get("min_rows", 1)
    if isinstance(rows, bool) or not isinstance(rows, int) or not 0 <= rows <= 10**12:
        raise _invalid("a whole number of rows is expected here", "/table/min_rows")
    target = told.get("target")
    if target is not None and not isinstance(target, str):
        raise _invalid("a column's name is expected here", "/table/target")
    least = _share(told.get("min_label_share"), "/table/min_label_share")
    if least is not None and target is None:
        raise _invalid("a label share needs a target", "/table/min_label_share")
    return TableTerms(
        min_rows=rows,
        max_duplicates=_share(told.get("max_duplicates"), "/table/max_duplicates"),
        target=target,
        min_label_share=least,
    )


def whole(pattern: str) -> str:
    """The pattern of a whole cell. Matching takes linear time: the engine is Rust's `regex`."""
    return f"^(?:{pattern})$"


def _type(value: object, pointer: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in set(ColumnType):
        raise _invalid("a type is integer, number, date, boolean or text", pointer)
    return value


def _number(value: object, pointer: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:  # noqa: PLR2004 - larger ones are mistakes
        raise _invalid("a number is expected here", pointer)
    if not math.isfinite(value):
        raise _invalid("a number is expected here", pointer)
    return float(value)


def _share(value: object, pointer: str) -> float | None:
    number = _number(value, pointer)
    if number is not None and not 0 <= number <= 1:
        raise _invalid("a share lies between 0 and 1", pointer)
    return number


def _flag(value: object, pointer: str) -> bool:
    if not isinstance(value, bool):
        raise _invalid("true or false is expected here", pointer)
    return value


def _categories(value: object, pointer: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not 0 < len(value) <= _LARGEST_LIST:
        raise _invalid(f"1 to {_LARGEST_LIST} categories are expected here", pointer)
    for category in value:
        if not isinstance(category, str) or len(category) > _LONGEST or not _storable(category):
            raise _invalid(f"a category is a text of at most {_LONGEST} characters", pointer)
    return tuple(dict.fromkeys(category.strip() for category in value))


def _pattern(value: object, pointer: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or not _storable(value):
        raise _invalid(f"a pattern is a text of at most {_LONGEST} characters", pointer)
    import polars as pl  # noqa: PLC0415 - only who writes contracts pays for it

    try:
        for form in (value, whole(value)):  # `a)|(b` reads only inside brackets
            pl.Series([""]).str.contains(form)
    except pl.exceptions.ComputeError:
        raise _invalid("this pattern cannot be read", pointer) from None
    return value


def _storable(text: str) -> bool:
    """Whether it is text that every database takes: no NUL, no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def _invalid(detail: str, pointer: str) -> InvalidError:
    return InvalidError(detail, code="quality.contract_invalid", pointer=pointer)


def _canonical(value: Any) -> Any:
    """Numbers as texts: canonical JSON has no floats."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    return [_canonical(item) for item in value] if isinstance(value, list) else value
