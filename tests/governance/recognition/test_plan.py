"""The plan as data: round trip, digest, a person's overrides, bad input."""

import json
from typing import Any

import pytest

from governance.recognition.plan import (
    ColumnPlan,
    Declared,
    Evidence,
    Finding,
    Kind,
    PlanError,
    PlannedColumn,
    plan_digest,
)

PLAN = ColumnPlan(
    columns=(
        PlannedColumn(
            "mobile",
            Kind.TYPED,
            "CN_MOBILE",
            {"operator": "mask", "keep_first": 3},
            Evidence(
                rows=10,
                distinct=9,
                scanned=9,
                numeric=True,
                header=("CN_MOBILE",),
                findings=(Finding("CN_MOBILE", 9, "1.000", "0.95", 0),),
                samples=("99999999999",),
            ),
        ),
        PlannedColumn("income", Kind.FREE, None, {"operator": "keep"}, Evidence(), Declared.TARGET),
    ),
    detector="0123456789abcdef",
)


def test_a_plan_survives_json() -> None:
    read = ColumnPlan.from_dict(json.loads(json.dumps(PLAN.as_dict())))
    assert read == PLAN
    assert plan_digest(read) == plan_digest(PLAN)


def test_the_digest_moves_with_every_decision() -> None:
    changed = [
        PLAN.override("mobile", operator={"operator": "redact"}),
        PLAN.override("mobile", entity="PHONE_NUMBER"),
        PLAN.override("mobile", kind=Kind.FREE),
        PLAN.override("income", declared=Declared.DROP),
    ]
    assert len({plan_digest(plan) for plan in [PLAN, *changed]}) == 5


def test_an_override_keeps_the_evidence_and_brings_the_default_operator() -> None:
    column = PLAN.override("mobile", entity="CN_BANK_CARD").column("mobile")
    assert column.operator == {"operator": "token"}
    assert column.evidence == PLAN.column("mobile").evidence


def test_a_typed_column_needs_an_entity_and_a_column_must_be_there() -> None:
    with pytest.raises(PlanError):
        PLAN.override("income", kind=Kind.TYPED)
    with pytest.raises(PlanError) as caught:
        PLAN.override("nowhere", kind=Kind.FREE)
    assert caught.value.stable_code == "recognition.unknown_column"


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in PLAN.as_dict().items() if name != key}


@pytest.mark.parametrize(
    "stored",
    [
        {},
        _without("columns"),
        _without("detector"),
        {**PLAN.as_dict(), "version": 2},
        {**PLAN.as_dict(), "columns": [{"name": "x"}]},
        {**PLAN.as_dict(), "columns": [{**PLAN.columns[0].as_dict(), "kind": "maybe"}]},
        {**PLAN.as_dict(), "columns": 7},
    ],
)
def test_what_is_no_plan_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        ColumnPlan.from_dict(stored)
