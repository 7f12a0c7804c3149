"""From a steward's declarations to a feature specification, naming what still has to be paid for.

A declaration is public knowledge about a table, written down by a person or carried by the data
set's
documentation, never read off the rows:

    {"columns": {"age": {"kind": "numeric", "low": 17, "high": 90},
                 "workclass": {"kind": "category", "values": ["Private", …]},
                 "sex": {"kind": "category", "values": ["Female", "Male"], "use": "group"},
                 "hours": {"kind": "numeric"},             bounds unknown: paid for out of ε
                 "note": {"kind": "text", "buckets": 64},  hashed
                 "p0_0": {"kind": "pixel", "low": 0, "high": 255},       of an image, in order
                 "letter": {"kind": "encoded", "encoder": "minilm-l6"},  read by a frozen encoder
                 "id": {"kind": "ignore"}},
     "target": {"column": "income", "positive": ">50K", "negative": "<=50K"},
     "groups": ["race"],
     "source": "adult.names, UCI"}

A column of the table that is not declared is hashed text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from training.errors import FeatureError
from training.features import (
    LARGEST_CELL,
    Binned,
    Category,
    Encoded,
    Feature,
    FeatureSpec,
    Hashed,
    Numeric,
    Pixel,
    Provenance,
    Scale,
    Target,
)

_WIDE: Final = 1_000.0  # bounds three decades apart: a linear scale would flatten most values
_LARGEST_LIST: Final = 10_000


@dataclass(frozen=True)
class Declared:
    """What declarations settle, and what they leave open.

    Attributes:
        features: every feature; one whose bounds must be paid for carries placeholder bounds.
        unbounded: names of numeric features without declared bounds.
        target: what is predicted.
        groups: category columns by which results are compared, with their public values.
        source: who says so, for the card.
    """

    features: tuple[Feature, ...]
    unbounded: tuple[str, ...]
    target: Target
    groups: Mapping[str, tuple[str, ...]]
    source: str

    def binned(self) -> "Declared":
        """The same, every number as one of even stretches between its bounds."""
        binned = tuple(
            Binned(one.name, one.low, one.high, one.scale, one.provenance)
            if isinstance(one, Numeric)
            else one
            for one in self.features
        )
        return replace(self, features=binned)

    def complete(self, bounds: Mapping[str, tuple[float, float]]) -> FeatureSpec:
        """The specification, with paid bounds in place of the open ones.

        Raises:
            FeatureError: `feature.bounds_missing`, bounds for an open column were not given.
        """
        done: list[Feature] = []
        for feature in self.features:
            if feature.name in self.unbounded and isinstance(feature, Numeric):
                if feature.name not in bounds:
                    raise FeatureError(
                        "a numeric column has neither declared nor paid bounds",
                        code="feature.bounds_missing",
                        pointer=f"/columns/{feature.name}",
                    )
                low, high = bounds[feature.name]
                done.append(
                    replace(
                        feature,
                        low=low,
                        high=high,
                        scale=_scale(low, high),
                        provenance=Provenance.PAID,
                    )
                )
            else:
                done.append(feature)
        return FeatureSpec(tuple(done), self.target)


def read_declarations(
    declaration: Mapping[str, Any],
    available: Sequence[str],
    *,
    target: str | None = None,
    positive: str | None = None,
) -> Declared:
    """Read a declaration for a table that has the `available` columns, in their order.

    Args:
        declaration: as in the module's docstring; an empty one hashes every column.
        available: column names of the table that may be used (leave out subject columns).
        target: overrides the declared target column.
        positive: overrides the declared positive label.

    Raises:
        FeatureError: `feature.declaration_invalid`, `feature.column_missing`,
        `feature.target_labels`,
            with a pointer into the declaration.
    """
    columns = declaration.get("columns", {})
    if not isinstance(columns, Mapping):
        raise FeatureError("columns must be an object", pointer="/columns")
    for name in columns:
        if name not in available:
            raise FeatureError(
                "a declared column is not in the table",
                code="feature.column_missing",
                pointer=f"/columns/{name}",
            )
    goal = _target(declaration, columns, target, positive)
    if goal.column not in available:
        raise FeatureError(
            "the target column is not in the table",
            code="feature.column_missing",
            pointer="/target/column",
        )
    features: list[Feature] = []
    unbounded: list[str] = []
    for name in available:
        declared = columns.get(name, {"kind": "text"})
        if name == goal.column or declared.get("kind") == "ignore":
            continue
        feature = _feature(name, declared)
        if declared.get("use", "feature") == "feature":
            features.append(feature)
            if declared["kind"] in {"numeric", "pixel"} and "low" not in declared:
                unbounded.append(name)
    return Declared(
        features=tuple(features),
        unbounded=tuple(unbounded),
        target=goal,
        groups=_groups(declaration, columns),
        source=str(declaration.get("source", "")),
    )


def _feature(name: str, declared: Mapping[str, Any]) -> Feature:
    where = f"/columns/{name}"
    match declared.get("kind"):
        case "numeric" | "pixel":
            if ("low" in declared) != ("high" in declared):
                raise FeatureError("declare both bounds or neither", pointer=where)
            low = _finite(declared.get("low", 0), f"{where}/low")
            high = _finite(declared.get("high", 1), f"{where}/high")
            try:
                scale = Scale(declared["scale"]) if "scale" in declared else _scale(low, high)
            except ValueError:
                raise FeatureError("a scale is linear or log", pointer=f"{where}/scale") from None
            if declared["kind"] == "pixel":
                return Pixel(name, low, high, Scale.LINEAR)
            return Numeric(name, low, high, scale)
        case "category":
            return Category(name, _values(declared, where))
        case "text" | "hashed":
            buckets = declared.get("buckets", 32)
            if isinstance(buckets, bool) or not isinstance(buckets, int):
                raise FeatureError("buckets must be an integer", pointer=f"{where}/buckets")
            return Hashed(name, buckets)
        case "encoded":
            return Encoded(name, str(declared.get("encoder", "")))
        case _:
            raise FeatureError(
                "a column is numeric, pixel, category, text, encoded or ignore",
                pointer=f"{where}/kind",
            )


def _scale(low: float, high: float) -> Scale:
    return Scale.LOG if high - low >= _WIDE else Scale.LINEAR


def _finite(value: object, pointer: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise FeatureError("a bound must be a number", pointer=pointer)
    try:
        return float(value)  # Numeric refuses NaN and infinity
    except ValueError:
        raise FeatureError("a bound must be a number", pointer=pointer) from None


def _values(declared: Mapping[str, Any], where: str) -> tuple[str, ...]:
    values = declared.get("values")
    if not isinstance(values, list | tuple) or not 0 < len(values) <= _LARGEST_LIST:
        raise FeatureError(
            f"a category lists 1 to {_LARGEST_LIST} values", pointer=f"{where}/values"
        )
    if any(not isinstance(value, str) or len(value) > LARGEST_CELL for value in values):
        raise FeatureError(
            f"a category's values are texts of at most {LARGEST_CELL} characters",
            pointer=f"{where}/values",
        )
    return tuple(value.strip() for value in values)


def _target(
    declaration: Mapping[str, Any],
    columns: Mapping[str, Any],
    target: str | None,
    positive: str | None,
) -> Target:
    declared = declaration.get("target", {})
    if not isinstance(declared, Mapping):
        raise FeatureError("the target must be an object", pointer="/target")
    column = target or declared.get("column")
    if not isinstance(column, str) or not column:
        raise FeatureError("no target column is named", pointer="/target/column")
    same = declared.get("column") == column
    label = positive or (declared.get("positive") if same else None)
    listed = columns.get(column, {}).get("values", ())
    if not isinstance(label, str) or not label or (listed and label not in listed):
        raise FeatureError(
            "which label is positive must be declared or given (--positive): it is not read from "
            "the rows",
            code="feature.target_labels",
            pointer="/target/positive",
        )
    negative = declared.get("negative") if same else None
    if positive and negative == positive:
        negative = declared.get("positive")
    others = [value for value in listed if value != label]
    if negative is None and len(others) == 1:
        negative = others[0]
    return Target(column, label, None if negative is None else str(negative))


def _groups(
    declaration: Mapping[str, Any], columns: Mapping[str, Any]
) -> dict[str, tuple[str, ...]]:
    named = [*declaration.get("groups", ())]
    named += [name for name, declared in columns.items() if declared.get("use") == "group"]
    groups: dict[str, tuple[str, ...]] = {}
    for name in named:
        declared = columns.get(name, {})
        if declared.get("kind") != "category":
            raise FeatureError(
                "a group column must be declared as a category with its values", pointer="/groups"
            )
        groups[name] = _values(declared, f"/columns/{name}")
    return groups
