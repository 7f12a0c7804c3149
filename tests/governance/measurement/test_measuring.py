"""A labeled file to a stored measurement: recorded, refused, and nothing of the text kept."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.errors import DomainError
from audit.models import AuditEntry
from governance.actions.measurements import Measured, record_measurement
from governance.actions.rules import add_rules
from governance.measurement import measuring
from governance.measurement.generating import generate
from governance.measurement.labels import Label, LabeledRow, Shape
from governance.measurement.shown import shown, unmeasured
from governance.models import ColumnPlanVersion, DetectorMeasurement
from governance.recognition.presidio import detector_version
from governance.recognition.tenant_rules import OwnPattern, RuleBook
from governance.recognition_rules import current_version
from governance.scoping import tenant_scope
from tests.factories.datasets import profiled
from tests.factories.people import House, make_house

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("home")]

ROWS = [
    LabeledRow("患者王小明，手机13800138000", "zh", Shape.PROSE, "",
               (Label(2, 5, "PERSON"), Label(8, 19, "CN_MOBILE"))),
    *(LabeledRow(f"1380013{n:04d}", "zh", Shape.STRUCTURED, "手机号", (Label(0, 11, "CN_MOBILE"),))
      for n in range(30)),
    LabeledRow("SO-0000001", "en", Shape.STRUCTURED, "order_no", ()),
]  # fmt: skip


@pytest.fixture
def house() -> House:
    return make_house()


def measured(house: House, who: str = "steward", rows: list[LabeledRow] = ROWS) -> Any:
    with tenant_scope(house.id):
        return measuring.measure(getattr(house, who), house.tenant, (row.as_line() for row in rows))


def test_counts_are_kept_beside_the_detectors_version(house: House) -> None:
    made = measured(house)
    assert (made.detector, made.rules, made.rows) == (detector_version(), "", len(ROWS))
    scores = {(s["shape"], s["entity"]): s for s in shown(made)["scores"]}
    assert scores["structured", "CN_MOBILE"]["every_character_hidden"] == 1.0
    assert scores["structured", "CN_MOBILE"]["leak_at_most"] == pytest.approx(
        1 - 0.05 ** (1 / 30), abs=1e-4
    )
    assert scores["prose", "CN_MOBILE"]["recall"] == scores["prose", "PERSON"]["recall"] == 1.0
    entry = AuditEntry.objects.get(event="recognition.detector_measured")
    assert (entry.outcome, entry.actor) == ("done", house.steward.reference)
    facts = json.loads(bytes(entry.body))["facts"]
    assert facts["values"] == facts["hidden"] == 32


def test_nothing_of_a_text_is_kept(house: House) -> None:
    made = measured(house)
    kept = json.dumps([made.counts, made.labeled, str(made), shown(made)], ensure_ascii=False)
    kept += "".join(bytes(entry.body).decode() for entry in AuditEntry.objects.all())
    assert not any(row.text in kept for row in ROWS)
    again = measured(make_house("rival"))
    assert again.labeled != made.labeled  # keyed: two tenants' digests of one set tell nothing


@pytest.mark.parametrize("who", ["officer", "engineer", "auditor", "owner"])
def test_who_may_not_measure_has_the_file_unread(house: House, who: str) -> None:
    def lines() -> Any:
        yield pytest.fail("the file was read")

    with tenant_scope(house.id), pytest.raises(DomainError) as caught:
        measuring.measure(getattr(house, who), house.tenant, lines())
    assert caught.value.stable_code == "permission.role_missing"
    entry = AuditEntry.objects.get(outcome="denied")
    assert json.loads(bytes(entry.body))["reason"] == "permission.role_missing"
    assert not DetectorMeasurement._base_manager.exists()


def test_a_stranger_measures_nothing_here(house: House) -> None:
    stranger = make_house("rival").steward
    with tenant_scope(house.id), pytest.raises(DomainError) as caught:
        measuring.measure(stranger, house.tenant, [ROWS[0].as_line()])
    assert caught.value.stable_code == "permission.other_tenant"


def test_the_action_asks_for_itself(house: House) -> None:
    nothing = Measured("detector-0", "", "0" * 64, 1, ())
    with tenant_scope(house.id), pytest.raises(DomainError):
        record_measurement(house.officer, house.tenant, measured=nothing)
    assert AuditEntry.objects.get(event="recognition.detector_measured").outcome == "denied"


def test_a_bad_line_keeps_nothing(house: House) -> None:
    lines = [ROWS[0].as_line(), b"not json"]
    with tenant_scope(house.id):
        for given, code in ((lines, "not_json"), ([b"\n"], "empty")):
            with pytest.raises(DomainError) as caught:
                measuring.measure(house.steward, house.tenant, given)
            assert caught.value.stable_code == f"measurement.{code}"
    assert not DetectorMeasurement._base_manager.exists()


def test_a_detector_that_planned_and_was_not_measured_is_named(house: House) -> None:
    with tenant_scope(house.id):
        assert unmeasured(house.tenant) == ""
        profiled(house)
        assert unmeasured(house.tenant) == ColumnPlanVersion.objects.get().detector
        measured(house)
        assert unmeasured(house.tenant) == ""


def test_the_commands(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "labeled.jsonl"
    call_command("generate_labeled", str(out), "--rows", "60", "--seed", "5")
    assert json.loads(capsys.readouterr().out)["rows"] == 60
    assert out.read_bytes() == b"".join(row.as_line() for row in generate(60, 5))
    with pytest.raises(CommandError, match="there already"):
        call_command("generate_labeled", str(out))
    with pytest.raises(CommandError, match="at least one"):
        call_command("generate_labeled", str(tmp_path / "none"), "--rows", "0")
    user = house.user(house.steward).username
    call_command("measure_recognition", str(out), "--as", user, "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == 60
    assert {score["entity"] for score in told["totals"]} == {"*"}
    call_command("measure_recognition", str(out), "--as", user)
    told = capsys.readouterr().out
    assert told.startswith(f"{detector_version()}, 60 rows")
    for path, status in ((str(tmp_path / "none"), 2), (str(tmp_path), 2)):
        with pytest.raises(SystemExit) as stopped:
            call_command("measure_recognition", path, "--as", user)
        assert stopped.value.code == status
        assert "file.unreadable" in capsys.readouterr().err


def test_the_tenants_own_rules_take_part(house: House) -> None:
    row = LabeledRow(
        "请联系工号 EMP-00007 的同事", "zh", Shape.PROSE, "", (Label(6, 15, "STAFF_NO"),)
    )
    book = RuleBook(patterns=(OwnPattern("STAFF_NO", r"EMP-[0-9]{5}", "0.90"),))
    with tenant_scope(house.id):
        add_rules(house.steward, house.tenant, book=book)
        version = current_version(house.tenant)
    made = measured(house, rows=[row])
    assert made.rules == version
    (score,) = shown(made)["scores"]
    assert (score["recall"], score["precision"]) == (1.0, 1.0)
    with tenant_scope(house.id):
        without = measuring.measure(house.steward, house.tenant, [row.as_line()], own_rules=False)
    assert (without.rules, shown(without)["scores"][0]["recall"]) == ("", 0.0)
