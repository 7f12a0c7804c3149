"""The Celery tasks of the queues `train.cpu` and `train.gpu`: an id in, one piece of work done.

It never retries itself: a second try is a new attempt with a new reservation, which a person asks
for. A message is a permission to work: the worker takes the best job of the queue that may run now,
which need not be the one that the message names. One too many finds nothing to do; one that was
lost is sent again by the sweeper.
"""

import logging
from typing import Any, Final
from uuid import UUID

from celery import shared_task
from kombu.exceptions import OperationalError

from governance.models import Job

_log: Final = logging.getLogger(__name__)


@shared_task(name="training.train", acks_late=True, max_retries=0)
def train(job_id: str) -> None:
    """Carry out the attempt of a run that waits in the queue of this job."""
    from training.pipeline import work_next  # noqa: PLC0415  # who sends need not load torch

    work_next(UUID(job_id))


@shared_task(name="training.examine", acks_late=True, max_retries=0)
def examine(job_id: str) -> None:
    """Carry out an examination of a model, if nobody else has it."""
    from training.examining import work  # noqa: PLC0415  # as above

    work(UUID(job_id))


def send(job_id: UUID) -> None:
    """Send a run's job to the queue that its row names."""
    _send(train, job_id)


def send_examination(job_id: UUID) -> None:
    """Send an examination's job to the queue that its row names."""
    _send(examine, job_id)


def _send(task: Any, job_id: UUID) -> None:
    """Send a job.

    The job's row is committed and decides; a broker that is down only delays it until the sweeper
    sends it again, so its absence is no failure of the request.
    """
    queue = Job._base_manager.values_list("queue", flat=True).get(pk=job_id)  # noqa: SLF001  # any's
    try:
        task.apply_async((str(job_id),), queue=queue)
    except OperationalError:
        _log.warning("the broker does not answer; the sweeper will send job %s again", job_id)
