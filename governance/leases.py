"""Long work between two actions: leased, with a heartbeat and a fencing token.

The database says what must run; a broker message is only a nudge. A worker claims a job (raising
its fence), beats while it works and ends it by an action that checks the fence. When a worker dies
its lease runs out, the sweeper sends the job again, and whoever claims it next has a higher fence:
the dead one, should it come back, is refused (Kleppmann, "How to do distributed locking", 2016).

Of a kind with a limit, at most so many jobs of a tenant run at a time. Its messages are permissions
to work, not assignments: who receives one takes the best job of the queue, by priority, then age.
A job over the limit stays waiting; who ends one sends the next (`send_next`), and should that be
lost, the sweeper does. Claims of such a kind wait for each other, so that two never count the same
free place.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, F, Q
from django.utils import timezone

from governance.errors import LostLeaseError
from governance.models import Job
from governance.models.jobs import JobState
from governance.scoping import across_tenants

LEASE: Final = timedelta(seconds=60)
RESEND_AFTER: Final = timedelta(seconds=15)
RESEND_AT_LAST: Final = timedelta(minutes=10)
_CLAIMING: Final = 0x636C  # any constant; "cl" in ASCII, the first half of an advisory lock's key
_BEST_FIRST: Final = ("-priority", "created_at", "id")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """A kind of job: how it reaches its queue, and what a worker that has the id does.

    Attributes:
        send: puts a message with the id into the queue.
        run: does the job of this id, here.
        at_once: how many jobs of one tenant may run at a time; None where there is no limit.
    """

    send: Callable[[UUID], None]
    run: Callable[[UUID], None]
    at_once: Callable[[], int] | None = None


_OPEN: Final = (JobState.WAITING, JobState.RUNNING)
_work: dict[str, Work] = {}
_send_later: ContextVar[bool] = ContextVar("send_later", default=False)


def register_job(kind: str, work: Work) -> None:
    """Say what a kind of job is; each package registers its own in `AppConfig.ready()`."""
    _work[kind] = work


def enqueue(
    kind: str,
    subject: str,
    queue: str,
    *,
    tenant_id: Any,
    argument: str = "",
    all_units: int = 0,
    priority: int = 0,
) -> Job:
    """Write a waiting job, inside an action, and send it once that action has committed."""
    units = {argument: all_units}
    return enqueue_each(kind, subject, queue, tenant_id=tenant_id, units=units, priority=priority)[
        0
    ]


def enqueue_each(
    kind: str,
    subject: str,
    queue: str,
    *,
    tenant_id: Any,
    units: Mapping[str, int],
    priority: int = 0,
) -> list[Job]:
    """Write a waiting job for each part of a subject; as `enqueue`.

    Args:
        kind: what is to be done.
        subject: what the jobs are about.
        queue: whose workers do it.
        tenant_id: whose data it is.
        units: the part -> how much work it is, 0 where nobody knows.
        priority: the higher is taken first, where the kind has a limit.
    """
    work = _work[kind]  # a kind that nobody does fails here, while it can still be undone
    now = timezone.now()
    jobs = Job.objects.bulk_create(
        Job(
            tenant_id=tenant_id,
            kind=kind,
            subject=subject,
            argument=argument,
            queue=queue,
            priority=priority,
            all_units=amount,
            sent_at=now,
        )
        for argument, amount in units.items()
    )
    if not _send_later.get():
        transaction.on_commit(lambda: [_send(work, job.id) for job in jobs])
    return jobs


def _send(work: Work, job_id: UUID) -> bool:
    """Nudge a worker. A broker that is away is no error: the row stands, the sweeper sends it."""
    try:
        work.send(job_id)
    except Exception as error:  # noqa: BLE001 - each transport has its own, and none may undo a job
        _log.warning("job %s was not sent: %s", job_id, type(error).__name__)
        return False
    return True


@contextmanager
def doing_it_here() -> Iterator[None]:
    """Jobs written inside are not sent: the caller runs them itself, with `run_here`.

    Should the caller die first, the sweeper sends them after all.
    """
    token = _send_later.set(True)
    try:
        yield
    finally:
        _send_later.reset(token)


def run_here(subject: str) -> None:
    """Run the waiting jobs of a subject in this process, and what they set off in their turn.

    For a command that waits. Where workers take some of the jobs meanwhile, this returns when none
    is waiting any more.
    """
    tried: set[UUID] = set()
    with doing_it_here():
        while waiting := [job for job in _waiting(subject) if job.id not in tried]:
            tried.add(waiting[0].id)
            _work[waiting[0].kind].run(waiting[0].id)


def _waiting(subject: str) -> list[Job]:
    with across_tenants(reason="the caller's own jobs, by their subject"):
        rows = Job.objects.filter(subject=subject, state=JobState.WAITING)
        return list(rows.order_by("created_at", "id"))


def open_jobs(subject: str, *kinds: str) -> int:
    """How many jobs of a subject wait or run."""
    of = Q(kind__in=kinds) if kinds else Q()
    return Job.objects.filter(of, subject=subject, state__in=_OPEN).count()


def halt(subject: str, *kinds: str) -> int:
    """Cancel what waits or runs of a subject, inside an action; returns how many jobs.

    A worker in the middle of one notices at its next beat, as if another had taken the job: from
    here on it can write nothing.
    """
    return Job.objects.filter(subject=subject, kind__in=kinds, state__in=_OPEN).update(
        state=JobState.CANCELLED, leased_until=None, ended_at=timezone.now()
    )


@dataclass(frozen=True)
class Lease:
    """The right to work on a job, as long as the fence holds."""

    job_id: UUID
    tenant_id: UUID
    subject: str
    fence: int
    owner: str
    argument: str = ""

    def beat(self, *, stage: str = "", done: int | None = None, of: int | None = None) -> bool:
        """Stay alive and say how far the work is; True asks the worker to stop.

        Raises:
            LostLeaseError: another worker holds the job now.
        """
        changes: dict[str, Any] = {"leased_until": timezone.now() + LEASE}
        if stage:
            changes["stage"] = stage
        if done is not None:
            changes["done_units"] = done
        if of is not None:
            changes["all_units"] = of
        if not self._rows().update(**changes):
            raise LostLeaseError("another worker holds this job")
        return bool(self._rows().values_list("cancel_asked", flat=True).first())

    def end(self, state: JobState, *, error_code: str = "") -> float:
        """Close the job: called inside the action that writes the result: both, or none.

        Returns:
            Seconds that were worked on it, by this worker and those before.

        Raises:
            LostLeaseError: another worker holds the job now: the action must not commit.
        """
        now = timezone.now()
        held: Job | None = self._rows().select_for_update().first()
        if held is None:
            raise LostLeaseError("another worker holds this job")
        worked = held.worked_seconds + _between(held.started_at, now)
        self._rows().update(
            state=state,
            error_code=error_code,
            leased_until=None,
            ended_at=now,
            worked_seconds=worked,
        )
        return worked

    def check(self) -> None:
        """Raise LostLeaseError unless this lease still holds; locks the row."""
        if self._rows().select_for_update().first() is None:
            raise LostLeaseError("another worker holds this job")

    def _rows(self) -> Any:
        return Job._base_manager.filter(  # noqa: SLF001  # a lease outlives any scope
            pk=self.job_id, fence=self.fence, state=JobState.RUNNING
        )


def claim(job_id: UUID) -> Lease | None:
    """Take a job that waits or whose owner's lease ran out; None if it is not to be had.

    Where its kind has a limit, it is not to be had while its tenant is at the limit.
    """
    with transaction.atomic():
        named = Job._base_manager.filter(pk=job_id)  # noqa: SLF001  # a lease outlives any scope
        kind = named.values_list("kind", flat=True).first()
        if kind is None:
            return None
        now = timezone.now()
        return _take(job_id, _may_be_taken(kind, now), now)


def claim_next(job_id: UUID) -> Lease | None:
    """Take the best job of the kind and queue of `job_id`, whatever became of that one.

    By priority, then age, of those that wait and whose tenants are below the limit, and of those
    whose owner's lease ran out: they hold a place of their tenant's already.
    """
    with transaction.atomic():
        named = Job._base_manager.filter(pk=job_id).first()  # noqa: SLF001  # any tenant's
        if named is None:
            return None
        now = timezone.now()
        free = _may_be_taken(named.kind, now)
        best = _of(named.kind).filter(free, queue=named.queue).order_by(*_BEST_FIRST).first()
        return None if best is None else _take(best.pk, free, now)


def send_next(kind: str) -> int:
    """Send the best job of each queue that may be taken now; returns how many.

    For a worker that has ended one: the place that it leaves may be what another waited for. One
    message too many finds nothing to do.
    """
    with transaction.atomic():
        free = _may_be_taken(kind, timezone.now())
        best: dict[str, UUID] = {}
        for job in _of(kind).filter(free).order_by(*_BEST_FIRST).only("queue"):
            best.setdefault(job.queue, job.pk)
    return sum(_send(_work[kind], job_id) for job_id in best.values())


def _of(kind: str) -> Any:
    return Job._base_manager.filter(kind=kind)  # noqa: SLF001  # jobs of every tenant stand in line


def _may_be_taken(kind: str, now: datetime) -> Q:
    """Which jobs of a kind are free, as long as this transaction lasts."""
    free = Q(state=JobState.WAITING)
    work = _work.get(kind)
    if work is not None and work.at_once is not None:
        _claim_alone(kind)
        running = _of(kind).filter(state=JobState.RUNNING).order_by()
        counted = running.values("tenant_id").annotate(jobs=Count("pk"))
        full = counted.filter(jobs__gte=work.at_once()).values_list("tenant_id", flat=True)
        free &= ~Q(tenant_id__in=list(full))
    # One that a dead worker left counts as running, so taking it over adds none.
    return free | Q(state=JobState.RUNNING, leased_until__lt=now)


def _claim_alone(kind: str) -> None:
    """Whoever claims a job of this kind waits here for another who does, until that one's commit.

    On SQLite the transaction itself is the lock: the settings open it with BEGIN IMMEDIATE.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_CLAIMING, kind])


