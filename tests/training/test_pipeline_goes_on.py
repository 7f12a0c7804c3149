"""Workers die and runs are stopped: what the next attempt, or the next worker, makes of it."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone
from pytest_django.fixtures import Settings

from audit.canonical import decimal
from governance import leases
from governance.models import StoredObject
from governance.models.jobs import JobState
from governance.pulse import Pulse
from governance.scoping import tenant_scope
from tests.factories.attempts import (
    UNBOUNDED,
    account,
    cancelled_at,
    expire,
    fresh,
    job_of,
    lost_at_twenty,
    points_of,
)
from tests.factories.people import House, make_house
from tests.factories.processes import forked
from tests.factories.training import SMALL, ask, make_version, trained
from training import checkpoints, ledger, pipeline
from training.actions.runs import retry_run
from training.charges import Charge, Part, cost
from training.errors import CheckpointError
from training.mechanisms import Purpose
from training.models import Checkpoint, Model, ModelVersion, Run, RunState
from training.write_ahead import write_ahead


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


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
    run = lost_at_twenty(house, monkeypatch)
    with tenant_scope(house.id):
        path = Path(default_storage.path(Checkpoint.objects.get(run=run).stored.name))
    path.write_bytes(damage(path.read_bytes()))
    pipeline.work(expire(run).id)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "checkpoint.damaged")
    assert account(run).steps == 20
    with tenant_scope(house.id):
        assert not Checkpoint.objects.exists()


def test_a_stopped_run_goes_on_and_is_paid_for_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make_version(house, declarations=UNBOUNDED)
    run = cancelled_at(20, house, ask(house, version), monkeypatch)
    with tenant_scope(house.id):
        part = ledger.statement(version.dataset.budget).spent
        with leases.doing_it_here():
            run = retry_run(house.engineer, run)
        assert (run.attempt, run.since) == (2, 1)
        said = ledger.statement(version.dataset.budget)
    assert said.spent == part
    assert 0.99 < said.spent + said.reserved <= 1.0  # as if it had never stopped
    run = cancelled_at(40, house, run, monkeypatch)
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
    run = lost_at_twenty(house, monkeypatch)
    with tenant_scope(house.id):
        kept = checkpoints.read(run, Checkpoint.objects.get(run=run))
        forged = checkpoints.to_bytes(kept, {**checkpoints.binding(run), "since": 2})
        with pytest.raises(CheckpointError):
            checkpoints.from_bytes(forged, checkpoints.binding(run))


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
