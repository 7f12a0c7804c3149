"""Asking for an examination: who may, what is refused, what is reserved and what is recorded."""

import json
from decimal import Decimal
from typing import Any, Final

import pytest
from django.core.management import call_command

from audit.errors import DomainError, RefusedError
from audit.models import AuditEntry
from governance import leases
from governance.errors import LostLeaseError
from governance.models import Job, PurposeGrant
from governance.rbac import examining_worker
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import DECLARATIONS, untrained
from tests.training.test_commands import command
from training import ledger
from training.actions.examinations import (
    cancel_examination,
    finish_examination,
    request_examination,
    stop_examination,
)
from training.actions.runs import cancel_run
from training.charges import Part, cost
from training.errors import (
    BudgetError,
    ExaminationFailedError,
    ExaminationStateError,
    RunStateError,
)
from training.examination import Examination, ExaminationState
from training.management.commands.examine import Command
from training.models import Budget, BudgetEntry, Guarantee, ModelVersion, Run, RunState
from training.states import LEGAL_OF_EXAMINATIONS, move_examination
from training.write_ahead import write_ahead

DELTA: Final = 1e-5


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


@pytest.fixture
def version(house: House) -> ModelVersion:
    return untrained(house)


def asked(house: House, version: ModelVersion, who: str = "engineer", **more: Any) -> Examination:
    with tenant_scope(house.id), leases.doing_it_here():
        return request_examination(getattr(house, who), version, **more)


def last(event: str = "examination.requested") -> tuple[str, dict[str, Any]]:
    entry = AuditEntry.objects.filter(event=event).latest("at")
    return entry.outcome, json.loads(bytes(entry.body))


@pytest.mark.parametrize("who", ["engineer", "officer"])
def test_what_is_asked_is_reserved_recorded_and_queued(
    house: House, version: ModelVersion, who: str
) -> None:
    made = asked(house, version, who)
    assert (made.kinds, made.shadows, made.epsilon) == (["loss"], 0, Decimal("0.1"))
    assert (made.state, made.figures, made.digest) == ("queued", {}, "")
    run = made.run
    assert run is not None
    assert (run.state, run.guarantee) == (RunState.RUNNING, Guarantee.DP)
    with tenant_scope(house.id):
        known = ledger.account(run, 1)
        assert {charge.part for charge in known.reserved} == set(Part)
        assert 0.0999 < cost(known.reserved, DELTA) <= 0.1
        assert not known.touched
        job = Job.objects.get(subject=made.reference)
    assert (job.kind, job.queue, job.all_units) == ("examine", "train.cpu", 1)
    outcome, body = last()
    assert outcome == "done"
    assert body["subject"] == version.reference
    assert body["facts"] == {
        "examination": made.reference, "artifact": version.artifact_digest, "kinds": ["loss"],
        "shadows": 0, "epsilon": "0.100000", "run": run.reference,
    }  # fmt: skip


@pytest.mark.parametrize("who", ["steward", "auditor", "owner", "platform"])
def test_others_are_refused(house: House, version: ModelVersion, who: str) -> None:
    with pytest.raises(RefusedError) as refused:
        asked(house, version, who)
    assert refused.value.stable_code == "permission.role_missing"
    assert last()[0] == "denied"
    with tenant_scope(house.id):
        assert not Examination.objects.exists()


