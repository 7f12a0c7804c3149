"""A job in memory: what each rank takes of it, and that none can change it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.factories.ranks import ROWS, Caller, alone, job_of
from training.distributed import jobs
from training.dpsgd import Snapshot, Trained
from training.errors import EngineError


@pytest.fixture
def snapshot() -> Snapshot:
    caller = Caller(cancel_after=1)
    alone(job_of(), caller)
    return caller.snapshots[-1]


@pytest.fixture
def memory(snapshot: Snapshot) -> Iterator[int]:
    descriptor = jobs.share(job_of(after=snapshot, paid=40))
    yield descriptor
    os.close(descriptor)


def test_each_rank_takes_its_own_records_and_all_the_rest(memory: int, snapshot: Snapshot) -> None:
    whole = job_of()
    taken = [jobs.take(memory, rank, 3) for rank in range(3)]
    assert sum(len(job.features) for job in taken) == ROWS
    for rank, job in enumerate(taken):
        assert torch.equal(job.features, whole.features[rank::3])
        assert torch.equal(job.labels, whole.labels[rank::3])
        assert (job.plan, job.config, job.spec) == (whole.plan, whole.config, whole.spec)
        assert (job.paid, job.block) == (40, whole.block)
        assert job.secret.reveal() == whole.secret.reveal()
        assert job.secret.name == whole.secret.name
        assert job.after is not None
        assert (job.after.step, job.after.curve) == (20, snapshot.curve)
        assert job.after.tensors.keys() == snapshot.tensors.keys()
        assert all(
            torch.equal(value, snapshot.tensors[name]) for name, value in job.after.tensors.items()
        )


def test_a_job_without_a_snapshot_has_none() -> None:
    descriptor = jobs.share(job_of())
    assert jobs.take(descriptor, 0, 1).after is None
    os.close(descriptor)


def test_nobody_can_write_to_it(memory: int) -> None:
    with pytest.raises(PermissionError):
        os.pwrite(memory, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(memory, 0)
    assert os.get_inheritable(memory) is False


def test_it_is_on_no_disk(memory: int) -> None:
    assert str(Path(f"/proc/self/fd/{memory}").readlink()).startswith("/memfd:")


@pytest.mark.parametrize("stored", [b"", b"\0" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_what_is_no_job_is_refused(stored: bytes) -> None:
    descriptor = os.memfd_create("job")
    os.write(descriptor, stored)
    with pytest.raises(EngineError) as caught:
        jobs.take(descriptor, 0, 1)
    assert caught.value.stable_code == "engine.job_damaged"
    os.close(descriptor)


def test_snapshots_and_results_come_back(snapshot: Snapshot) -> None:
    again = jobs.snapshot_of(jobs.snapshot_bytes(snapshot))
    assert (again.step, again.curve) == (snapshot.step, snapshot.curve)
    trained = Trained({"w": torch.ones(2)}, 20, stopped=True, curve=snapshot.curve)
    result = jobs.trained_of(jobs.trained_bytes(trained))
    assert (result.executed, result.stopped, result.curve) == (20, True, snapshot.curve)
    assert torch.equal(result.state["w"], torch.ones(2))


@pytest.mark.parametrize("stored", [b"", b"\0" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_what_a_rank_did_not_send_is_refused(stored: bytes) -> None:
    for read in (jobs.snapshot_of, jobs.trained_of):
        with pytest.raises(EngineError) as caught:
            read(stored)
        assert caught.value.stable_code == "engine.protocol"


def test_a_snapshot_without_a_block_is_refused(snapshot: Snapshot) -> None:
    empty = jobs.snapshot_bytes(Snapshot(0, snapshot.tensors, ()))
    with pytest.raises(EngineError):
        jobs.snapshot_of(empty)
