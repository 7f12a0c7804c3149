"""A version's quality: at sealing, when checked, before training, and against other versions."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import F

from audit.errors import DomainError
from audit.models import AuditEntry
from governance.actions.quality import finish_quality_check, set_contract
from governance.errors import ConflictError, GovernanceError, InvalidError, RefusedError
from governance.models import Dataset, DatasetVersion, QualityContract, QualityRun, SealedGroup
from governance.quality import assessing
from governance.quality.assessing import assess, check_met, kept_sketch, newest_run, sketch_of
from governance.quality.inspecting import check_quality, compare
from governance.scoping import across_tenants, tenant_scope
from tests.factories.datasets import PEOPLE_CSV, appended, sealed
from tests.factories.people import House, make_house
from tests.factories.training import make_version

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]

AGE = {"columns": {"age": {"type": "number", "min": 17, "max": 90}}}
TIGHT = {"columns": {"age": {"min": 60, "max_invalid": 0.1}}}


@pytest.fixture
def house() -> House:
    return make_house()


def facts(event: str) -> list[dict[str, Any]]:
    return [
        json.loads(bytes(entry.body))["facts"] for entry in AuditEntry.objects.filter(event=event)
    ]


def test_a_sealed_version_is_checked_already(house: House) -> None:
    dataset = sealed(house)
    with tenant_scope(house.id):
        version = DatasetVersion.objects.get(dataset=dataset)
        run = newest_run(version)
        assert run is not None
        assert (run.passed, run.contract, run.breaches, run.drift) == (True, None, [], {})
        summary = run.profile["summary"]
        assert summary["rows"] == version.rows == 5
        age = next(column for column in summary["columns"] if column["name"] == "age")
        assert (age["numbers"]["min"], age["numbers"]["max"]) == (28, 53)
        told = {column["name"]: column["numbers"] for column in summary["columns"]}
        assert told["national_id"] is told["mobile"] is None
        check_met(version)
        kept = SealedGroup.objects.get(group__batch__dataset=dataset).sketch
        assert sketch_of(version).as_dict() == kept
    assert "王小明" not in json.dumps(run.profile, ensure_ascii=False)


def test_a_contract_that_is_set_must_be_met(house: House) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        check_met(version)
        set_contract(house.steward, version.dataset, body=TIGHT)
        with pytest.raises(RefusedError) as caught:
            check_met(version)
        assert caught.value.stable_code == "quality.not_checked"
        run = check_quality(house.engineer, version)
        assert not run.passed
        assert [(b["column"], b["check"]) for b in run.breaches] == [("age", "min")]
        assert set(run.breaches[0]) == {"column", "check", "share", "limit"}
        with pytest.raises(RefusedError) as caught:
            check_met(version)
        assert caught.value.stable_code == "quality.contract_unmet"
        set_contract(house.steward, version.dataset, body=AGE)
        assert check_quality(house.steward, version).passed
        check_met(version)


def test_a_check_is_good_for_thirty_days(house: House) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        QualityRun.objects.update(run_at=F("run_at") - timedelta(days=29))
        check_met(version)
        QualityRun.objects.update(run_at=F("run_at") - timedelta(days=2))
        with pytest.raises(RefusedError) as caught:
            check_met(version)
        assert caught.value.stable_code == "quality.not_checked"


def test_other_declarations_are_another_contract(house: House) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        Dataset.objects.update(declarations={})
        version = DatasetVersion.objects.get(pk=version.pk)
        with pytest.raises(RefusedError) as caught:
            check_met(version)
        assert caught.value.stable_code == "quality.not_checked"


@pytest.mark.parametrize(
    ("who", "setting", "checking"),
    [
        ("steward", True, True), ("engineer", False, True), ("officer", False, False),
        ("auditor", False, False), ("owner", False, False),
    ],
)  # fmt: skip
def test_who_may(house: House, who: str, *, setting: bool, checking: bool) -> None:
    version = make_version(house)
    actor = getattr(house, who)
    with tenant_scope(house.id):
        for allowed, do in (
            (setting, lambda: set_contract(actor, version.dataset, body=AGE)),
            (checking, lambda: check_quality(actor, version)),
        ):
            if allowed:
                do()
            else:
                with pytest.raises(DomainError) as caught:
                    do()
                assert caught.value.stable_code == "permission.role_missing"
        assert compare(actor, version.dataset)["from"] is None
    with across_tenants(reason="a test looks"):
        assert QualityContract.objects.exists() is setting


def test_another_tenant_may_not(house: House) -> None:
    version = make_version(house)
    other = make_house("other")
    with tenant_scope(house.id):
        with pytest.raises(DomainError) as caught:
            check_quality(other.steward, version)
        assert caught.value.stable_code == "permission.other_tenant"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"columns": {"nobody": {}}}, "quality.contract_column"),
        ({"columns": {"age": {"type": "x"}}}, "quality.contract_invalid"),
        (None, "quality.contract_invalid"),
    ],
)
def test_a_contract_that_is_refused_leaves_nothing(house: House, body: Any, code: str) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        with pytest.raises(InvalidError) as caught:
            set_contract(house.steward, version.dataset, body=body)
        assert caught.value.stable_code == code
        assert not QualityContract.objects.exists()


def test_what_the_log_holds(house: House) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        row = set_contract(house.steward, version.dataset, body=TIGHT)
        check_quality(house.engineer, version)
    (made,) = facts("quality.contract_set")
    assert made == {
        "dataset": version.dataset.reference, "number": 1, "digest": row.digest, "columns": 1,
    }  # fmt: skip
    (checked,) = facts("quality.checked")
    assert (checked["passed"], checked["breaches"], checked["contract"]) == (False, 1, row.digest)


def test_a_contract_that_is_set_while_a_check_runs(house: House) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        found = assess(version)
        set_contract(house.steward, version.dataset, body=AGE)
        with pytest.raises(ConflictError) as caught:
            finish_quality_check(house.steward, version, found=found)
        assert caught.value.stable_code == "quality.contract_race"


def test_a_version_from_before_sketches(house: House) -> None:
    """Its rows are read, once; a comparison does not read them."""
    version = make_version(house, checked=False)
    with tenant_scope(house.id):
        with pytest.raises(ConflictError) as caught:
            kept_sketch(version)
        assert caught.value.stable_code == "quality.not_sketched"
        with pytest.raises(ConflictError):
            check_quality(house.steward, version, most=10)
        assert check_quality(house.steward, version).passed
        assert kept_sketch(version).rows == version.rows
        assert check_quality(house.steward, version, most=10).passed  # by the sketch alone


def test_too_large_to_wait_for(house: House) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        set_contract(house.steward, version.dataset, body={"columns": {"age": {"unique": True}}})
        with pytest.raises(ConflictError) as caught:
            check_quality(house.steward, version, most=10)
        assert caught.value.stable_code == "quality.too_large"


def test_a_rotated_key_makes_new_sketches(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = sealed(house)
    with tenant_scope(house.id):
        version = DatasetVersion.objects.get(dataset=dataset)
        monkeypatch.setattr(assessing, "sketch_key", lambda _: b"another" * 4)
        with pytest.raises(GovernanceError):
            kept_sketch(version)
        assert sketch_of(version).rows == 5


def test_an_appended_version_is_compared_with_the_one_before(house: House) -> None:
    dataset = sealed(house)
    rows = PEOPLE_CSV.splitlines()
    dataset = appended(house, dataset, "\n".join([rows[0], *rows[1:] * 3]) + "\n")
    with tenant_scope(house.id):
        new = DatasetVersion.objects.get(dataset=dataset, number=2)
        run = newest_run(new)
        assert run is not None
        assert (run.drift["from"], run.drift["to"], run.drift["rows"]) == (1, 2, [5, 20])
        assert run.drift["level"] == "stable"
        assert run.profile["summary"]["duplicates"] > 0.5
        assert [breach["check"] for breach in run.breaches] == ["duplicates"]
        told = compare(house.auditor, dataset)
        assert told == run.drift
        assert compare(house.auditor, dataset, old=2, new=1)["rows"] == [20, 5]


def test_the_commands(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_version(house)
    file = tmp_path / "contract.json"
    file.write_text(json.dumps(TIGHT))

    def run(*args: str, who: str) -> tuple[int, dict[str, Any]]:
        try:
            call_command(*args, "--as", f"house-{who}", "--json")
        except SystemExit as left:
            return int(left.code or 0), json.loads(capsys.readouterr().err)
        return 0, json.loads(capsys.readouterr().out)

    assert run("set_contract", "people", str(file), who="steward")[1]["contract"] == 1
    status, told = run("check_quality", "people", who="engineer")
    assert (status, told["passed"], told["contract"]["number"]) == (0, False, 1)
    assert told["breaches"][0]["column"] == "age"
    status, told = run("compare_versions", "people", who="auditor")
    assert (status, told["from"], told["to"], told["columns"]) == (0, None, 1, [])
    assert run("check_quality", "people", who="auditor")[0] == 3
    assert run("compare_versions", "people", "--from", "7", who="auditor")[0] == 2
    file.write_text("{")
    assert run("set_contract", "people", str(file), who="steward") == (
        2,
        {"code": "quality.contract_invalid", "detail": "the contract is no JSON file"},
    )
