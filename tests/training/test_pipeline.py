"""One attempt from claim to model version; and every way in which it may end before that."""

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from django.utils import timezone

from audit.models import AuditEntry
from governance import leases
from governance.models import Job, PurposeGrant
from governance.models.jobs import JobState
from governance.pulse import Pulse
from governance.scoping import across_tenants, tenant_scope
from governance.vault import open_object
from tests.factories.people import House, make_house
from tests.factories.processes import forked
from tests.factories.training import DECLARATIONS, SMALL, approve, ask, make_version, trained
from training import ledger, pipeline
from training.actions.runs import cancel_run
from training.charges import Charge, Part, cost
from training.mechanisms import Purpose
from training.models import Model, ModelState, ModelVersion, Run, RunPoint, RunState
from training.recomputation import recompute
from training.serving import LoadedModel
from training.split import SHARE, held_out_rows

UNBOUNDED: dict[str, Any] = {
    **DECLARATIONS,
    "columns": {**DECLARATIONS["columns"], "hours": {"kind": "numeric"}},
}


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


def job_of(run: Run) -> Job:
    with across_tenants(reason="a test looks"):
        return Job.objects.filter(subject=run.reference).latest("created_at")


def outcome(event: str) -> tuple[str, str | None]:
    """How the newest entry of an event ended, and why."""
    import json

    entry = AuditEntry.objects.filter(event=event).order_by("at").last()
    assert entry is not None
    return entry.outcome, json.loads(bytes(entry.body))["reason"]


def account(run: Run) -> ledger.Account:
    """What the ledger says of the run's newest attempt, confirmed by the recomputation."""
    with tenant_scope(run.tenant_id):
        budget = run.version.dataset.budget
        said, again = ledger.statement(budget), recompute(budget)
        assert again.agrees(said.spent, said.spent + said.reserved)
        return ledger.account(run, run.attempt)


def fresh(run: Run | None) -> Run:
    assert run is not None
    with tenant_scope(run.tenant_id):
        return Run.objects.select_related("version__dataset").get(pk=run.pk)


def expire(run: Run) -> Job:
    """The worker is dead and its lease is over."""
    job = job_of(run)
    with across_tenants(reason="a test turns the clock"):
        Job.objects.filter(pk=job.pk).update(leased_until=timezone.now() - timedelta(seconds=1))
    return job


def test_the_split_is_fixed_and_reads_nothing_of_the_rows(house: House) -> None:
    version = make_version(house)
    long, short = (held_out_rows(version.dataset_id, rows) for rows in (20_000, 500))
    assert (long[:500] == short).all()
    assert long.mean() == pytest.approx(SHARE, abs=0.01)
    other = make_version(house, "others")
    assert (held_out_rows(other.dataset_id, 500) != short).any()


def test_a_run_becomes_a_registered_version(house: House) -> None:
    version = make_version(house)
    made = trained(house, version, name="income-risk")
    with tenant_scope(house.id):
        run = fresh(made.run)
        known = account(run)
        assert (run.state, job_of(run).state) == (RunState.FINISHED, JobState.DONE)
        assert (made.state, made.number) == (ModelState.REGISTERED, 1)
        # The ledger: every step, in blocks, before the release about the held-out rows.
        assert (known.closed, known.steps) == (True, 45)
        assert [c.mechanism.steps for c in known.ahead] == [20, 20, 5, 1]
        assert known.ahead[-1].part is Part.HELD_OUT
        assert known.ahead[-1].mechanism.purpose is Purpose.EVALUATION
        said = ledger.statement(version.dataset.budget)
        assert 0.99 < said.spent <= 1.0
        assert said.left == pytest.approx(9.0, abs=0.01)
        points = list(RunPoint.objects.filter(run=run).values_list("step", "steps"))
        assert points == [(20, 45), (40, 45), (45, 45)]
        last = run.points.last()
        assert last is not None
        assert last.epsilon == pytest.approx(said.spent)
        # The artifact: sealed, and a model that answers.
        with open_object(made.artifact) as file:
            stored = file.read()
        model = LoadedModel(stored, expected=made.artifact_digest)
        row = model.check_row({"city": "north", "age": 40, "hours": "38.5"})
        assert 0 < model.predict_proba([row])[0] < 1
        assert safetensors.torch.load(stored)
    assert made.card["privacy"]["epsilon_asked"] == "1.0"
    assert made.card["dataset"]["name"] == "people"
    assert made.card["run"] == {"id": str(run.id), "attempt": 1}
    assert [feature["name"] for feature in made.card["preprocessing"]["features"]] == [
        "city", "age", "hours",
    ]  # fmt: skip
    assert made.card["barred_columns"] == {
        "person": "subject",
        "name": "identifier.pseudonym",
        "phone": "identifier.keep",
        "born": "identifier.generalize",
        "note": "prose",
    }
    for event in ("run.requested", "run.begun", "run.finished"):
        assert outcome(event) == ("done", None)