def test_another_tenants_model_is_refused(house: House, version: ModelVersion) -> None:
    rival = make_house("rival")
    with tenant_scope(rival.id), pytest.raises(RefusedError) as refused:
        request_examination(rival.engineer, version)
    assert refused.value.stable_code == "permission.other_tenant"
    asked(house, version)
    with tenant_scope(rival.id):
        assert not Examination.objects.exists()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"kinds": []}, "examination.kind_unknown"),
        ({"kinds": ["loss", "guess"]}, "examination.kind_unknown"),
        ({"kinds": ["lira"], "shadows": 5}, "examination.shadows_invalid"),
        ({"kinds": ["lira"], "shadows": 2}, "examination.shadows_invalid"),
        ({"kinds": ["lira"], "shadows": 18}, "examination.shadows_invalid"),
        ({"kinds": ["lira"], "shadows": "four"}, "examination.shadows_invalid"),
        ({"kinds": ["engine"]}, "examination.no_claim"),  # a waived model claims nothing
        ({"epsilon": "0"}, "run.epsilon_invalid"),
        ({"epsilon": "nan"}, "run.epsilon_invalid"),
        ({"epsilon": "much"}, "run.epsilon_invalid"),
        ({"epsilon": "4"}, "examination.epsilon_over"),  # over RUN_APPROVAL_EPSILON
        ({"epsilon": "0.000001"}, "budget.unreachable"),
        ({"idempotency_key": "k" * 101}, "examination.key_invalid"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    house: House, version: ModelVersion, changed: dict[str, Any], code: str
) -> None:
    with pytest.raises(DomainError) as refused:
        asked(house, version, **changed)
    assert refused.value.stable_code == code
    with across_tenants(reason="a test looks"):
        assert not Examination.objects.exists()
        assert not BudgetEntry.objects.exists()
        assert not Job.objects.filter(kind="examine").exists()
    assert last()[0] in {"denied", "failed"}


def test_private_rows_are_not_shown_to_shadow_models(house: House, version: ModelVersion) -> None:
    with tenant_scope(house.id):
        version.guarantee = Guarantee.DP
        version.save()
    with pytest.raises(DomainError) as refused:
        asked(house, version, kinds=["loss", "lira"])
    assert refused.value.stable_code == "examination.not_private"
    assert "many records" in refused.value.detail
    assert last()[0] == "denied"


def test_public_rows_charge_nothing(house: House, version: ModelVersion) -> None:
    with tenant_scope(house.id):
        dataset = version.run.version.dataset  # type: ignore[union-attr]  # it has one
        dataset.declarations = {**DECLARATIONS, "public": True}
        dataset.save()
    made = asked(house, version, kinds=["lira", "loss", "loss"], shadows="6", epsilon="9")
    assert (made.kinds, made.shadows, made.run_id) == (["loss", "lira"], 6, None)
    assert made.epsilon == 0
    with tenant_scope(house.id):
        assert not Budget.objects.exists()


def test_the_budget_ends(house: House, version: ModelVersion) -> None:
    with tenant_scope(house.id):
        data = version.run.version  # type: ignore[union-attr]  # it has one
        Budget.objects.create(
            tenant=house.tenant, dataset=data.dataset, epsilon_cap=Decimal(1), delta="0.00001"
        )
    asked(house, version, epsilon="0.9")
    with pytest.raises(BudgetError) as refused:
        asked(house, version, epsilon="0.9")
    assert refused.value.stable_code == "budget.exceeded"
    with tenant_scope(house.id):
        assert Examination.objects.count() == 1
        assert Run.objects.filter(model_name="people-risk-examination").count() == 1


def test_a_model_that_was_not_trained_here_has_no_rows(house: House, version: ModelVersion) -> None:
    with tenant_scope(house.id):
        version.run = None
        version.save()
    with pytest.raises(DomainError) as refused:
        asked(house, version)
    assert refused.value.stable_code == "examination.no_run"


def test_rows_are_read_for_the_runs_purpose_or_not_at_all(
    house: House, version: ModelVersion
) -> None:
    with tenant_scope(house.id):
        PurposeGrant.objects.all().delete()
    with pytest.raises(DomainError) as refused:
        asked(house, version)
    assert refused.value.stable_code == "purpose.not_granted"


