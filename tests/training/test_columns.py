"""Which columns a model may learn from: what the plan bars, and what a steward may say to that."""

from dataclasses import replace
from typing import Any

import pytest

from audit.canonical import canonical
from governance.models import DatasetVersion
from governance.scoping import tenant_scope
from tests.factories.people import make_house
from tests.factories.training import DECLARATIONS, make_version, plan_of
from training.columns import Columns, columns_of

ENCODED = {"kind": "encoded", "encoder": "minilm-l6"}
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("home")]


@pytest.fixture
def version() -> DatasetVersion:
    return make_version(make_house())


def judged(version: DatasetVersion, operator: str = "replace", **columns: Any) -> Columns:
    """By the plan of the factory, with another operator on its prose."""
    plan = plan_of()
    said = [
        replace(column, operator={"operator": operator}) if column.name == "note" else column
        for column in plan.columns
    ]
    version.plan.body = canonical(replace(plan, columns=tuple(said)).as_dict())
    version.dataset.declarations = {
        **DECLARATIONS, "columns": {**DECLARATIONS["columns"], **columns},
    }  # fmt: skip
    with tenant_scope(version.tenant_id):
        return columns_of(version)


@pytest.mark.parametrize("operator", ["replace", "redact"])
def test_prose_without_anybody_in_it_may_be_encoded(version: DatasetVersion, operator: str) -> None:
    assert judged(version, operator).barred["note"] == "prose"
    found = judged(version, operator, note=ENCODED)
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
def test_prose_is_barred_otherwise(version: DatasetVersion, operator: str, said: object) -> None:
    found = judged(version, operator, note=said)
    assert found.barred["note"] == "prose"
    assert found.prose == frozenset()


@pytest.mark.parametrize("name", ["person", "name", "phone"])
def test_identifiers_are_barred_whatever_is_said(version: DatasetVersion, name: str) -> None:
    assert name in judged(version, **{name: ENCODED}).barred
