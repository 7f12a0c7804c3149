"""Declarations decide features; what they leave open is named, never guessed from rows."""

from typing import Any

import pytest

from training.declarations import read_declarations
from training.errors import FeatureError
from training.features import Category, Encoded, Hashed, Numeric, Provenance, Scale, Target

COLUMNS = ["id", "age", "gain", "work", "sex", "hours", "note", "income"]
DECLARED: dict[str, Any] = {
    "columns": {
        "id": {"kind": "ignore"},
        "age": {"kind": "numeric", "low": 17, "high": 90},
        "gain": {"kind": "numeric", "low": "0", "high": "99999"},
        "work": {"kind": "category", "values": ["Private", "State-gov"]},
        "sex": {"kind": "category", "values": ["Female", "Male"], "use": "group"},
        "hours": {"kind": "numeric"},
    },
    "target": {"column": "income", "positive": ">50K", "negative": "<=50K"},
    "groups": ["work"],
    "source": "adult.names",
}


def changed(**columns: Any) -> dict[str, Any]:
    return {**DECLARED, "columns": {**DECLARED["columns"], **columns}}


def test_reads_what_is_declared() -> None:
    declared = read_declarations(DECLARED, COLUMNS)
    spec = declared.complete({"hours": (0.0, 128.0)})
    assert spec.features == (
        Numeric("age", 17, 90),
        Numeric("gain", 0, 99_999, Scale.LOG),
        Category("work", ("Private", "State-gov")),
        Numeric("hours", 0, 128, Scale.LINEAR, Provenance.PAID),
        Hashed("note"),
    )
    assert spec.target == Target("income", ">50K", "<=50K")
    assert declared.unbounded == ("hours",)
    assert declared.groups == {"work": ("Private", "State-gov"), "sex": ("Female", "Male")}
    assert declared.source == "adult.names"


def test_an_encoder_reads_what_was_declared_for_it() -> None:
    encoded = changed(note={"kind": "encoded", "encoder": "minilm-l6"})
    features = read_declarations(encoded, COLUMNS).features
    assert [f for f in features if f.name == "note"] == [Encoded("note", "minilm-l6")]


def test_open_bounds_must_be_closed() -> None:
    with pytest.raises(FeatureError) as caught:
        read_declarations(DECLARED, COLUMNS).complete({})
    assert caught.value.stable_code == "feature.bounds_missing"
    assert caught.value.pointer == "/columns/hours"


def test_nothing_declared_is_hashed() -> None:
    declared = read_declarations({}, ["a", "b", "y"], target="y", positive="1")
    assert declared.complete({}).features == (Hashed("a"), Hashed("b"))
    assert declared.target == Target("y", "1")


@pytest.mark.parametrize(
    ("target", "labels", "given", "expected"),
    [
        ({"column": "income", "positive": "a", "negative": "b"}, None, None, ("a", "b")),
        ({"column": "income", "positive": "a", "negative": "b"}, None, "b", ("b", "a")),
        ({"column": "income"}, ["a", "b"], "b", ("b", "a")),
        ({"column": "income"}, ["a", "b", "c"], "b", ("b", None)),
        ({"column": "income"}, None, "b", ("b", None)),
    ],
)
def test_labels(
    target: dict[str, str],
    labels: list[str] | None,
    given: str | None,
    expected: tuple[str, str | None],
) -> None:
    columns = {"income": {"kind": "category", "values": labels}} if labels else {}
    found = read_declarations(
        {"columns": columns, "target": target}, ["x", "income"], positive=given
    ).target
    assert (found.positive, found.negative) == expected


@pytest.mark.parametrize(
    ("declaration", "arguments", "code", "pointer"),
    [
        ({**DECLARED, "target": {"column": "income"}}, {}, "feature.target_labels", None),
        (
            {**DECLARED, "target": {"column": "income"}},
            {"positive": ""},
            "feature.target_labels",
            None,
        ),
        (
            changed(income={"kind": "category", "values": ["a", "b"]}),
            {},
            "feature.target_labels",
            None,
        ),
        ({**DECLARED, "target": {}}, {}, "feature.declaration_invalid", "/target/column"),
        ({**DECLARED, "target": "income"}, {}, "feature.declaration_invalid", "/target"),
        (DECLARED, {"target": "gone", "positive": "1"}, "feature.column_missing", "/target/column"),
        (changed(gone={"kind": "text"}), {}, "feature.column_missing", "/columns/gone"),
        ({**DECLARED, "columns": []}, {}, "feature.declaration_invalid", "/columns"),
        (
            changed(age={"kind": "numeric", "low": 1}),
            {},
            "feature.declaration_invalid",
            "/columns/age",
        ),
        (
            changed(age={"kind": "numeric", "low": 9, "high": 1}),
            {},
            "feature.declaration_invalid",
            "/columns/age",
        ),
        (
            changed(age={"kind": "numeric", "low": "x", "high": 1}),
            {},
            "feature.declaration_invalid",
            "/columns/age/low",
        ),
        (
            changed(age={"kind": "numeric", "low": 0, "high": 1, "scale": "sqrt"}),
            {},
            "feature.declaration_invalid",
            "/columns/age/scale",
        ),
        (changed(age={"kind": "date"}), {}, "feature.declaration_invalid", "/columns/age/kind"),
        (
            changed(work={"kind": "category"}),
            {},
            "feature.declaration_invalid",
            "/columns/work/values",
        ),
        (
            changed(work={"kind": "category", "values": [1]}),
            {},
            "feature.declaration_invalid",
            "/columns/work/values",
        ),
        (
            changed(note={"kind": "text", "buckets": "many"}),
            {},
            "feature.declaration_invalid",
            "/columns/note/buckets",
        ),
        (
            changed(note={"kind": "encoded"}),
            {},
            "feature.declaration_invalid",
            "/columns/note/encoder",
        ),
        (
            changed(note={"kind": "encoded", "encoder": ["minilm-l6"]}),
            {},
            "feature.declaration_invalid",
            "/columns/note/encoder",
        ),
        (
            changed(note={"kind": "encoded", "encoder": "minilm-l6", "use": "group"}),
            {},
            "feature.declaration_invalid",
            "/groups",
        ),
        ({**DECLARED, "groups": ["age"]}, {}, "feature.declaration_invalid", "/groups"),
    ],
)
def test_refused(
    declaration: dict[str, Any], arguments: dict[str, str], code: str, pointer: str | None
) -> None:
    with pytest.raises(FeatureError) as caught:
        read_declarations(declaration, COLUMNS, **arguments).complete({"hours": (0, 1)})
    assert caught.value.stable_code == code
    assert pointer is None or caught.value.pointer == pointer
