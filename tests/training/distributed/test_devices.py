"""A device is one job's at a time; who comes too late notices; who finds none waits."""

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from governance import leases
from governance.errors import LostLeaseError
from governance.models import Job
from governance.models.jobs import JobState
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import ask, make_version
from training import pipeline, tasks
from training.actions.runs import retry_run
from training.distributed import devices
from training.errors import EngineError
from training.models import DeviceLease, Run, RunState

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


def run_out() -> None:
    """Whoever has devices has died, and its leases are over."""
    DeviceLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def waiting_job(house: House, queue: str) -> Job:
    """A job of no run: to find its place nothing else is read."""
    with tenant_scope(house.id), leases.doing_it_here():
        return leases.enqueue("train", "run:x", queue, tenant_id=house.id)


def taken(job: uuid.UUID, wanted: int, there: int = 3) -> devices.Held:
    held = devices.take(job, wanted, there)
    assert held is not None
    return held


def test_a_device_is_one_jobs_at_a_time(db: None) -> None:
    first = taken(ONE, 2)
    assert first.devices == (0, 1)
    assert devices.take(OTHER, 2, 3) is None  # all or none
    assert taken(OTHER, 1).devices == (2,)
    first.give_back()
    assert taken(OTHER, 2).devices == (0, 1)


def test_of_a_shrunken_machine_only_what_is_there_is_taken(db: None) -> None:
    taken(ONE, 3).give_back()
    assert devices.take(ONE, 3, 2) is None
    assert taken(ONE, 2, 2).devices == (0, 1)


def test_another_hosts_devices_are_others(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    taken(ONE, 3)
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    assert taken(OTHER, 3).devices == (0, 1, 2)


def test_what_ran_out_is_taken_over_and_the_first_one_notices(db: None) -> None:
    first = taken(ONE, 2)
    run_out()
    first.check()  # late, but nobody else came
    assert devices.take(OTHER, 2, 2) is None
    run_out()
    second = taken(OTHER, 1)
    assert second.devices == (0,)
    with pytest.raises(EngineError) as caught:
        first.check()
    assert caught.value.stable_code == "engine.devices_lost"
    with pytest.raises(LostLeaseError):
        first.beat()
    first.give_back()  # nothing of the other's
    second.check()
    assert DeviceLease.objects.get(device=0).job == OTHER
    assert DeviceLease.objects.get(device=1).job is None


def test_the_same_job_taken_twice_is_fenced(db: None) -> None:
    """A worker that comes back after another took its job over, on the same device."""
    first = taken(ONE, 1, 1)
    run_out()
    second = taken(ONE, 1, 1)
    with pytest.raises(EngineError):
        first.check()
    first.give_back()
    second.check()
    assert (first.fences, second.fences) == ({0: 1}, {0: 2})


def test_a_beat_keeps_them(db: None) -> None:
    held = taken(ONE, 2)
    run_out()
    assert held.beat() is False
    assert DeviceLease.objects.filter(job=ONE, expires_at__gt=timezone.now()).count() == 2


@pytest.mark.parametrize(
    ("queue", "there", "processes", "wanted", "held"),
    [
        ("train.cpu", 4, 1, 1, ()),
        ("train.cpu", 4, 2, 2, ()),
        ("train.gpu", 0, 2, 2, ()),  # a machine without devices
        ("train.gpu", 4, 1, 1, (0,)),
        ("train.gpu", 4, 2, 2, (0, 1)),
        ("train.gpu", 2, 8, 2, (0, 1)),  # as many as there are
    ],
)
def test_where_a_run_trains(
    house: House, settings: Settings, queue: str, there: int, processes: int, wanted: int,
    held: tuple[int, ...],
) -> None:  # fmt: skip
    settings.TRAINING_DEVICES, settings.TRAINING_PROCESSES = there, processes
    place = devices.place(waiting_job(house, queue).pk)
    assert place is not None
    assert (place.ranks.processes, place.ranks.devices) == (wanted, held)
    assert place.here is (wanted == 1 and not held)
    with place:
        place.check()
        assert DeviceLease.objects.exclude(job=None).count() == len(held)
    assert not DeviceLease.objects.exclude(job=None).exists()


def test_no_job_has_no_place(db: None) -> None:
    assert devices.place(ONE) is None


def test_devices_are_counted_by_name(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("nvidia0", "nvidia1", "nvidia12", "nvidiactl", "nvidia-uvm", "nvidia-caps")
    settings.TRAINING_DEVICES = None
    monkeypatch.setattr(Path, "glob", lambda _self, _what: [Path(name) for name in names])
    assert devices.count() == 3


def test_a_run_waits_unclaimed_and_is_sent_when_devices_are_free(
    house: House, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRAINING_DEVICES = 1
    sent: list[uuid.UUID] = []
    monkeypatch.setattr(tasks.train, "apply_async", lambda to, **_: sent.append(uuid.UUID(to[0])))
    first, second = (waiting_job(house, "train.gpu") for _ in range(2))
    mine = devices.place(first.pk)
    assert mine is not None
    with mine:
        assert leases.claim(first.pk) is not None
        pipeline.work(second.pk)
        with across_tenants(reason="a test looks"):
            second.refresh_from_db()
        assert (second.state, second.fence) == (JobState.WAITING, 0)
        assert sent == []
    assert sent == [second.pk]


def test_who_waited_for_a_day_is_told_and_may_ask_again(house: House, settings: Settings) -> None:
    settings.TRAINING_DEVICES = 1
    run = ask(house, make_version(house), queue="train.gpu")
    taken(ONE, 1, 1)
    with across_tenants(reason="a test turns the clock"):
        Job.objects.update(created_at=timezone.now() - devices.WAIT - timedelta(seconds=1))
    pipeline.work(job_of(run).pk)
    with tenant_scope(house.id), leases.doing_it_here():
        run = Run.objects.get(pk=run.pk)
        assert (run.state, run.error_code) == (RunState.FAILED, "engine.devices_busy")
        run = retry_run(house.engineer, run)
    assert (run.state, run.attempt) == (RunState.QUEUED, 2)


def job_of(run: Run) -> Job:
    with across_tenants(reason="a test looks"):
        return Job.objects.filter(subject=run.reference).latest("created_at")
