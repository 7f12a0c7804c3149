"""The message: an id on the queue that the job names; lost, doubled or late, it does no harm."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from celery.contrib.testing.worker import start_worker
from django.db import connections

from gateway.celery import app
from governance import leases
from governance.models import Job
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import ASKED, make_version, untrained
from training import tasks
from training.actions.examinations import request_examination
from training.actions.runs import request_run
from training.models import Run, RunState


@pytest.fixture
def house(transactional_db: None, home: Any) -> House:
    return make_house()


@pytest.fixture
def broker() -> Iterator[Path]:
    """The folder of this process's broker, empty."""
    options = app.conf.broker_transport_options
    if "data_folder_in" not in options:
        pytest.skip("the suite runs on a real broker: tests/services looks at it")
    folder = Path(options["data_folder_in"])
    _empty(folder)
    yield folder
    _empty(folder)


def _empty(folder: Path) -> None:
    for path in folder.glob("*.msg"):
        path.unlink()


def request(house: House, **asked: Any) -> Run:
    """A run requested as the API does it: its message is sent when the request commits."""
    version = make_version(house)
    with tenant_scope(house.id):
        return request_run(house.engineer, version, **{**ASKED, **asked})


def job_of(run: Run) -> Job:
    with across_tenants(reason="a test looks"):
        return Job.objects.get(subject=run.reference)


def messages(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.msg"))]


@pytest.mark.parametrize("queue", ["train.cpu", "train.gpu"])
def test_the_message_holds_an_id_and_goes_to_the_named_queue(
    house: House, broker: Path, queue: str
) -> None:
    run = request(house, queue=queue)
    (message,) = messages(broker)
    assert message["headers"]["task"] == "training.train"
    assert message["properties"]["delivery_info"]["routing_key"] == queue
    assert str(job_of(run).id) in message["headers"]["argsrepr"]


def test_an_examination_goes_to_a_training_queue_and_is_swept_like_a_run(
    house: House, broker: Path
) -> None:
    version = untrained(house)
    with tenant_scope(house.id):
        made = request_examination(house.engineer, version)
    (message,) = messages(broker)
    assert message["headers"]["task"] == "training.examine"
    assert message["properties"]["delivery_info"]["routing_key"] == "train.cpu"
    _empty(broker)  # lost
    with across_tenants(reason="a test turns the clock"):
        Job.objects.update(sent_at=made.created_at - 2 * leases.RESEND_AFTER)
    assert leases.resend_due() == 1
    (again,) = messages(broker)
    with across_tenants(reason="a test looks"):
        job = Job.objects.get(subject=made.reference)
    assert str(job.id) in again["headers"]["argsrepr"]
    tasks.examine(str(job.id))
    tasks.examine(str(job.id))  # late: the job has ended
    with tenant_scope(house.id):
        made.refresh_from_db()
        assert made.state == "finished"


def test_a_worker_of_the_queue_trains_and_a_second_message_finds_it_done(
    house: House, broker: Path
) -> None:
    run = request(house)
    tasks.send(job_of(run).id)  # delivered twice
    assert len(messages(broker)) == 2
    with start_worker(
        app, pool="solo", perform_ping_check=False, queues=["train.cpu"], loglevel="ERROR"
    ):
        ended = threading.Event()
        for _ in range(600):
            if ended.wait(0.05) or (
                not messages(broker) and job_of(run).state in {"done", "failed"}
            ):
                break
    connections.close_all()
    with tenant_scope(house.id):
        run = Run.objects.get(pk=run.pk)
        assert (run.state, run.error_code, run.attempt) == (RunState.FINISHED, "", 1)
        assert run.ledger.filter(kind="reserve").count() == 1


def test_a_broker_that_is_down_delays_the_run_and_refuses_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, broker: Path
) -> None:
    from kombu.exceptions import OperationalError

    def down(*_args: Any, **_kwargs: Any) -> None:
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(tasks.train, "apply_async", down)
        run = request(house)
    assert run.state == RunState.QUEUED
    assert messages(broker) == []
    with across_tenants(reason="a test turns the clock"):
        Job.objects.update(sent_at=run.created_at - 2 * leases.RESEND_AFTER)
    assert leases.resend_due() == 1
    assert len(messages(broker)) == 1


def test_the_task_leaves_an_unknown_job_alone(house: House) -> None:
    tasks.train(str(UUID(int=0)))
