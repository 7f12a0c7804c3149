"""Cells to numbers: every odd cell has a place, and nothing is fitted."""

import dataclasses
import json
import math

import numpy as np
import polars as pl
import pytest

from audit.canonical import canonical
from training.errors import FeatureError
from training.features import (
    KNOTS,
    Category,
    FeatureSpec,
    Hashed,
    Numeric,
    Provenance,
    Scale,
    Target,
)

AGE = Numeric("age", 17, 90)
GAIN = Numeric("gain", 0, 99_999, Scale.LOG)
WORK = Category("work", ("Private", "Self-emp", "国企"))
NOTE = Hashed("note", 16)
SPEC = FeatureSpec((AGE, GAIN, WORK, NOTE), Target("income", ">50K", "<=50K"))
TABLE: dict[str, list[str | None]] = {
    "age": ["17", "90", "53.5", None],
    "gain": ["0", "99999", "1e3", "?"],
    "work": ["Private", " 国企 ", "Never-seen", None],
    "note": ["a", "b", "a", ""],
    "income": [">50K", "<=50K", " >50K ", "maybe"],
}


@pytest.mark.parametrize(
    ("cell", "scaled"),
    [
        ("17", -1.0),
        ("90", 1.0),
        ("53.5", 0.0),
        ("-5", -1.0),
        ("1e9", 1.0),
        (" 17 ", -1.0),
    ],
)
def test_numeric_value(cell: str, scaled: float) -> None:
    row = AGE.encode([cell])[0]
    assert row[0] == pytest.approx(scaled, abs=1e-6)
    assert row[1:-1].sum() == pytest.approx(1)
    assert row[-1] == 0


@pytest.mark.parametrize("cell", [None, "", " ", "?", "NA", "n/a", "NaN", "inf", "-inf", "abc"])
def test_numeric_cell_without_a_number(cell: str | None) -> None:
    row = AGE.encode([cell])[0]
    assert row.tolist() == [0.0] * (KNOTS + 1) + [1.0]


def test_knots_are_hats() -> None:
    rows = Numeric("x", 0, KNOTS - 1).encode(["0", "1", "1.25"])
    assert rows[0, 1] == rows[1, 2] == 1
    assert rows[2, 2:4].tolist() == [0.75, 0.25]


def test_log_scale_spreads_decades() -> None:
    values = GAIN.encode(["0", "9", "99", "999", "9999", "99999"])[:, 0]
    np.testing.assert_allclose(np.diff(values), 0.4, atol=0.01)
    both = Numeric("x", -1_000, 1_000, Scale.LOG).encode(["-1000", "0", "1000"])[:, 0]
    np.testing.assert_allclose(both, [-1, 0, 1], atol=1e-6)


@pytest.mark.parametrize("feature", [AGE, GAIN, Numeric("x", -1_000, 1_000, Scale.LOG)])
def test_value_at_walks_the_bounds(feature: Numeric) -> None:
    shares = np.linspace(0, 1, 11)
    encoded = feature.encode([feature.value_at(float(share)) for share in shares])
    np.testing.assert_allclose(encoded[:, 0], 2 * shares - 1, atol=1e-3)


def test_category_and_its_unknown_bucket() -> None:
    assert WORK.encode(TABLE["work"]).tolist() == [
        [1, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 1],
    ]


def test_hash_depends_on_value_and_column_only() -> None:
    first = NOTE.encode(["a", "b", None, "?"])
    assert first.sum(axis=1).tolist() == [1, 1, 0, 0]
    assert (first[0] == NOTE.encode(["z", "a"])[1]).all()
    values = [str(value) for value in range(200)]
    assert (Hashed("other", 16).encode(values) != NOTE.encode(values)).any()
    # Fixed for ever: models trained before must read the same buckets.
    assert NOTE.encode(["Portcullis"])[0].argmax() == 12


def test_table_of_lists_and_polars_frame_agree() -> None:
    encoded = SPEC.encode(TABLE)
    assert encoded.shape == (4, SPEC.width) == (4, 2 * (KNOTS + 2) + 4 + 16)
    assert encoded.dtype == np.float32
    assert np.isfinite(encoded).all()
    assert (SPEC.encode(pl.DataFrame(TABLE)) == encoded).all()
    assert (SPEC.encode(TABLE, chunk=3) == encoded).all()


def test_encoding_a_row_does_not_depend_on_the_others() -> None:
    whole = SPEC.encode(TABLE)
    for row in range(4):
        alone = {name: [cells[row]] for name, cells in TABLE.items()}
        assert (SPEC.encode(alone)[0] == whole[row]).all()


def test_target() -> None:
    labels = SPEC.encode_target(TABLE)
    assert labels[:3].tolist() == [1, 0, 1]
    assert math.isnan(labels[3])
    against_all = Target("income", ">50K").encode([">50K", "maybe", None, "?"])
    assert against_all[:2].tolist() == [1, 0]
    assert np.isnan(against_all[2:]).all()


def test_numbers_in_a_frame_are_read_as_text() -> None:
    frame = pl.DataFrame({**TABLE, "age": [17, 90, 53, None]})
    np.testing.assert_allclose(SPEC.encode(frame)[:2, 0], [-1, 1], atol=1e-6)


def test_round_trip() -> None:
    paid = dataclasses.replace(AGE, provenance=Provenance.PAID, low=1 / 3)
    spec = FeatureSpec((paid, GAIN, WORK, NOTE), Target("income", ">50K"))
    assert FeatureSpec.from_dict(json.loads(canonical(spec.as_dict()))) == spec
    assert spec.digest() != SPEC.digest()


@pytest.mark.parametrize("missing", ["age", "note"])
def test_missing_column(missing: str) -> None:
    table = {name: cells for name, cells in TABLE.items() if name != missing}
    for source in (table, pl.DataFrame(table)):
        with pytest.raises(FeatureError) as caught:
            SPEC.encode(source)
        assert caught.value.stable_code == "feature.column_missing"
        assert caught.value.pointer == f"/columns/{missing}"


def test_ragged_columns() -> None:
    with pytest.raises(FeatureError) as caught:
        SPEC.encode({**TABLE, "age": ["17"]})
    assert caught.value.stable_code == "feature.ragged"


@pytest.mark.parametrize(
    "build",
    [
        lambda: Numeric("x", 1, 1),
        lambda: Numeric("x", 2, 1),
        lambda: Numeric("x", math.nan, 1),
        lambda: Numeric("x", 0, math.inf),
        lambda: Category("x", ()),
        lambda: Category("x", ("a", "a")),
        lambda: Hashed("x", 1),
        lambda: Hashed("x", 10**9),
        lambda: Target("x", ""),
        lambda: Target("x", "a", "a"),
        lambda: FeatureSpec((), Target("y", "1")),
        lambda: FeatureSpec((AGE, AGE), Target("y", "1")),
        lambda: FeatureSpec((AGE,), Target("age", "1")),
        lambda: FeatureSpec((Hashed("a", 60_000), Hashed("b", 60_000)), Target("y", "1")),
        lambda: FeatureSpec.from_dict({}),
        lambda: FeatureSpec.from_dict({**SPEC.as_dict(), "features": [{"kind": "image"}]}),
    ],
)
def test_refused(build: object) -> None:
    assert callable(build)
    with pytest.raises(FeatureError):
        build()
