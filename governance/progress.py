"""How far an ingest is: the jobs of a dataset, summed.

One function for the console, the API and the command line. The rate is that of the stage under way,
from its first job's start; what a worker has in hand counts as far as its last heartbeat told.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.utils import timezone

from governance.models import Dataset, Job
from governance.models.datasets import DatasetState
from governance.models.jobs import JobState
from governance.stages import ALL, ANONYMIZE, GROUP, MERGE, PROFILE

# States in which something of a dataset waits or runs.
MOVING: Final = frozenset(
    {
        DatasetState.QUARANTINED,
        DatasetState.APPROVED,
        DatasetState.ANONYMIZING,
        DatasetState.APPENDING,
    }
)
_OPEN: Final = (JobState.WAITING, JobState.RUNNING)
_STAGES: Final = {PROFILE: "profile", ANONYMIZE: "anonymize", GROUP: "anonymize", MERGE: "merge"}
_LEAST: Final = 0.5  # seconds below which a rate says nothing


@dataclass(frozen=True)
class Progress:
    """How far an ingest is.

    Attributes:
        stage: "profile", "anonymize" or "merge".
        done: rows of this stage that are done.
        of: rows of this stage; an estimate by bytes while a file is being parsed, None where
            nobody can tell.
        rows_per_second: since the stage began, None before there is anything to divide.
        seconds_left: at that rate.
        running: workers that are at it now.
    """

    stage: str
    done: int
    of: int | None
    rows_per_second: int | None
    seconds_left: int | None
    running: int

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def progress_of(dataset: Dataset) -> Progress | None:
    """How far the ingest under way is; None when nothing of the dataset waits or runs."""
    if dataset.state not in MOVING:
        return None  # without a query: lists ask for every row
    jobs = Job.objects.filter(subject=dataset.reference, kind__in=ALL)
    open_now = list(jobs.filter(state__in=_OPEN).order_by("-created_at"))
    if not open_now:
        return None
    kind = open_now[0].kind
    stage = list(_of_stage(jobs, kind)) if kind == GROUP else open_now
    done = sum(job.all_units if job.state == JobState.DONE else job.done_units for job in stage)
    of = sum(job.all_units for job in stage) or None
    if kind == MERGE:
        done, of = dataset.rows or 0, dataset.rows
    began = min((job.started_at for job in stage if job.started_at is not None), default=None)
    rate = None if kind == MERGE else _rate(done, began)
    left = round((of - done) / rate) if rate and of is not None else None
    running = sum(job.state == JobState.RUNNING for job in open_now)
    return Progress(_STAGES[kind], done, of, rate, left, running)


def _of_stage(jobs: QuerySet[Job], kind: str) -> QuerySet[Job]:
    """The jobs of this ingest's stage: those written since it last began."""
    begun = jobs.filter(kind=ANONYMIZE, state=JobState.DONE).order_by("-created_at").first()
    since = Q() if begun is None else Q(created_at__gte=begun.created_at)
    return jobs.filter(since, kind=kind).exclude(state=JobState.CANCELLED)


def _rate(done: int, began: datetime | None) -> int | None:
    """Rows a second."""
    if began is None or not done:
        return None
    seconds = (timezone.now() - began).total_seconds()
    return round(done / seconds) or 1 if seconds >= _LEAST else None