def test_the_background_is_the_one_that_explanations_will_use(house: House) -> None:
    from gateway import serving

    made = trained(house, make_version(house))
    background = serving.background(serving.loaded(made), made)
    assert background.digest() == made.background_digest
    assert len(background.rows) == pipeline.BACKGROUND_ROWS


def test_a_second_run_of_the_name_is_the_next_version(house: House) -> None:
    version = make_version(house)
    first, second = trained(house, version), trained(house, version, model="linear",
        config={"steps": 5})  # fmt: skip
    assert (first.model, first.number, second.number) == (second.model, 1, 2)
    with tenant_scope(house.id):
        said = ledger.statement(version.dataset.budget)
    assert said.spent < 2.0  # composed, not added
    assert said.spent > max(attempt.spent for attempt in said.attempts)


def test_undeclared_bounds_are_paid_for_before_the_first_step(house: House) -> None:
    made = trained(house, make_version(house, declarations=UNBOUNDED))
    known = account(fresh(made.run))
    assert [charge.mechanism.purpose for charge in known.ahead] == [
        Purpose.BOUNDS, *[Purpose.TRAINING] * 3, Purpose.EVALUATION,
    ]  # fmt: skip
    hours = next(f for f in made.card["preprocessing"]["features"] if f["name"] == "hours")
    assert hours["provenance"] == "paid"
    assert cost(known.ahead, 1e-5) <= 1.0


@pytest.mark.parametrize("guarantee", ["public-data", "waived"])
def test_a_run_without_a_guarantee_says_so_everywhere(house: House, guarantee: str) -> None:
    version = make_version(house, declarations={**UNBOUNDED, "public": True})
    run = ask(house, version, guarantee=guarantee)
    if guarantee == "waived":
        from governance import approvals
        from governance.permissions import ProposalKind

        assert run.state == RunState.AWAITING_APPROVAL
        with tenant_scope(house.id):
            proposal = approvals.latest(ProposalKind.RUN_WAIVER, run)
        assert proposal is not None
        approve(house, proposal)
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        made = ModelVersion.objects.get(run=run)
        assert made.guarantee == guarantee
        assert made.card["privacy"]["guarantee"] == guarantee
        known = account(fresh(run))
        assert (known.ahead, known.touched, known.closed) == ([], True, True)
        said = ledger.statement(version.dataset.budget)
        assert said.spent == 0
        assert said.unprotected == ((run.reference,) if guarantee == "waived" else ())


def test_cancelled_at_work_it_stops_and_costs_what_it_wrote(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ask(house, make_version(house))
    draw = pipeline._Attempt._draw

    def cancel_once(self: Any, progress: Any) -> None:
        draw(self, progress)
        if progress.step == 20:
            cancel_run(house.engineer, self.run)

    monkeypatch.setattr(pipeline._Attempt, "_draw", cancel_once)
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.CANCELLED, "run.cancelled")
    known = account(run)
    assert (known.steps, known.closed, job_of(run).state) == (20, True, JobState.CANCELLED)
    assert outcome("run.stopped") == ("done", None)
    with tenant_scope(house.id):
        assert not ModelVersion.objects.exists()
        assert 0 < ledger.statement(run.version.dataset.budget).spent < 1


def test_a_worker_that_lost_its_lease_writes_nothing_more(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ask(house, make_version(house))
    draw = pipeline._Attempt._draw

    def lose(self: Any, progress: Any) -> None:
        draw(self, progress)
        expire(run)
        assert leases.claim(self.lease.job_id) is not None  # another worker

    monkeypatch.setattr(pipeline._Attempt, "_draw", lose)
    leases.run_here(run.reference)
    run = fresh(run)
    assert run.state == RunState.RUNNING  # it is the other worker's to say how it ended
    known = account(run)
    assert (known.steps, known.closed) == (20, False)
    monkeypatch.undo()
    pipeline.work(expire(run).id)
    assert fresh(run).error_code == "run.worker_lost"


def test_weights_that_diverge_fail_the_run_and_stay_charged(house: House) -> None:
    run = ask(house, make_version(house), config={**SMALL, "learning_rate": "1e38"})
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "engine.diverged")
    assert account(run).steps == 20
    assert outcome("run.stopped") == ("failed", "engine.diverged")


def test_whatever_else_goes_wrong_is_told_without_its_text(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> Any:
        raise ValueError("11010518991231004X")

    monkeypatch.setattr(pipeline, "train", broken)
    run = ask(house, make_version(house))
    leases.run_here(run.reference)
    assert fresh(run).error_code == "internal"
    assert "ValueError at test_pipeline.py" in caplog.text
    assert "11010518991231004X" not in caplog.text


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"declarations": {**DECLARATIONS, "columns": {}}}, "run.declarations_changed"),
        ({"declarations": {"columns": {"gone": {"kind": "text"}}}}, "feature.column_missing"),
    ],
)
def test_declarations_that_changed_meanwhile_stop_it_before_it_reads(
    house: House, change: dict[str, Any], code: str
) -> None:
    version = make_version(house)
    run = ask(house, version)
    with tenant_scope(house.id):
        type(version.dataset).objects.filter(pk=version.dataset_id).update(**change)
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, code)
    known = account(run)
    assert (known.touched, known.closed) == (False, True)


