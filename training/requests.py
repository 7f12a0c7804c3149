"""What a prediction request must look like: a JSON Schema, and the check of one row against it."""

import math
from collections.abc import Mapping

from training.errors import PredictionInputError
from training.features import LARGEST_CELL, Category, Encoded, Feature, FeatureSpec, Numeric
from training.packaged import LARGEST_TEXT


def input_schema(spec: FeatureSpec) -> dict[str, object]:
    """JSON Schema (2020-12) of one row: names, types, bounds and allowed values."""
    properties: dict[str, object] = {}
    for feature in spec.features:
        if isinstance(feature, Numeric):
            properties[feature.name] = {
                "type": ["number", "string", "null"],
                "description": f"a number, clamped to [{feature.low:g}, {feature.high:g}]",
            }
        elif isinstance(feature, Category):
            properties[feature.name] = {
                "type": ["string", "null"],
                "enum": [*feature.values, None],
            }
        else:
            properties[feature.name] = {"type": ["string", "null"], "maxLength": _longest(feature)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": list(spec.names),
        "additionalProperties": False,
    }


def check_row(spec: FeatureSpec, row: object) -> dict[str, str | None]:
    """One request row as text cells in the specification's order.

    Raises:
        PredictionInputError: `predict.row_invalid`, `predict.feature_missing`,
            `predict.feature_unknown`, `predict.type`, `predict.not_a_number`,
            `predict.category_unknown`, `predict.too_long`, with a pointer to one of the model's own
            features where there is one to name. Nothing that was sent is in the error.
    """
    if not isinstance(row, Mapping):
        raise PredictionInputError("a row must be an object", code="predict.row_invalid")
    known = set(spec.names)
    for name in row:
        if name not in known:
            # By no pointer: an unknown name is the caller's own text, and may be a person's.
            raise PredictionInputError(
                "the row names a feature that the model does not have",
                code="predict.feature_unknown",
            )
    checked: dict[str, str | None] = {}
    for feature in spec.features:
        if feature.name not in row:
            raise PredictionInputError(
                "a feature is missing; send null for an unknown value",
                code="predict.feature_missing",
                pointer=_pointer(feature),
            )
        value = row[feature.name]
        if value is None:
            checked[feature.name] = None
        elif isinstance(feature, Numeric):
            checked[feature.name] = _number(value, feature)
        else:
            checked[feature.name] = _text(value, feature)
            if isinstance(feature, Category) and checked[feature.name] not in feature.values:
                raise PredictionInputError(
                    "not one of the values that the schema lists; send null for an unknown value",
                    code="predict.category_unknown",
                    pointer=_pointer(feature),
                )
    return checked


def _number(value: object, feature: Feature) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise PredictionInputError(
            "must be a number", code="predict.type", pointer=_pointer(feature)
        )
    try:
        text = str(value)
        finite = len(text) <= LARGEST_CELL and math.isfinite(float(text))
    except (ValueError, OverflowError):
        finite = False
    if not finite:
        raise PredictionInputError(
            "must be a finite number", code="predict.not_a_number", pointer=_pointer(feature)
        )
    return text.strip()


def _longest(feature: Feature) -> int:
    """Characters that a text may have."""
    return LARGEST_TEXT if isinstance(feature, Encoded) else LARGEST_CELL


def _text(value: object, feature: Feature) -> str:
    if not isinstance(value, str):
        raise PredictionInputError("must be a text", code="predict.type", pointer=_pointer(feature))
    if len(value) > _longest(feature):
        raise PredictionInputError(
            f"must be at most {_longest(feature)} characters",
            code="predict.too_long",
            pointer=_pointer(feature),
        )
    return value.strip()


def _pointer(feature: Feature) -> str:
    """RFC 6901 §3."""
    return "/" + feature.name.replace("~", "~0").replace("/", "~1")
