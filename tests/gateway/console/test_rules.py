"""Stewards write rules, try them on masks, and add them; whoever decides sees what stands out."""

from dataclasses import replace
from typing import Any

import pytest

from audit.models import AuditEntry
from governance import column_plans
from governance.actions.rules import add_rules
from governance.models import RecognitionRules
from governance.recognition.plan import Cause, ColumnPlan, Evidence, Reason
from governance.recognition.tenant_rules import RuleBook
from governance.recognition_rules import book_of
from governance.scoping import tenant_scope
from tests.factories.console import World

pytestmark = pytest.mark.django_db

LIST = "/admin/governance/recognitionrules/"
FORM = f"{LIST}next/"
BOOK = RuleBook.from_dict(
    {
        "deny": [{"text": "王小明", "entity": "PERSON"}],
        "patterns": [{"entity": "STAFF_NO", "pattern": r"E\d{4}", "context": ["工号"]}],
    }
)


def form(*rows: dict[str, str], **more: str) -> dict[str, str]:
    sent = {"form-TOTAL_FORMS": str(len(rows)), "form-INITIAL_FORMS": "0", **more}
    for number, row in enumerate(rows):
        sent |= {f"form-{number}-{name}": value for name, value in row.items()}
    return sent


PATTERN = {"kind": "pattern", "entity": "staff_no", "text": r"E\d{4}", "context": "工号，staff"}
DENIED = {"kind": "deny", "entity": "PERSON", "text": "王小明"}


def test_rules_are_tried_and_then_added(world: World) -> None:
    client = world.client("steward")
    tried = client.post(FORM, form(PATTERN, DENIED, {}, do="try", text="工号E0001\n王小明"))
    page = tried.content.decode()
    assert tried.status_code == 200
    assert "汉汉⟦A9999⟧" in page
    assert "⟦汉汉汉⟧" in page
    with tenant_scope(world.house.id):
        assert not RecognitionRules.objects.exists()
    added = client.post(FORM, form(PATTERN, DENIED, {}, do="add"))
    with tenant_scope(world.house.id):
        edition = RecognitionRules.objects.get()
        book = book_of(edition)
    assert added["Location"] == f"{LIST}{edition.pk}/"
    (own,) = book.patterns
    assert (own.entity, own.context, own.score) == ("STAFF_NO", ("工号", "staff"), "0.60")
    assert [term.text for term in book.deny] == ["王小明"]


def test_who_writes_the_next_edition_opens_the_newest_and_the_log_says_so(world: World) -> None:
    with tenant_scope(world.house.id):
        add_rules(world.house.steward, world.house.tenant, book=BOOK)
    before = AuditEntry.objects.filter(event="recognition.rules_opened").count()
    page = world.client("steward").get(FORM).content.decode()
    assert "王小明" in page
    assert AuditEntry.objects.filter(event="recognition.rules_opened").count() == before + 1


@pytest.mark.parametrize(("who", "status"), [("officer", 200), ("auditor", 200), ("engineer", 403)])
def test_others_read_counts_at_most(world: World, who: str, status: int) -> None:
    with tenant_scope(world.house.id):
        edition = add_rules(world.house.steward, world.house.tenant, book=BOOK)
    client = world.client(who)
    for address in (LIST, f"{LIST}{edition.pk}/"):
        page = client.get(address)
        assert page.status_code == status
        assert "王小明" not in page.content.decode()
    assert client.get(FORM).status_code == 403


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([{**PATTERN, "text": "("}], "rules.pattern_invalid"),
        ([{**PATTERN, "entity": "x"}], "rules.entity_invalid"),
        ([{**DENIED, "text": "王"}], "rules.term_invalid"),
        ([{}], "rules.empty"),
        ([{**DENIED, "kind": "other"}], "rules.invalid"),
    ],
)
def test_what_cannot_be_used_is_told(world: World, rows: list[dict[str, str]], code: str) -> None:
    answer = world.client("steward").post(FORM, form(*rows, do="try", text="x"))
    assert answer.status_code == 422
    assert code in answer.content.decode()


def _proposed(world: World, **changed: Any) -> ColumnPlan:
    """The open plan with more in it, proposed by the steward."""
    with tenant_scope(world.house.id):
        stored = column_plans.newest(world.dataset)
        plan = replace(ColumnPlan.from_dict(stored.as_json()), **changed)
        column_plans.propose(
            world.dataset, plan.as_dict(), stored.detector, world.house.steward.user_id
        )
        world.dataset.save()
    return plan


def test_what_stands_out_is_said_beside_the_plan_and_at_the_decision(world: World) -> None:
    with tenant_scope(world.house.id):
        plan = ColumnPlan.from_dict(column_plans.newest(world.dataset).as_json())
    first, *rest = plan.columns
    reason = Reason(Cause.MORE_SENSITIVE, first.name, "CN_ID")
    marked = replace(first, sensitive=("health",), reopened=(reason,), evidence=Evidence(beside=1))
    _proposed(world, columns=(marked, *rest))
    page = world.client("officer").get(f"/admin/governance/dataset/{world.dataset.pk}/")
    text = page.content.decode()
    assert "Special categories that nobody declared" in text
    assert f"health ({first.name})" in text  # at the decision
    assert "a more sensitive entity was found: CN_ID" in text
    assert "1 cell with a proven identifier inside text" in text
    chinese = world.client("officer", headers={"accept-language": "zh-hans"}).get(
        f"/admin/governance/dataset/{world.dataset.pk}/"
    )
    assert "医疗健康" in chinese.content.decode()


def test_a_plan_by_earlier_rules_says_that_it_cannot_be_carried_out(world: World) -> None:
    address = f"/admin/governance/dataset/{world.dataset.pk}/"
    assert "rules have changed" not in world.client("officer").get(address).content.decode()
    with tenant_scope(world.house.id):
        add_rules(world.house.steward, world.house.tenant, book=BOOK)
    assert "rules have changed" in world.client("officer").get(address).content.decode()
    assert "Profile anew and propose" in world.client("steward").get(address).content.decode()
