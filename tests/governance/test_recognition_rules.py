"""A tenant's own rules: sealed editions, tried first, amended by who may."""

import json
from typing import Any

import pytest

from audit.errors import DomainError
from audit.errors import RefusedError as MayNotError
from audit.models import AuditEntry
from governance.actions.rules import add_rules, open_rules
from governance.errors import SealError
from governance.models import RecognitionRules
from governance.recognition.tenant_rules import NO_RULES, RuleBook
from governance.recognition_rules import (
    book_of,
    current_version,
    rules_of,
    rules_of_version,
    version_of,
)
from governance.scoping import across_tenants, tenant_scope
from governance.trials import try_rules
from governance.vault import rotate_tenant
from tests.factories.datasets import upload
from tests.factories.people import House, make_house

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]

BOOK = {
    "allow": [{"text": "中国银行", "entity": "PERSON"}],
    "deny": [{"text": "王小明", "entity": "PERSON"}],
    "patterns": [{"entity": "STAFF_NO", "pattern": r"E\d{4}", "headers": ["工号"]}],
}
CSV = "工号,note,branch\nE0001,王小明来电,中国银行\nE0002,已转 E0001,中国银行\nE00033,无,工行\n"


@pytest.fixture
def house() -> House:
    return make_house()


def book(**changed: Any) -> RuleBook:
    return RuleBook.from_dict({**BOOK, **changed})


def test_an_edition_is_sealed_numbered_and_told_of_without_its_terms(house: House) -> None:
    with tenant_scope(house.id):
        assert rules_of(house.tenant) is NO_RULES
        assert current_version(house.tenant) == ""
        first = add_rules(house.steward, house.tenant, book=book())
        second = add_rules(house.steward, house.tenant, book=book(allow=[]))
        assert [first.number, second.number] == [1, 2]
        assert (first.finds, first.allows) == (2, 1)
        assert book_of(first) == book()
        assert rules_of(house.tenant).version == version_of(second) == current_version(house.tenant)
        assert rules_of_version(house.tenant, version_of(first)).allows("PERSON", "中国银行")
        assert not rules_of(house.tenant).allows("PERSON", "中国银行")
        assert rules_of_version(house.tenant, "") is NO_RULES
    for stored in RecognitionRules._base_manager.all():
        assert "王小明".encode() not in bytes(stored.sealed)
    entry = AuditEntry.objects.filter(event="recognition.rules_added").order_by("pk").first()
    assert entry is not None
    told = json.loads(bytes(entry.body))
    assert told["facts"]["number"] == 1
    assert told["facts"]["finds"] == 2
    assert "王小明" not in bytes(entry.body).decode()


@pytest.mark.parametrize("version", ["rules-9-000000000000", "rules-1-000000000000", "x", "a-b-c"])
def test_an_edition_that_is_not_there(house: House, version: str) -> None:
    with tenant_scope(house.id):
        add_rules(house.steward, house.tenant, book=book())
        with pytest.raises(DomainError) as caught:
            rules_of_version(house.tenant, version)
    assert caught.value.stable_code == "rules.unknown"


def test_the_same_rules_make_no_new_edition(house: House) -> None:
    with tenant_scope(house.id):
        add_rules(house.steward, house.tenant, book=book())
        with pytest.raises(DomainError) as caught:
            add_rules(house.steward, house.tenant, book=book())
    assert caught.value.stable_code == "rules.unchanged"


@pytest.mark.parametrize("who", ["officer", "engineer", "owner", "auditor", "platform"])
def test_only_a_steward_adds_opens_and_tries(house: House, who: str) -> None:
    actor = getattr(house, who)
    with tenant_scope(house.id):
        edition = add_rules(house.steward, house.tenant, book=book())
        with pytest.raises(MayNotError):
            add_rules(actor, house.tenant, book=book(allow=[]))
        with pytest.raises(MayNotError):
            open_rules(actor, edition)
        with pytest.raises(MayNotError):
            try_rules(actor, house.tenant, book(), text="E0001")


def test_a_stranger_neither_opens_nor_tries(house: House) -> None:
    rival = make_house("rival")
    dataset = upload(house, CSV, subject_column="", declarations={})
    with tenant_scope(house.id, rival.id):
        edition = add_rules(house.steward, house.tenant, book=book())
        with pytest.raises(MayNotError):
            open_rules(rival.steward, edition)
        with pytest.raises(MayNotError):
            try_rules(rival.steward, dataset, book())


def test_an_edition_opens_after_the_key_was_rotated_and_for_nobody_else(house: House) -> None:
    rival = make_house("rival")
    with tenant_scope(house.id):
        edition = add_rules(house.steward, house.tenant, book=book())
        rotate_tenant(house.tenant)
        assert open_rules(house.steward, edition) == book()
    moved = RecognitionRules(
        tenant=rival.tenant,
        number=1,
        sealed=edition.sealed,
        kek_version=1,
        digest=edition.digest,
    )
    with across_tenants(reason="a row that was moved"), pytest.raises((SealError, DomainError)):
        book_of(moved)


def test_a_trial_shows_counts_and_masks_alone(house: House) -> None:
    dataset = upload(house, CSV, subject_column="", declarations={})
    with tenant_scope(house.id):
        trial = try_rules(house.steward, dataset, book())
    shown = trial.as_dict()
    assert shown == {
        "rows": 3,
        "columns": [
            {
                "column": "工号",
                "found": {"STAFF_NO": 2},
                "doubts": {},
                "allowed": 0,
                "samples": ["⟦A9999⟧"],
            },
            {
                "column": "note",
                "found": {"PERSON": 1, "STAFF_NO": 1},
                "doubts": {},
                "allowed": 0,
                "samples": ["⟦汉汉汉⟧汉汉", "汉汉 ⟦A9999⟧"],
            },
            {"column": "branch", "found": {}, "doubts": {}, "allowed": 2, "samples": []},
        ],
    }
    entry = AuditEntry.objects.get(event="recognition.rules_tried")
    assert json.loads(bytes(entry.body))["facts"]["finds"] == 2


def test_a_pasted_text_is_tried_line_by_line(house: House) -> None:
    weak = {"entity": "WARD_NO", "pattern": r"\d{8}", "score": "0.30", "context": ["病房"]}
    with tenant_scope(house.id):
        trial = try_rules(
            house.steward, house.tenant, book(patterns=[weak]), text="病房 00000001\n00000002\n"
        )
        (tried,) = trial.columns
        assert (tried.found, tried.doubts) == ({"WARD_NO": 1}, {"WARD_NO": 1})
        for text, rules, code in (
            ("x" * 100_001, book(), "rules.text_too_long"),
            ("x", RuleBook(), "rules.empty"),
        ):
            with pytest.raises(DomainError) as caught:
                try_rules(house.steward, house.tenant, rules, text=text)
            assert caught.value.stable_code == code
