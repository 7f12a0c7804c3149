"""One request row: checked with pointers, and never quoted."""

import json

import jsonschema
import pytest

from training.errors import PredictionInputError
from training.features import Category, Encoded, FeatureSpec, Hashed, Numeric, Target
from training.requests import check_row, input_schema

SPEC = FeatureSpec(
    (Numeric("age", 17, 90), Category("a/b~c", ("x", "y")), Hashed("note")), Target("t", "1")
)
GOOD: dict[str, object] = {"age": 39, "a/b~c": "x", "note": "hello"}
SECRET = "11010518991231004X"


@pytest.mark.parametrize(
    ("change", "checked"),
    [
        ({}, {"age": "39", "a/b~c": "x", "note": "hello"}),
        ({"age": "39.5"}, {"age": "39.5"}),
        ({"age": 1e9}, {"age": "1000000000.0"}),
        ({"age": None, "a/b~c": None, "note": None}, {"age": None, "a/b~c": None, "note": None}),
        ({"a/b~c": " y "}, {"a/b~c": "y"}),
    ],
)
def test_accepted(change: dict[str, object], checked: dict[str, str | None]) -> None:
    row = {**GOOD, **change}
    assert checked.items() <= check_row(SPEC, row).items()


@pytest.mark.parametrize(
    ("row", "code", "pointer"),
    [
        ([SECRET], "predict.row_invalid", None),
        ({**GOOD, "extra": SECRET}, "predict.feature_unknown", None),
        ({**GOOD, f"<{SECRET}>": 1}, "predict.feature_unknown", None),
        ({**GOOD, SECRET: 1}, "predict.feature_unknown", None),
        ({**GOOD, f"Zhang Wei {SECRET}": 1}, "predict.feature_unknown", None),
        ({"age": 39, "note": SECRET}, "predict.feature_missing", "/a~1b~0c"),
        ({**GOOD, "age": SECRET}, "predict.not_a_number", "/age"),
        ({**GOOD, "age": "nan"}, "predict.not_a_number", "/age"),
        ({**GOOD, "age": float("inf")}, "predict.not_a_number", "/age"),
        ({**GOOD, "age": 10**400}, "predict.not_a_number", "/age"),
        ({**GOOD, "age": 10**5_000}, "predict.not_a_number", "/age"),
        ({**GOOD, "age": True}, "predict.type", "/age"),
        ({**GOOD, "age": [SECRET]}, "predict.type", "/age"),
        ({**GOOD, "a/b~c": SECRET}, "predict.category_unknown", "/a~1b~0c"),
        ({**GOOD, "a/b~c": 7}, "predict.type", "/a~1b~0c"),
        ({**GOOD, "note": SECRET * 100}, "predict.too_long", "/note"),
    ],
)
def test_refused(row: object, code: str, pointer: str | None) -> None:
    with pytest.raises(PredictionInputError) as caught:
        check_row(SPEC, row)
    assert caught.value.stable_code == code
    assert (caught.value.pointer or None) == pointer
    assert SECRET not in json.dumps(caught.value.as_dict())


def test_schema_agrees_with_the_check() -> None:
    schema = input_schema(SPEC)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(GOOD, schema)
    jsonschema.validate(dict.fromkeys(GOOD), schema)
    for bad in ({**GOOD, "extra": 1}, {"age": 1}, {**GOOD, "a/b~c": "z"}, {**GOOD, "age": []}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)


def test_a_text_that_an_encoder_reads_may_be_long() -> None:
    spec = FeatureSpec((Encoded("letter"), Hashed("note")), Target("t", "1"))
    row = {"letter": " " + "x" * 19_998 + " ", "note": None}
    assert check_row(spec, row) == {"letter": "x" * 19_998, "note": None}
    schema = input_schema(spec)
    assert schema["properties"]["letter"]["maxLength"] == 20_000  # type: ignore[index]
    jsonschema.validate(row, schema)
    for wrong in ({**row, "letter": "x" * 20_001}, {"letter": None, "note": "x" * 1_001}):
        with pytest.raises(PredictionInputError) as caught:
            check_row(spec, wrong)
        assert caught.value.stable_code == "predict.too_long"
