"""One attempt from claim to model version; and every way in which it may end before that."""

import errno
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone
from pytest_django.fixtures import Settings

from audit.canonical import decimal
from audit.models import AuditEntry
from governance import leases
from governance.errors import LostLeaseError
from governance.models import Job, PurposeGrant, StoredObject
from governance.models.jobs import JobState
from governance.pulse import Pulse
from governance.scoping import across_tenants, tenant_scope
from governance.vault import ObjectWriter, open_object
from tests.factories.people import House, make_house
from tests.factories.processes import forked
from tests.factories.training import DECLARATIONS, SMALL, approve, ask, make_version, trained
from training import checkpoints, ledger, pipeline
from training.actions.runs import cancel_run, retry_run
from training.charges import Charge, Part, cost
from training.errors import CheckpointError, RunRefusedError
from training.mechanisms import Purpose
from training.models import Checkpoint, Model, ModelState, ModelVersion, Run, RunPoint, RunState
from training.recomputation import recompute
from training.serving import LoadedModel
from training.split import SHARE, held_out_rows
from training.write_ahead import write_ahead

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
        assert 0 <= model.predict_proba([row])[0] <= 1  # noise may drive it to the last digit
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


TEXT: dict[str, Any] = {"kind": "encoded", "encoder": "minilm-l6"}
IGNORED: dict[str, Any] = {"kind": "ignore"}


def test_text_and_numbers_train_one_model_which_is_served_and_explained(house: House) -> None:
    from audit.explanations import explain_row, verify_record
    from gateway import serving

    columns = {**DECLARATIONS["columns"], "note": TEXT}
    version = make_version(house, declarations={**DECLARATIONS, "columns": columns})
    with pytest.raises(RunRefusedError) as caught:  # a text is no target, encoded or not
        ask(house, version, target="note", positive="<PERSON> called")
    assert caught.value.stable_code == "run.target_barred"
    made = trained(house, version, model="linear", config={"steps": 3, "expected_batch": 40})
    assert "note" not in made.card["barred_columns"]
    (told,) = (f for f in made.card["preprocessing"]["features"] if f["name"] == "note")
    assert (told["kind"], told["encoder"]) == ("encoded", "minilm-l6")
    model = serving.loaded(made)
    background = serving.background(model, made)
    row = model.check_row({"city": "north", "note": "He asked twice.", "age": 40, "hours": None})
    record = explain_row(
        model.predict_columns, [row[name] for name in model.spec.names], background,
        record_id="1", model_digest=model.digest, input_commitment="c",
    )  # fmt: skip
    assert verify_record(record).failed == ()
    other = model.predict_proba([row, {**row, "note": "All is well."}])
    assert other[0] != other[1]


def test_adapters_train_by_the_same_run(house: House) -> None:
    columns = {**DECLARATIONS["columns"], "note": TEXT} | dict.fromkeys(
        ("city", "age", "hours"), IGNORED
    )
    version = make_version(house, declarations={**DECLARATIONS, "columns": columns})
    made = trained(
        house, version, model="lora",
        config={"steps": 2, "expected_batch": 6, "lora_rank": 2, "lora_layers": 1},
    )  # fmt: skip
    with tenant_scope(house.id):
        run = fresh(made.run)
        assert account(run).steps == 2
        with open_object(made.artifact) as file:
            stored = file.read()
    assert len(stored) < 50_000
    assert made.card["model"]["kind"] == "lora"
    assert made.card["model"]["parameters"] == 2 * 2 * (2 * 384) + 385
    assert made.card["training"]["config"]["lora_layers"] == 1
    model = LoadedModel(stored, expected=made.artifact_digest)
    assert 0 <= model.predict_proba([model.check_row({"note": "called again"})])[0] <= 1


def test_without_the_encoder_a_run_says_so_and_costs_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from training import encoder, packaged

    columns = {**DECLARATIONS["columns"], "note": TEXT}
    version = make_version(house, declarations={**DECLARATIONS, "columns": columns})
    run = ask(house, version)
    elsewhere = replace(packaged.ENCODERS["minilm-l6"], folder=tmp_path)
    monkeypatch.setattr(encoder, "_loaded", lambda _: encoder.SentenceEncoder(elsewhere))
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "encoder.missing")
    with tenant_scope(house.id):
        assert ledger.statement(version.dataset.budget).spent == 0


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
        # Without noise, counts of people stay out of the card.
        told = made.card["evaluation"]["release"]
        assert ("score_counts" in told) is (guarantee == "public-data")
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


