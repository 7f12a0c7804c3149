"""Runs in two ranks of torchrun; started by `test_distributed.py` on a database of their own.

They take half a minute each where the machine is busy: three processes load torch.
"""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import torch
from django.conf import settings as configured
from django.db import connections, transaction
from pytest_django.fixtures import Settings

from audit.models import AuditEntry
from gateway.settings.env import BASE_DIR
from governance import leases
from governance.models import Job
from governance.scoping import across_tenants, tenant_scope
from governance.vault import open_object
from tests.factories.people import House, make_house
from tests.factories.training import SMALL, ask, make_version
from training import ledger, pipeline
from training.actions.runs import cancel_run, retry_run
from training.artifacts import from_bytes
from training.distributed import devices, supervisor
from training.mechanisms import WHOLE
from training.models import Checkpoint, DeviceLease, ModelVersion, Run, RunState
from training.randomness import Secret, seeded_secret
from training.recomputation import recompute
from training.searching import pick, trials

pytestmark = pytest.mark.django_db(transaction=True)
Moment = Callable[[supervisor._Supervision], None]


@pytest.fixture
def house(transactional_db: None, home: Any, settings: Settings) -> House:
    settings.TRAINING_PROCESSES = 2
    return make_house()


def job_of(run: Run) -> Job:
    with across_tenants(reason="a test looks"):
        return Job.objects.filter(subject=run.reference).latest("created_at")


def fresh(run: Run) -> Run:
    with tenant_scope(run.tenant_id):
        return Run.objects.select_related("version__dataset").get(pk=run.pk)


def account(run: Run, attempt: int) -> ledger.Account:
    with tenant_scope(run.tenant_id):
        budget = run.version.dataset.budget
        said, again = ledger.statement(budget), recompute(budget)
        assert again.agrees(said.spent, said.spent + said.reserved)
        return ledger.account(run, attempt)


def after_blocks(monkeypatch: pytest.MonkeyPatch, blocks: int, do: Moment) -> None:
    """Do something once, when rank 0 has been paid so many blocks."""
    answer = supervisor._Supervision._answer
    seen = iter(range(1, 100))

    def answering(self: Any, channel: Any, said: Any) -> None:
        answer(self, channel, said)
        if said.kind == "pay" and next(seen) == blocks:
            do(self)

    monkeypatch.setattr(supervisor._Supervision, "_answer", answering)


def kill_rank(number: int) -> Moment:
    return lambda supervision: os.kill(supervision._channels[number].peer(), signal.SIGKILL)


def ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return "State:\tZ" in Path(f"/proc/{process}/status").read_text()


def test_a_run_in_two_processes_is_the_run_in_one(house: House, settings: Settings) -> None:
    version = make_version(house)
    run = ask(house, version)
    pipeline.work(job_of(run).pk)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FINISHED, "")
    known = account(run, 1)
    assert (known.closed, known.steps) == (True, 45)
    assert [charge.mechanism.steps for charge in known.ahead] == [20, 20, 5, 1]
    with tenant_scope(house.id):
        assert list(run.points.values_list("step", flat=True)) == [20, 40, 45]
        assert ModelVersion.objects.filter(run=run).count() == 1
        assert not Checkpoint.objects.exists()
    before = AuditEntry.objects.count()
    pipeline.work(job_of(run).pk)  # the message comes again
    assert AuditEntry.objects.count() == before
    assert account(run, 1).steps == 45


def test_a_search_in_two_processes_makes_the_same_trials(
    house: House, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """A trial that diverges in the ranks is the worst there as well, and no error."""
    secrets = (seeded_secret(seed, allow_seeded=True) for seed in count())
    seen = next(one for one in secrets if _draws(one) == [0, 1])
    monkeypatch.setattr(pipeline, "fresh_secret", lambda: seen)
    version = make_version(house)
    among = [{"learning_rate": "1e38"}, {"momentum": 0.5}]
    states = []
    for processes in (1, 2):
        settings.TRAINING_PROCESSES = processes
        config = {**SMALL, "search": {"candidates": among, "trials": 4}}
        run = ask(house, version, config=config, name=f"in-{processes}")
        pipeline.work(job_of(run).pk)
        assert (fresh(run).state, fresh(run).error_code) == (RunState.FINISHED, "")
        assert [len(line) for line in (account(run, 1).reserved, account(run, 1).ahead)] == [3, 3]
        with tenant_scope(house.id):
            made = ModelVersion.objects.get(run=run)
            assert made.card["search"]["chosen"] == 2
            with open_object(made.artifact) as file:
                states.append(from_bytes(file.read()).network.state_dict())
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=1e-5)


