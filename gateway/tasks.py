"""Celery tasks of the `serve` queue: an id in, one piece of work done, nothing returned."""

from uuid import UUID

from celery import shared_task

from gateway.callfiles import ANSWER, QUEUE
from governance.leases import Work, register_job


@shared_task(name="gateway.answer_file", acks_late=True, max_retries=0)
def answer_file(job_id: str) -> None:
    """Answer a file of rows, if nobody else has it."""
    _run(UUID(job_id))


def register() -> None:
    """Say what the jobs of this package are."""
    register_job(ANSWER, Work(send=_send, run=_run))


def _send(job_id: UUID) -> None:
    answer_file.apply_async((str(job_id),), queue=QUEUE)


def _run(job_id: UUID) -> None:
    from gateway.answering import work  # noqa: PLC0415  # who sends need not load torch

    work(job_id)