def _lost_at_twenty(house: House, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose worker died after its first block."""
    run = ask(house, make_version(house))

    def die(self: Any, progress: Any) -> None:
        del self, progress
        raise LostLeaseError("dead")

    monkeypatch.setattr(pipeline._Attempt, "_draw", die)
    leases.run_here(run.reference)
    monkeypatch.undo()
    return fresh(run)


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
    pipeline.work(expire(run).id)  # the other died as well
    assert fresh(run).state == RunState.FINISHED
    assert account(run).steps == 45


def test_without_a_checkpoint_what_was_touched_is_not_begun_again(house: House) -> None:
    run = ask(house, make_version(house))
    lease = leases.claim(job_of(run).id)
    assert lease is not None
    with tenant_scope(house.id):
        charges = ledger.account(run, 1).reserved[:1]
        write_ahead(run, 1, charges, lease)
    expire(run)
    pipeline.work(job_of(run).id)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "run.worker_lost")
    assert account(run).steps == 45  # written ahead in one block


@pytest.mark.parametrize(
    "damage",
    [lambda stored: stored[:-1] + b"\0", lambda stored: stored[:0], lambda stored: stored[:100]],
)
def test_a_damaged_checkpoint_stops_the_run_at_what_it_cost(
    house: House, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    run = _lost_at_twenty(house, monkeypatch)
    with tenant_scope(house.id):
        path = Path(default_storage.path(Checkpoint.objects.get(run=run).stored.name))
    path.write_bytes(damage(path.read_bytes()))
    pipeline.work(expire(run).id)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "checkpoint.damaged")
    assert account(run).steps == 20
    with tenant_scope(house.id):
        assert not Checkpoint.objects.exists()


def _cancelled_at(step: int, house: House, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Carried out, and stopped by a person after `step`."""
    draw = pipeline._Attempt._draw

    def cancel(self: Any, progress: Any) -> None:
        draw(self, progress)
        if progress.step == step:
            cancel_run(house.engineer, self.run)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline._Attempt, "_draw", cancel)
        leases.run_here(run.reference)
    return fresh(run)


def test_a_stopped_run_goes_on_and_is_paid_for_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make_version(house, declarations=UNBOUNDED)
    run = _cancelled_at(20, house, ask(house, version), monkeypatch)
    with tenant_scope(house.id):
        part = ledger.statement(version.dataset.budget).spent
        with leases.doing_it_here():
            run = retry_run(house.engineer, run)
        assert (run.attempt, run.since) == (2, 1)
        said = ledger.statement(version.dataset.budget)
    assert said.spent == part
    assert 0.99 < said.spent + said.reserved <= 1.0  # as if it had never stopped
    run = _cancelled_at(40, house, run, monkeypatch)
    with tenant_scope(house.id), leases.doing_it_here():
        run = retry_run(house.engineer, run)
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.attempt, run.since) == (RunState.FINISHED, 3, 1)
    account(run)  # the recomputation agrees
    with tenant_scope(house.id):
        assert ledger.line(run).steps == 45
        steps = [ledger.account(run, attempt).steps for attempt in (1, 2, 3)]
        assert steps == [20, 20, 5]
        bought = [c.mechanism.purpose for c in ledger.line(run).ahead].count(Purpose.BOUNDS)
        assert bought == 1
        said = ledger.statement(version.dataset.budget)
        assert 0.99 < said.spent <= 1.0
        made = ModelVersion.objects.get(run=run)
        assert made.card["privacy"]["epsilon_spent"] == decimal(said.spent)
        assert not Checkpoint.objects.exists()
    assert [point.step for point in points_of(run) if point.attempt == 3] == [20, 40, 45]


def test_what_diverged_begins_anew(house: House) -> None:
    run = ask(house, make_version(house), config={**SMALL, "learning_rate": "1e38"})
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        assert not Checkpoint.objects.exists()  # and its secret is gone
        with leases.doing_it_here():
            run = retry_run(house.engineer, fresh(run))
    assert (run.attempt, run.since) == (2, 2)


def test_a_run_whose_steps_are_all_paid_for_goes_on_for_its_model(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make_version(house)
    run = ask(house, version)

    def broken(*_args: Any, **_kwargs: Any) -> Any:
        raise ValueError

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_sealed", broken)
        leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "internal")
    with tenant_scope(house.id), leases.doing_it_here():
        spent = ledger.statement(version.dataset.budget).spent
        run = retry_run(house.engineer, run)
        assert ledger.account(run, 2).reserved == []
    leases.run_here(run.reference)
    assert fresh(run).state == RunState.FINISHED
    with tenant_scope(house.id):
        assert ledger.statement(version.dataset.budget).spent == spent