def test_a_purpose_that_was_withdrawn_meanwhile_stops_it_before_it_reads(house: House) -> None:
    run = ask(house, make_version(house))
    with tenant_scope(house.id):
        PurposeGrant.objects.all().delete()
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "purpose.not_granted")
    assert not account(run).touched
    assert outcome("run.begun") == ("denied", "purpose.not_granted")


def test_sealed_rows_that_do_not_open_stop_it_untouched(house: House) -> None:
    version = make_version(house)
    run = ask(house, version)
    from django.core.files.storage import default_storage

    with Path(default_storage.path(version.stored.name)).open("r+b") as file:
        file.seek(-1, io.SEEK_END)
        file.write(b"\0")
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "crypto.open_failed")
    assert not account(run).touched


def test_a_second_message_for_a_finished_run_does_nothing(house: House) -> None:
    made = trained(house, make_version(house))
    before = AuditEntry.objects.count()
    pipeline.work(job_of(fresh(made.run)).id)
    assert AuditEntry.objects.count() == before


def test_a_run_that_keeps_killing_workers_is_stopped_though_it_wrote_nothing(house: House) -> None:
    run = ask(house, make_version(house))
    for _ in range(pipeline.CLAIMS):
        assert leases.claim(job_of(run).id) is not None
        expire(run)
    pipeline.work(job_of(run).id)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "run.worker_lost")
    assert not account(run).touched


@pytest.mark.django_db(transaction=True)
def test_a_heartbeat_keeps_the_lease_during_a_long_step(home: Any) -> None:
    house = make_house()
    run = ask(house, make_version(house))
    lease = leases.claim(job_of(run).id)
    assert lease is not None
    expire(run)
    before = job_of(run).leased_until
    with Pulse(lease, every=0.02) as pulse:
        until = timezone.now() + timedelta(seconds=5)
        while job_of(run).leased_until == before and timezone.now() < until:
            pass
    assert not pulse._thread.is_alive()
    later = job_of(run).leased_until
    assert later is not None
    assert later > timezone.now()


MOMENTS = {
    # moment: executed steps, steps charged, how the next worker leaves the run
    "begun": (0, 0, RunState.FINISHED),
    "ahead": (0, 20, RunState.FAILED),
    "step": (27, 40, RunState.FAILED),
    "evaluation": (45, 45, RunState.FAILED),
    "sealed": (45, 45, RunState.FAILED),
    "committing": (45, 45, RunState.FAILED),
    "committed": (45, 45, RunState.FINISHED),
}


@pytest.mark.django_db(transaction=True)
def test_killed_at_any_moment_the_ledger_covers_what_happened(home: Any) -> None:
    """SIGKILL to a real worker; the ledger afterwards, and what the next worker makes of it."""
    house = make_house()
    version = make_version(house)
    runs = {moment: ask(house, version, epsilon="0.5", name=moment) for moment in MOMENTS}
    jobs = {moment: job_of(run) for moment, run in runs.items()}
    ends = forked(home, "train", *[f"{jobs[moment].id}:{moment}" for moment in MOMENTS])
    assert ends == [-9] * len(MOMENTS)
    for moment, (executed, charged, then) in MOMENTS.items():
        run, job = fresh(runs[moment]), jobs[moment]
        assert len((home / f"{job.id}.steps").read_bytes() if executed else b"") == executed
        known = account(run)
        assert (moment, known.steps) == (moment, charged)
        assert known.closed is (moment == "committed")
        if moment != "committed":
            assert (run.state, job_of(run).state) == (RunState.RUNNING, JobState.RUNNING)
            expire(run)
        pipeline.work(job.id)
        run = fresh(run)
        assert (moment, run.state) == (moment, then)
        known = account(run)
        assert known.closed
        assert known.steps == (45 if then is RunState.FINISHED else charged)
        if then is RunState.FAILED:
            assert run.error_code == "run.worker_lost"
    with tenant_scope(house.id):
        names = set(ModelVersion.objects.values_list("model__slug", flat=True))
        assert names == {"begun", "committed"}
        assert Model.objects.count() == len(MOMENTS)
        charged_in_all = [
            Charge(runs_charge.mechanism, runs_charge.part)
            for run in runs.values()
            for runs_charge in ledger.account(run, 1).ahead
        ]
        said = ledger.statement(version.dataset.budget)
        assert said.spent == pytest.approx(cost(charged_in_all, 1e-5))
        assert said.reserved == 0
