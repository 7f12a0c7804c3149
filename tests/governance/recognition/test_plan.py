"""The plan as data: round trip, digest, a person's overrides, bad input."""

import json
from dataclasses import replace
from typing import Any

import pytest

from governance.recognition.plan import (
    ColumnPlan,
    DecidedBy,
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
        {**PLAN.as_dict(), "version": 3},
        {**PLAN.as_dict(), "columns": [{"name": "x"}]},
        {**PLAN.as_dict(), "columns": [{**PLAN.columns[0].as_dict(), "kind": "maybe"}]},
        {**PLAN.as_dict(), "columns": 7},
    ],
)
def test_what_is_no_plan_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        ColumnPlan.from_dict(stored)


def test_a_plan_of_the_first_version_still_reads() -> None:
    stored = PLAN.as_dict()
    first = {key: stored[key] for key in ("detector", "regimes", "languages")}
    new = ("decided_by", "normalize", "sensitive", "reopened")
    columns = [{k: v for k, v in column.items() if k not in new} for column in stored["columns"]]
    for column in columns:
        column["evidence"] = {
            k: v for k, v in column["evidence"].items() if k not in ("classes", "beside", "leaves")
        }
    read = ColumnPlan.from_dict({**first, "version": 1, "columns": columns})
    assert read == PLAN


def _column(
    kind: Kind = Kind.FREE,
    entity: str | None = None,
    operator: str = "pseudonym",
    *,
    seen: tuple[str, ...] = (),
    beside: int = 0,
    **more: Any,
) -> PlannedColumn:
    evidence = Evidence(
        findings=tuple(Finding(name, 9, "0.900", "0.95", 0) for name in seen), beside=beside
    )
    return PlannedColumn("c", kind, entity, {"operator": operator}, evidence, **more)


def _plan(*columns: PlannedColumn, **more: Any) -> ColumnPlan:
    return ColumnPlan(columns, **{"detector": "d", **more})


TYPED, PROSE, FREE = Kind.TYPED, Kind.PROSE, Kind.FREE


@pytest.mark.parametrize(
    ("planned", "found", "expected"),
    [
        (_column(), _column(), []),
        (_column(), _column(TYPED, "CN_MOBILE"), [("escalated", "CN_MOBILE")]),
        (_column(), _column(PROSE), [("escalated", "")]),
        (_column(TYPED, "CN_MOBILE"), _column(), []),
        (_column(TYPED, "CN_MOBILE"), _column(TYPED, "PHONE_NUMBER"), []),
        (_column(TYPED, "CN_MOBILE"), _column(PROSE), []),
        (_column(TYPED, "CN_MOBILE", "mask"), _column(PROSE), [("text", "")]),
        (
            _column(TYPED, "CN_MOBILE", "mask"),
            _column(TYPED, "PHONE_NUMBER"),
            [("entity", "PHONE_NUMBER")],
        ),
        (_column(TYPED, "CN_MOBILE"), _column(TYPED, "CN_ID"), [("more_sensitive", "CN_ID")]),
        (_column(TYPED, "CN_MOBILE", seen=("CN_ID",)), _column(TYPED, "CN_ID"), []),
        (_column(TYPED, "US_SSN"), _column(TYPED, "CN_ID"), []),
        (_column(PROSE), _column(PROSE), []),
        (_column(PROSE), _column(TYPED, "PERSON"), [("identifiers", "PERSON")]),
        (_column(), _column(sensitive=("health",)), [("sensitive_class", "health")]),
        (_column(sensitive=("health",)), _column(sensitive=("health",)), []),
        (_column(declared=Declared.DROP), _column(TYPED, "CN_ID", sensitive=("health",)), []),
        (
            _column(declared=Declared.FEATURE),
            _column(declared=Declared.FEATURE, seen=("EMAIL_ADDRESS",)),
            [("escalated", "EMAIL_ADDRESS")],
        ),
        # A person who had seen the same finding is not asked again; what is new to them is said.
        (
            _column(seen=("CN_MOBILE",), decided_by=DecidedBy.PERSON),
            _column(TYPED, "CN_MOBILE", seen=("CN_MOBILE",)),
            [],
        ),
        (
            _column(seen=("CN_MOBILE",), decided_by=DecidedBy.PERSON),
            _column(TYPED, "CN_ID", seen=("CN_ID",)),
            [("escalated", "CN_ID")],
        ),
        (
            _column(decided_by=DecidedBy.PERSON),
            _column(PROSE, beside=1),
            [("escalated", "")],
        ),
    ],
)
def test_what_a_plan_covers(
    planned: PlannedColumn, found: PlannedColumn, expected: list[tuple[str, str]]
) -> None:
    reasons = _plan(planned).covers(_plan(found))
    assert [(reason.cause.value, reason.found) for reason in reasons] == expected


def test_another_detector_other_rules_and_other_columns_open_a_plan() -> None:
    old = _plan(_column())
    new = _plan(replace(_column(), name="d"), detector="e", rules="rules-2")
    assert [(r.cause.value, r.column or r.found) for r in old.covers(new)] == [
        ("detector", "e"),
        ("rules", "rules-2"),
        ("column_gone", "c"),
        ("column_new", "d"),
    ]


def test_decisions_are_carried_over_and_opened_where_more_was_found() -> None:
    old = _plan(_column(TYPED, "CN_MOBILE", seen=("CN_MOBILE",))).override("c", kind=FREE)
    assert old.column("c").decided_by is DecidedBy.PERSON

    same = _plan(_column(TYPED, "CN_MOBILE", seen=("CN_MOBILE",))).carry_over(old)
    assert (same.column("c").kind, same.column("c").reopened) == (FREE, ())

    worse = _plan(_column(TYPED, "CN_ID", seen=("CN_ID",)), detector="e").carry_over(old)
    column = worse.column("c")
    assert (column.kind, column.decided_by) == (FREE, DecidedBy.PERSON)
    assert [reason.found for reason in column.reopened] == ["CN_ID"]
    assert worse.detector == "e"
    assert [finding.entity for finding in column.evidence.findings] == ["CN_ID"]

    again = ColumnPlan.from_dict(json.loads(json.dumps(worse.as_dict())))
    assert again == worse
    assert again.carry_over(worse).column("c").reopened == column.reopened
    assert again.override("c", kind=PROSE).column("c").reopened == ()

    gone = _plan(replace(_column(), name="x")).carry_over(old)
    assert [c.name for c in gone.columns] == ["x"]
    untouched = _plan(_column(TYPED, "CN_ID")).carry_over(_plan(_column()))
    assert untouched.column("c").kind is TYPED


def test_classes_that_nobody_declared_are_named_with_their_columns() -> None:
    plan = _plan(
        replace(_column(sensitive=("health", "religion")), name="note"),
        replace(_column(sensitive=("health",)), name="ward"),
        replace(_column(sensitive=("union",), declared=Declared.DROP), name="gone"),
        declared_sensitive=("religion",),
    )
    assert plan.undeclared_sensitive == {"health": ("note", "ward")}


def test_an_entity_of_the_tenants_own_is_pseudonymized() -> None:
    column = PLAN.override("mobile", entity="STAFF_NO").column("mobile")
    assert column.operator == {"operator": "pseudonym"}