def _draws(secret: Secret) -> list[int]:
    """Which of two candidates each trial of a search draws, of four in the mean."""
    return [
        pick(secret.branch(f"trial {number}").stream("candidate"), 2)
        for number in range(1, trials(secret, WHOLE // 4) + 1)
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_a_killed_rank_stops_the_attempt_and_a_retry_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch, settings: Settings, number: int
) -> None:
    version = make_version(house)
    run = ask(house, version)
    ranks: list[int] = []

    def kill(supervision: Any) -> None:
        ranks.extend(channel.peer() for channel in supervision._channels.values())
        kill_rank(number)(supervision)

    with monkeypatch.context() as patch:
        after_blocks(patch, 2, kill)
        pipeline.work(job_of(run).pk)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "engine.rank_lost")
    assert len(ranks) == 2
    assert all(ended(rank) for rank in ranks)
    known = account(run, 1)
    assert (known.steps, known.closed) == (40, True)  # the second block was paid for
    with tenant_scope(house.id), leases.doing_it_here():
        assert Checkpoint.objects.get(run=run).step == 20
        run = retry_run(house.engineer, run)
        assert (run.attempt, run.since) == (2, 1)
    # Two processes began, and one ends it: a checkpoint knows nothing of ranks.
    settings.TRAINING_PROCESSES = 1
    pipeline.work(job_of(run).pk)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FINISHED, "")
    # Each step once: the first attempt paid for 40, the second for the 5 that were left.
    assert account(run, 1).steps + account(run, 2).steps == 45
    with tenant_scope(house.id):
        assert 0.99 < ledger.statement(version.dataset.budget).spent <= 1.0


def test_a_cancelled_run_stops_at_its_next_block(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ask(house, make_version(house))

    def cancel(_supervision: Any) -> None:
        with tenant_scope(house.id):
            cancel_run(house.engineer, fresh(run))

    after_blocks(monkeypatch, 1, cancel)
    pipeline.work(job_of(run).pk)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.CANCELLED, "run.cancelled")
    assert (account(run, 1).steps, account(run, 1).closed) == (20, True)


def test_devices_are_held_while_it_trains_and_free_afterwards(
    house: House, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """Two devices by setting; the ranks find none there and take the CPU."""
    settings.TRAINING_DEVICES = 2
    run = ask(house, make_version(house), queue="train.gpu")
    held: list[int] = []
    after_blocks(
        monkeypatch, 1,
        lambda _: held.extend(
            DeviceLease.objects.filter(job=job_of(run).pk).values_list("device", flat=True)
        ),
    )  # fmt: skip
    pipeline.work(job_of(run).pk)
    assert fresh(run).state == RunState.FINISHED
    assert sorted(held) == [0, 1]
    assert not DeviceLease.objects.exclude(job=None).exists()


def test_who_finds_a_device_being_taken_does_not_wait_for_it(transactional_db: None) -> None:
    """Rows are locked where the database locks rows."""
    if connections["default"].vendor == "sqlite":
        pytest.skip("SQLite has one writer: whoever comes second waits for it")
    first = devices.take(UUID(int=1), 1, 1)
    assert first is not None
    first.give_back()
    with transaction.atomic():
        assert devices.take(UUID(int=1), 1, 1) is not None
        seen: list[object] = []

        def other() -> None:
            try:
                seen.append(devices.take(UUID(int=2), 1, 1))
            finally:
                connections.close_all()

        thread = threading.Thread(target=other)
        thread.start()
        thread.join(30)
        assert seen == [None]


KILLED = """
import os, signal, sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE"]
django.setup()
from uuid import UUID
settings.TRAINING_PROCESSES = 2
from training import pipeline
from training.distributed import supervisor
answer = supervisor._Supervision._answer
def answering(self, channel, said):
    answer(self, channel, said)
    if said.kind == "block":
        peers = [channel.peer() for channel in self._channels.values()]
        print(*peers, self._processes._process.pid, flush=True)
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
supervisor._Supervision._answer = answering
pipeline.work(UUID(sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_ranks_do_not_outlive_their_supervisor(house: House, settings: Settings, how: str) -> None:
    run = ask(house, make_version(house))
    died = subprocess.run(
        [sys.executable, "-c", KILLED, str(job_of(run).pk), how],
        cwd=BASE_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "gateway.settings.test",
            "PORTCULLIS_TEST_HOME": str(configured.PORTCULLIS_HOME),
            "TEST_DATABASE": str(connections["default"].settings_dict["NAME"]),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    expected = -signal.SIGKILL if how == "SIGKILL" else 128 + signal.SIGTERM
    assert died.returncode == expected, died.stderr[-2000:]
    processes = [int(word) for word in died.stdout.split()]
    assert len(processes) == 3
    for process in processes:
        # Not ours to wait for: they are the ranks and the agent of a process that is gone.
        descriptor = open_process(process)
        if descriptor is not None:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            assert poll.poll(60_000), f"{process} is still there"
            os.close(descriptor)
    # The lease runs out, and another worker goes on from the first block, in one process.
    settings.TRAINING_PROCESSES = 1
    with across_tenants(reason="a test turns the clock"):
        Job.objects.filter(pk=job_of(run).pk).update(leased_until="2000-01-01T00:00:00Z")
    pipeline.work(job_of(run).pk)
    assert fresh(run).state == RunState.FINISHED
    assert account(fresh(run), 1).steps == 45


def open_process(process: int) -> int | None:
    try:
        return os.pidfd_open(process)
    except ProcessLookupError:
        return None
