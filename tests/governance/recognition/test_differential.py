"""The differential: nothing is missing on planted tables, and what is missing shows."""

import random

import pytest
from faker import Faker

from governance.recognition import sweep
from governance.recognition.differential import Difference, differential
from governance.recognition.plan import ColumnPlan
from governance.recognition.screening import Screen
from governance.recognition.tenant_rules import OwnPattern, RuleBook, compiled
from tests.governance.recognition.test_persons import notes
from tests.governance.recognition.test_sweep import planted

PLAN = ColumnPlan((), "detector-0", regimes=("cn", "us", "eu"))


def table() -> dict[str, list[str | None]]:
    columns: dict[str, list[str | None]] = {name: [*values] for name, values in planted().items()}
    columns["note"] = [text for language in ("en", "zh") for text, _, _ in notes(language, 60)]
    columns["amount"] = [f"{random.Random(n).random() * 1e6:.2f}" for n in range(300)]
    columns["tags[]"] = [f'["{value}",{{}}]' for value in planted()["iban"]]
    return columns


def test_nothing_is_missing_on_planted_values_and_notes() -> None:
    result = differential(table(), PLAN, cells=120)
    assert result.missed == {}
    assert result.left_out == {}
    assert result.presidio > 300
    assert result.cells > 1_000


def test_what_the_sweep_does_not_find_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Screen, "candidates", lambda *_: {})
    result = differential({"iban": planted()["iban"], "none": [None, "", "x"]}, PLAN, cells=20)
    assert result == Difference(21, 20, {"IBAN_CODE": 20}, {"IBAN_CODE": 20})


def test_what_is_nobodys_by_design_does_not_count() -> None:
    cells = ["10.1.2.0/24", "j***@example.com", "0.4000000000000002", "ab4000000000000002"]
    assert differential({"a": cells}, PLAN).presidio == 0


def test_a_tenants_own_patterns_are_compared_as_well() -> None:
    rules = compiled(RuleBook(patterns=(OwnPattern("STAFF_NO", "EMP-[0-9]{6}"),)), "rules-1")
    cells = [f"EMP-{n:06d}" for n in range(30)]
    assert differential({"staff": cells}, PLAN, rules=rules).left_out == {}
    assert len(sweep.sweep(cells, rules=rules)) == 30


def test_no_value_is_in_the_result() -> None:
    fake = Faker("en_US")
    fake.seed_instance(1)
    values = [fake.email() for _ in range(20)]
    result = str(differential({"email": values}, PLAN))
    assert not [value for value in values if value in result]
