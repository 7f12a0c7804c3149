"""Contracts: what they say, what is refused, and what follows from declarations alone."""

from typing import Any

import pytest

from governance.errors import InvalidError
from governance.quality.contract import (
    ColumnTerms,
    Contract,
    TableTerms,
    derived,
    read_contract,
)

COLUMNS = ["age", "sex", "case", "income"]
WHOLE: dict[str, Any] = {
    "columns": {
        "age": {"type": "number", "min": 17, "max": 90, "max_missing": 0.05},
        "sex": {"categories": ["Female", " Male ", "Male"], "max_invalid": 0.01},
        "case": {"pattern": "[A-Z]{2}[0-9]{6}", "unique": True},
    },
    "table": {
        "min_rows": 10,
        "max_duplicates": 0.005,
        "target": "income",
        "min_label_share": 0.05,
    },
}


def test_a_contract_is_read_and_written_the_same() -> None:
    contract = read_contract(WHOLE, COLUMNS)
    assert contract.columns["sex"].categories == ("Female", "Male")
    assert contract.columns["age"] == ColumnTerms(
        type="number", min=17.0, max=90.0, max_missing=0.05
    )
    again = read_contract(contract.as_dict(), COLUMNS)
    assert again == contract
    assert again.digest() == contract.digest() != read_contract({}, COLUMNS).digest()


@pytest.mark.parametrize(
    ("told", "pointer"),
    [
        ([], ""),
        ({"rows": 1}, "/rows"),
        ({"columns": []}, "/columns"),
        ({"columns": {"age": {"mx": 1}}}, "/columns/age/mx"),
        ({"columns": {"age": {"type": "money"}}}, "/columns/age/type"),
        ({"columns": {"age": {"min": "1"}}}, "/columns/age/min"),
        ({"columns": {"age": {"min": float("nan")}}}, "/columns/age/min"),
        ({"columns": {"age": {"min": True}}}, "/columns/age/min"),
        ({"columns": {"age": {"min": 2, "max": 1}}}, "/columns/age/min"),
        ({"columns": {"age": {"max_missing": 2}}}, "/columns/age/max_missing"),
        ({"columns": {"age": {"min": 1, "categories": ["a"]}}}, "/columns/age"),
        ({"columns": {"age": {"categories": []}}}, "/columns/age/categories"),
        ({"columns": {"age": {"categories": ["\x00"]}}}, "/columns/age/categories"),
        ({"columns": {"age": {"categories": ["\ud800"]}}}, "/columns/age/categories"),
        ({"columns": {"age": {"pattern": "("}}}, "/columns/age/pattern"),
        ({"columns": {"age": {"pattern": "a)|(b"}}}, "/columns/age/pattern"),
        ({"columns": {"age": {"unique": 1}}}, "/columns/age/unique"),
        ({"table": {"min_rows": -1}}, "/table/min_rows"),
        ({"table": {"min_rows": 1.5}}, "/table/min_rows"),
        ({"table": {"target": 5}}, "/table/target"),
        ({"table": {"min_label_share": 0.1}}, "/table/min_label_share"),
    ],
)
def test_what_cannot_be_read_is_named(told: Any, pointer: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read_contract(told, COLUMNS)
    assert (caught.value.stable_code, caught.value.pointer) == ("quality.contract_invalid", pointer)


@pytest.mark.parametrize(
    "told", [{"columns": {"name": {}}}, {"table": {"target": "name", "min_label_share": 0.1}}]
)
def test_a_column_that_is_not_there(told: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        read_contract(told, COLUMNS)
    assert caught.value.stable_code == "quality.contract_column"


def test_what_follows_from_declarations() -> None:
    contract = derived(
        {
            "columns": {
                "age": {"kind": "numeric", "low": 17, "high": "90"},
                "sex": {"kind": "category", "values": ["F", "M", 5, "\ud800"]},
                "note": {"kind": "text"},
                "gone": {"kind": "numeric"},
            },
            "target": {"column": "income", "positive": ">50K", "negative": "<=50K"},
        },
        [*COLUMNS, "note"],
    )
    assert contract.columns["age"].min == 17
    assert contract.columns["age"].max == 90
    assert contract.columns["sex"].categories == ("F", "M")
    assert contract.columns["note"] == ColumnTerms()
    assert contract.columns["income"].categories == (">50K", "<=50K")
    assert contract.table.target == "income"
    assert "gone" not in contract.columns
    assert read_contract(contract.as_dict(), [*COLUMNS, "note"]) == contract


@pytest.mark.parametrize(
    "declarations",
    [{}, {"columns": [], "target": 3}, {"columns": {"age": 4}}, {"target": {"column": "gone"}}],
)
def test_nothing_follows_from_what_says_nothing(declarations: dict[str, Any]) -> None:
    assert derived(declarations, COLUMNS) == Contract({}, TableTerms(max_duplicates=0.5))
