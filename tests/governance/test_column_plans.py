"""A plan and what it outlives: rules, a new reading, declarations of special categories."""

import json

import polars as pl
import pytest

from audit.errors import DomainError
from audit.models import AuditEntry
from governance import column_plans, leases
from governance.actions.datasets import amend_plan
from governance.actions.readings import reread_dataset
from governance.actions.rules import add_rules
from governance.models import Dataset
from governance.models.datasets import DatasetState
from governance.recognition.plan import ColumnPlan, DecidedBy, Kind
from governance.recognition.tenant_rules import RuleBook
from governance.recognition_rules import current_version
from governance.scoping import tenant_scope
from governance.versions import frames
from tests.factories.datasets import PEOPLE_CSV, approve_plan, profiled, upload
from tests.factories.people import House, make_house

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]

BOOK = RuleBook.from_dict({"patterns": [{"entity": "STAFF_NO", "pattern": r"E\d{4}"}]})
HEALTH = PEOPLE_CSV.replace(
    "已与李娜确认地址。", "患者确诊高血压，已与李娜确认地址，请两周后复诊。"
)


@pytest.fixture
def house() -> House:
    return make_house()


def plan_of(dataset: Dataset) -> ColumnPlan:
    return ColumnPlan.from_dict(column_plans.newest(dataset).as_json())


def read_anew(house: House, dataset: Dataset) -> None:
    with leases.doing_it_here():
        reread_dataset(house.steward, dataset, encoding="")
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()


def test_new_rules_open_a_plan_and_reading_anew_proposes_one_by_them(house: House) -> None:
    dataset = profiled(house)
    with tenant_scope(house.id):
        assert column_plans.outdated(dataset) == ""
        add_rules(house.steward, house.tenant, book=BOOK)
        assert column_plans.outdated(dataset) == column_plans.RULES
        approve_plan(house, dataset)
        leases.run_here(dataset.reference)
        dataset.refresh_from_db()
        assert (dataset.state, dataset.error_code) == (
            DatasetState.FAILED,
            "dataset.rules_outdated",
        )
        read_anew(house, dataset)
        assert dataset.state == DatasetState.PROPOSED
        assert plan_of(dataset).rules == current_version(house.tenant)
        assert column_plans.outdated(dataset) == ""


def test_the_rules_that_a_plan_names_treat_the_rows(house: House) -> None:
    table = "code,note,age\n" + "".join(
        f"E{i:04d},已由 E{i:04d} 回访中国银行客户王大锤,{30 + i}\n" for i in range(30)
    )
    with tenant_scope(house.id):
        add_rules(house.steward, house.tenant, book=BOOK)
    dataset = profiled(house, table, subject_column="", declarations={})
    with tenant_scope(house.id):
        plan = plan_of(dataset)
        assert (plan.column("code").entity, plan.column("note").kind) == ("STAFF_NO", Kind.PROSE)
    approve_plan(house, dataset)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert (dataset.state, dataset.error_code) == (DatasetState.SEALED, "")
    with tenant_scope(house.id):
        version = dataset.versions.get()
        rows = pl.concat(frames(version))
    assert version.entity_counts["note"]["STAFF_NO"] == 30
    assert not any("E00" in cell for name in ("code", "note") for cell in rows[name])
    assert rows["code"].n_unique() == 30


def test_what_a_person_decided_survives_a_new_reading(house: House) -> None:
    dataset = profiled(house)
    with tenant_scope(house.id):
        plan = plan_of(dataset).override("mobile", kind=Kind.FREE, operator={"operator": "keep"})
        amend_plan(house.steward, dataset, plan=plan.as_dict(), changed=1)
        read_anew(house, dataset)
        column = plan_of(dataset).column("mobile")
    assert (column.kind, column.decided_by, column.reopened) == (Kind.FREE, DecidedBy.PERSON, ())
    assert column.evidence.findings


def test_special_categories_are_compared_with_what_was_declared(house: House) -> None:
    told = profiled(house, HEALTH, sensitive=("identity",))
    silent = profiled(house, HEALTH, name="silent")
    with tenant_scope(house.id):
        assert plan_of(told).declared_sensitive == ("identity",)
        assert column_plans.undeclared_sensitive(told) == {"health": ["note"]}
        assert set(column_plans.undeclared_sensitive(silent)) == {"health", "identity"}
    entry = AuditEntry.objects.filter(event="dataset.profiled").order_by("pk").first()
    assert entry is not None
    assert json.loads(bytes(entry.body))["facts"]["undeclared_sensitive"] == ["health"]


@pytest.mark.parametrize("how", ["field", "declarations", "shape"])
def test_a_category_that_no_law_knows_is_refused(house: House, how: str) -> None:
    said = {
        "field": {"sensitive": ("shoe_size",)},
        "declarations": {"declarations": {"sensitive": ["shoe_size"]}},
        "shape": {"declarations": {"sensitive": "health"}},
    }[how]
    with pytest.raises(DomainError) as caught:
        upload(house, HEALTH, **said)  # type: ignore[arg-type]  # a table of keywords
    assert caught.value.stable_code == "dataset.sensitive_unknown"


def test_a_plan_of_the_first_version_is_amended_without_its_new_evidence(house: House) -> None:
    dataset = profiled(house)
    with tenant_scope(house.id):
        stored = column_plans.newest(dataset).as_json()
        first = {**stored, "version": 1}
        for name in ("rules", "declared_sensitive"):
            del first[name]
        for column in first["columns"]:
            for name in ("decided_by", "normalize", "sensitive", "reopened"):
                del column[name]
            for name in ("classes", "beside", "leaves"):
                del column["evidence"][name]
        column_plans.propose(dataset, first, stored["detector"], house.steward.user_id)
        dataset.save()
        read = ColumnPlan.from_dict(first)
        amended = read.override("mobile", operator={"operator": "redact"})
        amend_plan(house.steward, dataset, plan=amended.as_dict(), changed=1)
        assert dict(plan_of(dataset).column("mobile").operator) == {"operator": "redact"}
        other = {**amended.as_dict(), "rules": "rules-1-000000000000"}
        with pytest.raises(DomainError):
            amend_plan(house.steward, dataset, plan=other, changed=1)
