"""Which devices are leased, as somebody of one tenant may see it.

A machine serves every tenant, so everybody who may look sees how much of it is taken; what has it
is told of jobs of one's own tenant alone, and of runs to whose role opens runs.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.utils import timezone

from governance.models import Job
from governance.permissions import Permission
from governance.rbac import UserActor
from training.models import DeviceLease, Run


class Use(StrEnum):
    """What a device is doing."""

    FREE = "free"
    BUSY = "busy"
    SILENT = "silent"  # its job's worker beats no more: the next job may take it


@dataclass(frozen=True)
class Device:
    """One device of one machine.

    Attributes:
        host, number: which one.
        use: what it is doing.
        job, run: that have it; None where it is free, of another tenant, or not for this reader.
        expires_at: until when the lease holds unless its worker renews it.
    """

    host: str
    number: int
    use: Use
    job: UUID | None
    run: Run | None
    expires_at: datetime | None


def occupancy(actor: UserActor) -> list[Device]:
    """Every device that was ever leased, by machine and number; the actor's scope is open."""
    leased = list(DeviceLease.objects.order_by("host", "device"))
    jobs = {}
    runs = {}
    if actor.may(Permission.RUN_VIEW, None).allowed:
        held = [one.job for one in leased if one.job is not None]
        jobs = {job.pk: job for job in Job.objects.visible_to(actor).filter(pk__in=held)}
        named = [job.subject.partition(":")[2] for job in jobs.values()]
        runs = {run.reference: run for run in Run.objects.visible_to(actor).filter(pk__in=named)}
    now = timezone.now()
    return [
        Device(
            host=one.host,
            number=one.device,
            use=_use(one, now),
            job=None if job is None else job.pk,
            run=None if job is None else runs.get(job.subject),
            expires_at=one.expires_at,
        )
        for one in leased
        for job in [None if one.job is None else jobs.get(one.job)]
    ]


def _use(lease: DeviceLease, now: datetime) -> Use:
    if lease.job is None:
        return Use.FREE
    return Use.SILENT if lease.expires_at is None or lease.expires_at < now else Use.BUSY
