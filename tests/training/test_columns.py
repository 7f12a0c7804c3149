"""Which columns a model may learn from: what the plan bars, and what a steward may say to that."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from audit.canonical import canonical
from governance.models import ColumnPlanVersion, Dataset, DatasetVersion
from tests.factories.training import DECLARATIONS, plan_of
from training.columns import Columns, columns_of

NOTHING: Mapping[str, Any] = MappingProxyType({})
ENCODED = {"kind": "encoded", "encoder": "minilm-l6"}


def judged(columns: Mapping[str, Any] = NOTHING, operator: str = "replace") -> Columns:
    """By the plan of the factory, with another operator on its prose. Nothing is stored."""
    plan = plan_of()
    said = [
        replace(column, operator={"operator": operator}) if column.name == "note" else column
        for column in plan.columns
    ]
    body = canonical(replace(plan, columns=tuple(said)).as_dict())
    declarations = {**DECLARATIONS, "columns": {**DECLARATIONS["columns"], **columns}}
    dataset = Dataset(subject_column="person", declarations=declarations)
    return columns_of(DatasetVersion(dataset=dataset, plan=ColumnPlanVersion(body=body)))


@pytest.mark.parametrize("operator", ["replace", "redact"])
def test_prose_without_anybody_in_it_may_be_encoded(operator: str) -> None:
    assert judged(operator=operator).barred["note"] == "prose"
    found = judged({"note": ENCODED}, operator)
    assert "note" in found.usable
    assert "note" not in found.barred
    assert found.prose == {"note"}


@pytest.mark.parametrize(
    ("operator", "said"),
    [
        ("keep", ENCODED),
        ("pseudonym", ENCODED),  # stands for one person
        ("surrogate", ENCODED),
        ("", ENCODED),
        ("replace", {"kind": "text"}),
        ("replace", {"kind": "category", "values": ["x"]}),
        ("replace", {}),
        ("replace", "encoded"),
        ("replace", None),
    ],
)
def test_prose_is_barred_otherwise(operator: str, said: object) -> None:
    found = judged({"note": said}, operator)
    assert found.barred["note"] == "prose"
    assert found.prose == frozenset()


@pytest.mark.parametrize("name", ["person", "name", "phone"])
def test_identifiers_are_barred_whatever_is_said(name: str) -> None:
    assert name in judged({name: ENCODED}).barred
