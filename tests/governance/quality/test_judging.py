"""Rows held against a contract: by the sketch where it knows, by the rows where it must."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from governance.quality import checking
from governance.quality.buckets import Buckets
from governance.quality.checking import count_failures, sketched
from governance.quality.contract import Contract, read_contract
from governance.quality.judging import answered, judge, label_shares, outliers, unanswered
from governance.quality.profile import summarize
from governance.quality.sketches import TableSketch

KEY = b"k" * 32
Table = dict[str, Sequence[str | None]]


def judged(table: Table, told: dict[str, Any], *, scan: bool) -> set[tuple[str, str, float]]:
    contract = read_contract(told, {*table, "gone"})
    frame = pl.DataFrame(table, schema=dict.fromkeys(table, pl.String))
    frames = [frame[:7], frame[7:]]
    sketch = sketched(frames, list(table), KEY)
    if scan:
        found = count_failures(lambda: frames, contract, key=KEY, rows=frame.height)
    else:
        assert not unanswered(sketch, contract)
        found = answered(sketch, contract)
    return {(b.column, b.check.value, round(b.share, 4)) for b in judge(sketch, contract, found)}


TEN = [str(n) for n in range(10)]
BY_SKETCH: list[tuple[Table, dict[str, Any], set[tuple[str, str, float]]]] = [
    ({"a": TEN}, {"columns": {"a": {"type": "number", "min": 0, "max": 9}}}, set()),
    (
        {"a": ["", None, "?", *TEN[:7]]},
        {"columns": {"a": {"max_missing": 0.2}}},
        {("a", "missing", 0.3)},
    ),
    ({"a": ["", None, *TEN[:8]]}, {"columns": {"a": {"max_missing": 0.2}}}, set()),
    ({"a": ["x", *TEN[:9]]}, {"columns": {"a": {"type": "number"}}}, {("a", "type", 0.1)}),
    ({"a": ["1.5", *TEN[:9]]}, {"columns": {"a": {"type": "integer"}}}, {("a", "type", 0.1)}),
    ({"a": TEN}, {"columns": {"a": {"type": "text"}}}, set()),
    (
        {"a": ["2024-01-01"] * 9 + ["soon"]},
        {"columns": {"a": {"type": "date"}}},
        {("a", "type", 0.1)},
    ),
    (
        {"a": ["F", "M", " F ", "X"]},
        {"columns": {"a": {"categories": ["F", "M"]}}},
        {("a", "categories", 0.25)},
    ),
    ({"a": ["F", "?", "M"]}, {"columns": {"a": {"categories": ["F", "M"]}}}, set()),  # missing
    ({"a": ["F", "?"]}, {"columns": {"a": {"categories": ["F", "?"], "max_missing": 0}}}, set()),
    ({"a": TEN}, {"table": {"min_rows": 11}}, {("", "rows", 10.0)}),
    ({"a": ["x"] * 10}, {"table": {"max_duplicates": 0.5}}, {("", "duplicates", 0.9)}),
    ({"a": TEN}, {"columns": {"gone": {}}}, {("gone", "column", 0.0)}),
    (
        {"a": ["y"] * 19 + ["n"]},
        {
            "columns": {"a": {"categories": ["y", "n"]}},
            "table": {"target": "a", "min_label_share": 0.1},
        },
        {("a", "labels", 0.05)},
    ),
    (
        {"a": ["y"] * 20},  # one label alone teaches nothing
        {"table": {"target": "a", "min_label_share": 0.001}},
        {("a", "labels", 0.0)},
    ),
    (
        {"a": ["5"] * 30 + ["6"] * 30 + ["4"] * 30 + ["900"]},
        {"columns": {"a": {"max_outliers": 0.001}}},
        {("a", "outliers", 0.011)},
    ),
]


@pytest.mark.parametrize(("table", "told", "expected"), BY_SKETCH)
@pytest.mark.parametrize("scan", [False, True])
def test_the_sketch_and_the_rows_agree(
    table: Table, told: dict[str, Any], expected: set[tuple[str, str, float]], *, scan: bool
) -> None:
    assert judged(table, told, scan=scan) == expected


@pytest.mark.parametrize(
    ("table", "told", "expected"),
    [
        ({"a": TEN}, {"columns": {"a": {"min": 2}}}, {("a", "min", 0.2)}),
        ({"a": [*TEN[:9], "nan"]}, {"columns": {"a": {"max": 7}}}, {("a", "max", 0.1111)}),
        (
            {"a": ["AB123456", "AB12345", "xAB123456"]},
            {"columns": {"a": {"pattern": "[A-Z]{2}[0-9]{6}", "max_invalid": 0.5}}},
            {("a", "pattern", 0.6667)},
        ),
        (
            {"a": ["b", "a", "c"]},
            {"columns": {"a": {"pattern": "a|b"}}},
            {("a", "pattern", 0.3333)},
        ),
        (
            {"a": [*TEN, "3", " 3 ", "", ""]},
            {"columns": {"a": {"unique": True}}},
            {("a", "unique", 0.1667)},
        ),
        ({"a": TEN}, {"columns": {"a": {"unique": True, "pattern": "[0-9]"}}}, set()),
    ],
)
def test_what_the_rows_alone_answer(
    table: Table, told: dict[str, Any], expected: set[tuple[str, str, float]]
) -> None:
    contract = read_contract(told, table)
    sketch = TableSketch(list(table), key=KEY)
    sketch.add(table)
    assert unanswered(sketch, contract)
    assert judged(table, told, scan=True) == expected


def test_uniqueness_in_several_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "HELD", 10)
    cells = [str(n % 90) for n in range(100)]
    assert judged({"a": cells}, {"columns": {"a": {"unique": True}}}, scan=True) == {
        ("a", "unique", 0.1)
    }


def test_labels_without_names_are_told_by_rank() -> None:
    sketch = TableSketch(["a"], key=KEY)
    sketch.add({"a": ["王小明"] * 3 + ["李娜"]})
    contract = read_contract({"table": {"target": "a"}}, ["a"])
    assert label_shares(sketch, contract) == {"1": 0.75, "2": 0.25}
    assert label_shares(sketch, Contract()) == {}


@pytest.mark.parametrize(
    ("numbers", "share"),
    [
        (list(range(100)), 0.0),
        ([*range(100), 10_000], 1 / 101),
        ([0] * 97 + [1, 1, 90], 0.01),  # both quartiles are 0; the reach is 3.5 · 1.2533 · 0.92
        ([5] * 50, 0.0),
        ([], 0.0),
    ],
)
def test_outliers(numbers: list[int], share: float) -> None:
    buckets = Buckets()
    buckets.add(np.array(numbers, np.float64), np.ones(len(numbers), np.int64))
    assert outliers(buckets) == pytest.approx(share)


def test_a_profile_tells_no_number_of_a_treated_column() -> None:
    sketch = TableSketch(["kept", "token"], key=KEY)
    sketch.add({"kept": ["17", "42", "90"], "token": ["123", "456", "789"]})
    told = summarize(sketch, Contract(), {}, told={"kept"})
    kept, token = told["columns"]
    assert (kept["numbers"]["min"], kept["numbers"]["median"], kept["numbers"]["max"]) == (
        17,
        42,
        90,
    )
    assert token["numbers"] is None
    assert kept["kind"] == token["kind"] == "integer"