def _take(job_id: UUID, free: Q, now: datetime) -> Lease | None:
    """Take a job if it is free, inside a transaction."""
    rows = Job._base_manager.filter(free, pk=job_id)  # noqa: SLF001  # a lease outlives any scope
    job = rows.select_for_update().first()
    if job is None:
        return None
    owner = f"{socket.gethostname()}:{os.getpid()}"
    taken = rows.filter(fence=job.fence).update(
        state=JobState.RUNNING,
        fence=F("fence") + 1,
        owner=owner,
        leased_until=now + LEASE,
        started_at=now,
        # What a dead worker did before it fell silent.
        worked_seconds=job.worked_seconds + _until_last_beat(job),
    )
    if not taken:
        return None
    return Lease(job.id, job.tenant_id, job.subject, job.fence + 1, owner, job.argument)


def seconds_worked(subject: str, kind: str) -> float:
    """Seconds that workers gave to a subject's jobs: to their end, or to the last heartbeat."""
    jobs = Job.objects.filter(subject=subject, kind=kind)
    return sum(job.worked_seconds + _until_last_beat(job) for job in jobs)


def _until_last_beat(job: Job) -> float:
    """Seconds from the claim of a running job to its owner's last heartbeat; 0 of another."""
    if job.state != JobState.RUNNING or job.leased_until is None:
        return 0.0
    return _between(job.started_at, job.leased_until - LEASE)