def test_asked_twice_under_one_key_it_is_charged_once(house: House, version: ModelVersion) -> None:
    first = asked(house, version, idempotency_key="k")
    assert asked(house, version, idempotency_key="k").pk == first.pk
    with tenant_scope(house.id):
        assert BudgetEntry.objects.count() == 1
        assert Job.objects.filter(kind="examine").count() == 1
    with pytest.raises(ExaminationStateError) as refused:
        asked(house, version, idempotency_key="k", epsilon="0.2")
    assert refused.value.stable_code == "examination.idempotency_conflict"


@pytest.mark.usefixtures("version")
class TestCommand:
    """`manage.py examine`."""

    def test_in_this_process(self, house: House) -> None:
        code, told = command(
            "examine", "people-risk", "--here", "--epsilon", "1", who="house-engineer"
        )
        assert code == 0
        assert set(told) == {
            "examination", "model", "version", "kinds", "state", "epsilon_asked", "figures",
            "digest", "labels",
        }  # fmt: skip
        assert (told["model"], told["version"], told["kinds"]) == ("people-risk", 1, ["loss"])
        assert (told["state"], told["epsilon_asked"]) == ("finished", "1.000000")
        assert told["figures"]["objections"] == []
        assert len(told["labels"]["loss"]) == 2
        with tenant_scope(house.id):
            assert Examination.objects.get(pk=told["examination"]).digest == told["digest"]

    def test_a_person_reads_what_it_cannot_show(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("examine", "people-risk", "--here", "--as", "house-engineer")
        out = capsys.readouterr().out
        assert "AUC " in out
        assert "nothing, which proves nothing" in out
        assert "stronger attacks exist" in out
        assert "safe" not in out

    @pytest.mark.parametrize(
        ("words", "who", "status", "code"),
        [
            (["nothing"], "engineer", 2, "not_found"),
            (["people-risk", "--version-number", "7"], "engineer", 2, "model.no_version"),
            (["people-risk"], "auditor", 3, "permission.role_missing"),
            (["people-risk", "--epsilon", "4"], "engineer", 3, "examination.epsilon_over"),
            (["people-risk", "--epsilon", "x"], "engineer", 2, "run.epsilon_invalid"),
            (["people-risk", "--kind", "engine"], "engineer", 3, "examination.no_claim"),
            (["people-risk", "--kind", "lira", "--shadows", "3"], "officer", 2,
             "examination.shadows_invalid"),
        ],
    )  # fmt: skip
    def test_what_is_refused(
        self,
        words: list[str],
        who: str,
        status: int,
        code: str,
    ) -> None:
        with leases.doing_it_here():
            exited, told = command("examine", *words, who=f"house-{who}")
        assert (exited, told["code"]) == (status, code)

    def test_waiting_ends(self, house: House) -> None:
        with leases.doing_it_here():
            exited, told = command(
                "examine", "people-risk", "--wait", "--timeout", "0", who="house-engineer"
            )
        assert (exited, told["code"]) == (4, "examination.wait_over")
        with tenant_scope(house.id):
            PurposeGrant.objects.all().delete()
        exited, told = command("examine", "people-risk", "--here", who="house-engineer")
        assert (exited, told["code"]) == (3, "purpose.not_granted")


def spent(house: House, made: Examination) -> tuple[float, float]:
    """What the dataset's budget says: spent, reserved."""
    with tenant_scope(house.id):
        assert made.run is not None
        said = ledger.statement(Budget.objects.get(dataset=made.run.version.dataset))
    return said.spent, said.reserved


@pytest.mark.parametrize("who", ["engineer", "officer"])
def test_a_waiting_one_is_cancelled_for_nothing(
    house: House, version: ModelVersion, who: str
) -> None:
    made = asked(house, version)
    assert spent(house, made)[1] > 0
    with tenant_scope(house.id):
        made = cancel_examination(getattr(house, who), made)
    assert (made.state, made.error_code) == ("cancelled", "")
    assert made.ended_at is not None
    assert spent(house, made) == (0, 0)
    with tenant_scope(house.id):
        assert Job.objects.get(subject=made.reference).state == "cancelled"
        assert made.run is not None
        made.run.refresh_from_db()
    assert made.run.state == RunState.CANCELLED
    outcome, body = last("examination.cancelled")
    assert (outcome, body["facts"]) == (
        "done",
        {"model": version.reference, "run": made.run.reference, "epsilon": "0.000000"},
    )
    leases.run_here(made.reference)  # a message that comes late finds nothing to do
    with tenant_scope(house.id):
        made.refresh_from_db()
        assert made.state == "cancelled"
        with pytest.raises(ExaminationStateError):
            cancel_examination(house.engineer, made)


def test_one_at_work_ends_at_what_it_wrote_ahead(house: House, version: ModelVersion) -> None:
    made = asked(house, version)
    with tenant_scope(house.id):
        job = Job.objects.get(subject=made.reference)
        lease = leases.claim(job.pk)
        assert lease is not None
        assert made.run is not None
        write_ahead(made.run, 1, ledger.account(made.run, 1).reserved, lease)
        made = cancel_examination(house.officer, made)
        assert made.state == "cancelled"
        with pytest.raises(LostLeaseError):
            lease.beat()
        worker = examining_worker(house.id)
        with pytest.raises(ExaminationStateError):
            finish_examination(worker, made, lease=lease, figures={"objections": []})
        with pytest.raises(ExaminationStateError):
            stop_examination(worker, made, lease=lease, code="internal")
        made.refresh_from_db()
        assert (made.state, made.figures) == ("cancelled", {})
    charged, reserved = spent(house, made)
    assert 0.0999 < charged <= 0.1
    assert reserved == 0


def test_a_cancelled_worker_stops_at_its_next_beat(
    house: House, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import examining

    made = asked(house, version, kinds=["loss"])
    beat = examining._Attempt._beat

    def cancel(self: Any, stage: str) -> None:
        if stage == "finish":
            cancel_examination(house.engineer, self.examination)
        beat(self, stage)

    monkeypatch.setattr(examining._Attempt, "_beat", cancel)
    leases.run_here(made.reference)
    with tenant_scope(house.id):
        made.refresh_from_db()
    assert (made.state, made.figures) == ("cancelled", {})
    assert spent(house, made)[0] > 0.09


@pytest.mark.parametrize("who", ["steward", "auditor", "owner", "platform"])
def test_who_may_not_ask_may_not_cancel(house: House, version: ModelVersion, who: str) -> None:
    made = asked(house, version)
    with tenant_scope(house.id), pytest.raises(RefusedError):
        cancel_examination(getattr(house, who), made)
    assert last("examination.cancelled")[0] == "denied"


def test_cancelled_on_the_command_line(house: House, version: ModelVersion) -> None:
    made = asked(house, version)
    code, told = command("cancel_examination", str(made.pk), who="house-engineer")
    assert (code, told["state"], told["epsilon_spent"]) == (0, "cancelled", "0.000000")
    code, error = command("cancel_examination", str(made.pk), who="house-engineer")
    assert (code, error["code"]) == (3, "examination.state")
    waits = Command()
    with tenant_scope(house.id), pytest.raises(ExaminationFailedError) as ended:
        waits._wait(made, 5)
    assert ended.value.stable_code == "examination.cancelled"


def test_its_account_is_not_cancelled_as_a_run(house: House, version: ModelVersion) -> None:
    made = asked(house, version)
    run = made.run
    assert run is not None
    with tenant_scope(house.id), pytest.raises(RunStateError) as refused:
        cancel_run(house.engineer, run)
    assert refused.value.stable_code == "run.not_trained"


def test_which_changes_of_an_examination_are_legal() -> None:
    for start, ends in LEGAL_OF_EXAMINATIONS.items():
        for to in ExaminationState:
            if to in ends:
                continue
            with pytest.raises(ExaminationStateError):
                move_examination(Examination(state=start), to)
