"""Which processes a job trains in, and the devices of this machine that it has for itself.

A GPU is leased in the database, a row a device: taken before the job is claimed, kept by a pulse
of its own, given back when the job is over. A row's fence rises with each taking: who comes back
after its lease ran out, and another took the device, finds another fence and ends its ranks.
Whoever finds too few devices free leaves the job waiting, unclaimed: who gives devices back sends
the job that waits longest, and the sweeper sends what is still waiting.

Devices are counted by name, for whoever asks CUDA has initialized it. Leases are by host name.
"""

import logging
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from governance import leases
from governance.errors import LostLeaseError
from governance.leases import LEASE
from governance.models import Job
from governance.pulse import Pulse
from training.admission import QUEUES, TRAIN
from training.distributed.supervisor import Ranks
from training.errors import EngineError
from training.models import DeviceLease

_CPU, GPU = QUEUES
WAIT: Final = timedelta(days=1)  # that a job waits for devices before its run is stopped
_DEVICE: Final = re.compile(r"nvidia[0-9]+")
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Held:
    """Devices of this host that a job has: each with the fence under which it was taken."""

    job_id: UUID
    host: str
    fences: Mapping[int, int]

    @property
    def devices(self) -> tuple[int, ...]:
        """Their numbers."""
        return tuple(self.fences)

    def beat(self) -> bool:
        """Keep them; as a job's lease is kept.

        Raises:
            LostLeaseError: another job has one of them now.
        """
        if not self._renew():
            raise LostLeaseError("another job has these devices")
        return False

    def check(self) -> None:
        """Keep them, or end the training that needs them.

        Raises:
            EngineError: `engine.devices_lost`, another job has one of them now.
        """
        if not self._renew():
            raise EngineError("another job has these devices", code="engine.devices_lost")

    def give_back(self) -> None:
        """Let others have them; what others have already is left to them."""
        self._rows().update(job=None, expires_at=None)

    def _renew(self) -> bool:
        return self._rows().update(expires_at=timezone.now() + LEASE) == len(self.fences)

    def _rows(self) -> QuerySet[DeviceLease]:
        of_each = Q()
        for device, fence in self.fences.items():
            of_each |= Q(device=device, fence=fence)
        return DeviceLease.objects.filter(of_each, host=self.host, job=self.job_id)


class Place:
    """Where a job trains: `with` keeps its devices, and gives them back.

    Attributes:
        processes: how many train; 1 without devices is this process.
        held: the devices, one a process; None on CPUs.
        waited_too_long: whether there is no place, and there was none for a day.
    """

    def __init__(
        self, processes: int, held: Held | None = None, *, waited_too_long: bool = False
    ) -> None:
        self.processes = processes
        self.held = held
        self.waited_too_long = waited_too_long
        self._pulse = None if held is None else Pulse(held)

    @property
    def here(self) -> bool:
        """Whether this process trains by itself."""
        return self.processes == 1 and self.held is None

    @property
    def ranks(self) -> Ranks:
        """The processes that train where this one does not."""
        return Ranks(self.processes, () if self.held is None else self.held.devices)

    def check(self) -> None:
        """See `Held.check`."""
        if self.held is not None:
            self.held.check()

    def __enter__(self) -> Self:
        if self._pulse is not None:
            self._pulse.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.held is None or self._pulse is None:
            return
        self._pulse.__exit__(kind, error, trace)
        self.held.give_back()
        leases.send_longest_waiting(TRAIN, GPU)


def place(job_id: UUID) -> Place | None:
    """Find where a job can train; None where it must wait for devices, or is no job at all."""
    job = Job._base_manager.filter(pk=job_id).first()  # noqa: SLF001  # any tenant's
    if job is None:
        return None
    there = count() if job.queue == GPU else 0
    if not there:
        return Place(settings.TRAINING_PROCESSES)
    wanted = min(there, settings.TRAINING_PROCESSES)
    held = take(job_id, wanted, there)
    if held is not None:
        return Place(wanted, held)
    if timezone.now() - job.created_at > WAIT:
        return Place(wanted, waited_too_long=True)
    _log.info("job %s waits for devices", job_id)
    return None


def count() -> int:
    """How many devices this machine has: as the settings say, or as the driver made files for."""
    if settings.TRAINING_DEVICES is not None:
        return int(settings.TRAINING_DEVICES)
    return sum(1 for path in Path("/dev").glob("nvidia*") if _DEVICE.fullmatch(path.name))


def take(job_id: UUID, wanted: int, there: int) -> Held | None:
    """Take free devices of this host, all that are wanted or none.

    Args:
        job_id: for whom.
        wanted: how many.
        there: how many this host has.
    """
    host, now = socket.gethostname(), timezone.now()
    with transaction.atomic():
        ours = DeviceLease.objects.filter(host=host, device__lt=there)
        if ours.count() < there:
            DeviceLease.objects.bulk_create(
                [DeviceLease(host=host, device=number) for number in range(there)],
                ignore_conflicts=True,
            )
        # A row that is locked is just being taken or kept. SQLite has one writer and no row locks.
        free = (
            ours.filter(Q(job=None) | Q(expires_at__lt=now))
            .order_by("device")
            .select_for_update(skip_locked=True)
        )
        rows = list(free[:wanted])
        if len(rows) < wanted:
            return None
        for row in rows:
            row.job, row.expires_at = job_id, now + LEASE
            row.fence += 1
        DeviceLease.objects.bulk_update(rows, ["job", "fence", "expires_at"])
    return Held(job_id, host, {row.device: row.fence for row in rows})