def _between(start: datetime | None, end: datetime) -> float:
    return 0.0 if start is None else max(0.0, (end - start).total_seconds())


def send_longest_waiting(kind: str, queue: str) -> bool:
    """Send the job of a queue that waits longest: what it waited for has become free.

    Safe as `resend_due`; returns whether one was sent.
    """
    with across_tenants(reason="what became free is any tenant's"):
        rows = Job.objects.filter(kind=kind, queue=queue, state=JobState.WAITING)
        job = rows.order_by("created_at", "id").first()
        if job is None:
            return False
        Job.objects.filter(pk=job.pk).update(sent_at=timezone.now())
    return _send(_work[kind], job.pk)


def _patience_over(job: Job, now: datetime) -> bool:
    """Whether a waiting job has waited as long again as it had when it was last sent."""
    if job.state != JobState.WAITING or job.sent_at is None:
        return True
    return now - job.sent_at > min(job.sent_at - job.created_at, RESEND_AT_LAST)


def resend_due() -> int:
    """Send again what waits too long or was dropped by a dead worker; returns how many were sent.

    Safe to run in several processes: a message too many finds the job taken. A job that waits
    because its queue is long is sent again ever more rarely: hundreds of row groups may stand in
    line, and each message too many stands there with them.
    """
    now = timezone.now()
    with across_tenants(reason="jobs of every tenant are swept"):
        due = Job.objects.filter(
            Q(state=JobState.WAITING) | Q(state=JobState.RUNNING, leased_until__lt=now),
            sent_at__lt=now - RESEND_AFTER,
        )
        jobs = [(job.id, job.kind) for job in due if job.kind in _work and _patience_over(job, now)]
        Job.objects.filter(pk__in=[pk for pk, _ in jobs]).update(sent_at=now)
    return sum(_send(_work[kind], pk) for pk, kind in jobs)