def test_another_runs_checkpoint_is_not_taken_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _lost_at_twenty(house, monkeypatch)
    with tenant_scope(house.id):
        kept = checkpoints.read(run, Checkpoint.objects.get(run=run))
        forged = checkpoints.to_bytes(kept, {**checkpoints.binding(run), "since": 2})
        with pytest.raises(CheckpointError):
            checkpoints.from_bytes(forged, checkpoints.binding(run))


def test_a_full_disk_stops_the_run_and_the_ledger_is_right(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ask(house, make_version(house))
    keep, times = ObjectWriter.finish, iter(range(100))

    def full(self: Any) -> Any:
        if self._kind == "checkpoint" and next(times) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return keep(self)

    monkeypatch.setattr(ObjectWriter, "finish", full)
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "checkpoint.not_written")
    known = account(run)
    assert (known.steps, known.closed) == (40, True)
    assert not list((Path(settings.PORTCULLIS_HOME) / "objects").rglob("*.part"))


def test_a_checkpoint_is_written_as_often_as_the_settings_say(
    house: House, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.CHECKPOINT_SECONDS = 3600.0
    written: list[int] = []
    keep = checkpoints.keep

    def counting(run: Run, kept: checkpoints.Kept, lease: leases.Lease) -> None:
        written.append(kept.step)
        keep(run, kept, lease)

    monkeypatch.setattr(checkpoints, "keep", counting)
    trained(house, make_version(house))
    assert written == [0, 20]  # the secret; the first block; not for an hour


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

    monkeypatch.setattr(pipeline, "fit", broken)
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
    # moment: steps executed, steps charged, steps that the next worker need not run again
    "begun": (0, 0, 0),
    "secret": (0, 0, 0),
    "ahead": (0, 20, 0),
    "step": (27, 40, 20),
    "kept": (40, 40, 40),
    "evaluation": (45, 45, 45),
    "sealed": (45, 45, 45),
    "committing": (45, 45, 45),
    "committed": (45, 45, 0),
}


def _kept(run: Run) -> int:
    with tenant_scope(run.tenant_id):
        row = Checkpoint.objects.filter(run=run).first()
        return 0 if row is None else row.step


def points_of(run: Run) -> list[RunPoint]:
    with tenant_scope(run.tenant_id):
        return list(RunPoint.objects.filter(run=run).order_by("step"))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_killed_at_any_moment_nothing_is_charged_twice(
    home: Any,
) -> None:
    """SIGKILL to a real worker; the ledger afterwards, and what the next worker makes of it."""
    house = make_house()
    version = make_version(house)
    runs = {moment: ask(house, version, epsilon="0.5", name=moment) for moment in MOMENTS}
    jobs = {moment: job_of(run) for moment, run in runs.items()}
    ends = forked(home, "train", *[f"{jobs[moment].id}:{moment}" for moment in MOMENTS])
    assert ends == [-9] * len(MOMENTS)
    for moment, (executed, charged, kept) in MOMENTS.items():
        run, job = fresh(runs[moment]), jobs[moment]
        assert len((home / f"{job.id}.steps").read_bytes() if executed else b"") == executed
        known = account(run)
        assert (moment, known.steps) == (moment, charged)
        assert known.closed is (moment == "committed")
        if moment != "committed":
            assert (run.state, job_of(run).state) == (RunState.RUNNING, JobState.RUNNING)
            expire(run)
        assert (moment, _kept(run)) == (moment, kept)
        pipeline.work(job.id)
        run = fresh(run)
        assert (moment, run.state, run.error_code) == (moment, RunState.FINISHED, "")
        known = account(run)
        assert (moment, known.closed, known.steps) == (moment, True, 45)
        assert [charge.part for charge in known.ahead].count(Part.HELD_OUT) == 1
        assert [point.step for point in points_of(run)] == [20, 40, 45]
    with tenant_scope(house.id):
        assert ModelVersion.objects.count() == Model.objects.count() == len(MOMENTS)
        assert not Checkpoint.objects.exists()
        assert not StoredObject.objects.filter(kind="checkpoint").exists()
        charged_in_all = [
            Charge(runs_charge.mechanism, runs_charge.part)
            for run in runs.values()
            for runs_charge in ledger.account(run, 1).ahead
        ]
        said = ledger.statement(version.dataset.budget)
        assert said.spent == pytest.approx(cost(charged_in_all, 1e-5))
        assert said.reserved == 0
