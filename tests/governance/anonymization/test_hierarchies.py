"""Ladders: what each kind of column becomes, rung by rung."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.anonymization.hierarchies import RARE, TOP, is_nested, ladder

LADDERS: list[tuple[str, list[str], dict[str, Any], dict[str, list[str]]]] = [
    (
        "age",
        ["3", "37", "38", "31", "91"],
        {},
        {
            "age_5": ["0-4", "35-39", "35-39", "30-34", "90+"],
            "age_10": ["0-9", "30-39", "30-39", "30-39", "90+"],
            TOP: [TOP] * 5,
        },
    ),
    (
        "hours",
        ["1", "18", "42", "44", "99", ""],
        {},
        {
            "band_5": ["0-4", "15-19", "40-44", "40-44", "95-99", ""],
            "band_50": ["0-49", "0-49", "0-49", "0-49", "50-99", ""],
            TOP: [TOP] * 6,
        },
    ),
    (
        "income",
        ["1200", "48000", "99000"],
        {"low": 0, "high": 100000},
        {
            "band_50000": ["0-49999", "0-49999", "50000-99999"],
            TOP: [TOP] * 3,
        },
    ),
    (
        "rate",
        ["0.11", "0.12", "0.49", "-0.4"],
        {},
        {
            "band_0.05": ["[0.10, 0.15)", "[0.10, 0.15)", "[0.45, 0.50)", "[-0.40, -0.35)"],
            "band_0.5": ["[0.0, 0.5)", "[0.0, 0.5)", "[0.0, 0.5)", "[-0.5, 0.0)"],
            TOP: [TOP] * 4,
        },
    ),
    (
        "born",
        ["1990-05-06", "1990年5月7日", "1990/11/01", "1999-01-01", "2001-01-01", ""],
        {},
        {
            "month": ["1990-05", "1990-05", "1990-11", "1999-01", "2001-01", ""],
            "year": ["1990", "1990", "1990", "1999", "2001", ""],
            "decade": ["1990s", "1990s", "1990s", "1990s", "2000s", ""],
            TOP: [TOP] * 6,
        },
    ),
    (
        "region",
        ["110105", "110106", "130101", "110101", "119900"],
        {},
        {
            "region_4": ["1101", "1101", "1301", "1101", "1199"],
            "region_2": ["11", "11", "13", "11", "11"],
            TOP: [TOP] * 5,
        },
    ),
    (
        "country",
        ["FR", "DE", "CN", "JP", "BR"],
        {"hierarchy": [{"west": ["FR", "DE"], "east": ["CN", "JP"]}, {"north": ["west", "east"]}]},
        {
            "group_1": ["west", "west", "east", "east", "BR"],
            "group_2": ["north", "north", "north", "north", "BR"],
            TOP: [TOP] * 5,
        },
    ),
    ("constant", ["x"], {}, {TOP: [TOP]}),
    ("empty", [""], {}, {TOP: [TOP]}),
]


@pytest.mark.parametrize(("column", "values", "declared", "expected"), LADDERS)
def test_ladders(
    column: str, values: list[str], declared: dict[str, Any], expected: dict[str, list[str]]
) -> None:
    built = ladder(column, Counter(values), declared)
    rungs = {rung.name: [rung.of[value] for value in values] for rung in built.rungs[1:]}
    assert rungs == expected
    assert built.rungs[0].of == {value: value for value in values}
    assert is_nested(built)


def test_rare_values_are_pooled_step_by_step() -> None:
    counts = {"big": 700, "some": 180, "few": 80, "less": 32, "one": 8}
    built = ladder("job", counts, {})
    rungs = {rung.name: rung.of for rung in built.rungs}
    assert {v for v, stood in rungs["rare_0.05"].items() if stood == RARE} == {"less", "one"}
    assert {v for v, stood in rungs["rare_0.2"].items() if stood != RARE} == {"big"}
    assert "rare_0.01" not in rungs  # one value alone, pooled, is the same partition
    assert is_nested(built)


@pytest.mark.parametrize("hierarchy", [["x"], [{"a": "b"}], "x", [3]])
def test_a_declaration_that_is_none_is_passed_over(hierarchy: Any) -> None:
    built = ladder("job", {"a": 5, "b": 5}, {"hierarchy": hierarchy})
    assert built.rungs[-1].name == TOP


@given(
    st.dictionaries(
        st.one_of(
            st.integers(-500, 500).map(str),
            st.decimals(-9, 9, places=2).map(str),
            st.dates().map(str),
            st.text(max_size=6),
            st.sampled_from(["", "110105", "310000"]),
        ),
        st.integers(1, 50),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from(["age", "x", "年龄"]),
)
def test_every_ladder_is_nested_and_ends_in_one_class(counts: dict[str, int], column: str) -> None:
    built = ladder(column, counts, {})
    assert is_nested(built)
    assert len(set(built.rungs[-1].of.values())) == 1
    assert built.height >= 1
