"""Amending a plan: what the form may change, and what comes of it."""

from typing import Any

import pytest
from django.http import QueryDict

from audit.errors import DomainError
from gateway.console.plans import amended, choices, rows_of
from governance.recognition.plan import ColumnPlan, Evidence, Finding, Kind, PlannedColumn

PLAN = ColumnPlan(
    (
        PlannedColumn(
            "mobile", Kind.TYPED, "CN_MOBILE", {"operator": "pseudonym"},
            Evidence(findings=(
                Finding("PHONE_NUMBER", 9, "0.900", "0.60", 0),
                Finding("CN_MOBILE", 8, "0.800", "0.95", 8),
            )),
        ),
        PlannedColumn("note", Kind.PROSE, None, {"operator": "replace"}, Evidence()),
        PlannedColumn("age", Kind.FREE, None, {"operator": "keep"}, Evidence()),
    ),
    detector="test",
)  # fmt: skip


def _form(data: dict[str, str]) -> QueryDict:
    form = QueryDict(mutable=True)
    for name, value in data.items():
        form[name] = value
    return form


@pytest.mark.parametrize(
    ("sent", "column", "expected"),
    [
        ({"operator-0": "redact"}, "mobile", (Kind.TYPED, "CN_MOBILE", {"operator": "redact"})),
        ({"operator-0": "generalize:city"}, "mobile",
         (Kind.TYPED, "CN_MOBILE", {"operator": "generalize", "to": "city"})),
        ({"entity-0": "CN_BANK_CARD"}, "mobile",
         (Kind.TYPED, "CN_BANK_CARD", {"operator": "token"})),  # the entity's own operator
        ({"entity-0": "CN_BANK_CARD", "operator-0": "mask"}, "mobile",
         (Kind.TYPED, "CN_BANK_CARD", {"operator": "mask"})),
        ({"kind-0": "free"}, "mobile", (Kind.FREE, None, {"operator": "keep"})),
        ({"kind-2": "typed", "entity-2": "DATE_OF_BIRTH", "operator-2": "redact"}, "age",
         (Kind.TYPED, "DATE_OF_BIRTH", {"operator": "redact"})),
        ({"operator-1": "redact"}, "note", (Kind.PROSE, None, {"operator": "redact"})),
    ],
)  # fmt: skip
def test_a_change_is_made(sent: dict[str, str], column: str, expected: Any) -> None:
    plan, changed = amended(PLAN, _form(sent))
    made = plan.column(column)
    assert (made.kind, made.entity, dict(made.operator)) == expected
    assert changed == 1
    assert made.evidence == PLAN.column(column).evidence


def test_what_is_sent_unchanged_changes_nothing() -> None:
    sent: dict[str, str] = {}
    for row in rows_of(PLAN):
        sent |= {
            f"kind-{row.place}": row.column.kind.value,
            f"entity-{row.place}": row.column.entity or "",
            f"operator-{row.place}": row.preset,
        }
    assert amended(PLAN, _form(sent)) == (PLAN, 0)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"kind-2": "typed"}, "recognition.plan_invalid"),
        ({"kind-0": "other"}, "recognition.plan_invalid"),
        ({"entity-0": "SOMETHING"}, "recognition.plan_invalid"),
        ({"operator-0": "generalize:age_7"}, "recognition.plan_invalid"),
        ({"operator-0": "; drop"}, "recognition.plan_invalid"),
    ],
)
def test_a_bad_change_is_refused(sent: dict[str, str], code: str) -> None:
    with pytest.raises(DomainError) as caught:
        amended(PLAN, _form(sent))
    assert caught.value.stable_code == code


def test_the_row_shows_the_entitys_own_finding_first() -> None:
    row = rows_of(PLAN)[0]
    assert (row.share, row.score, row.proven) == ("0.800", "0.95", 8)
    assert [finding.entity for finding in row.others] == ["PHONE_NUMBER"]


def test_everything_in_the_plan_can_be_chosen_again() -> None:
    offered = {value for value, _label in choices()["operators"]}
    assert {row.preset for row in rows_of(PLAN)} <= offered
