"""A heartbeat beside the work: a long step must not look like a dead worker."""

import logging
import threading
from types import TracebackType
from typing import Final, Protocol, Self
from uuid import UUID

from django.db import DatabaseError, connections

from governance.errors import LostLeaseError
from governance.leases import LEASE

EVERY: Final = LEASE.total_seconds() / 3
_log: Final = logging.getLogger(__name__)


class Beating(Protocol):
    """What a pulse keeps: a job's lease, or what a job holds beside it."""

    @property
    def job_id(self) -> UUID:
        """Whose it is."""
        ...

    def beat(self) -> bool:
        """Stay alive, or raise LostLeaseError."""
        ...


class Pulse:
    """Keeps a lease while its `with` block runs, from a thread with a connection of its own.

    It only keeps the lease. Cancellation and loss are noticed by the work itself, at its next step:
    every write of it checks the lease again.
    """

    def __init__(self, lease: Beating, every: float = EVERY) -> None:
        self._lease = lease
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease-pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        try:
            while not self._over.wait(self._every):
                try:
                    self._lease.beat()
                except LostLeaseError:
                    return
                except DatabaseError:
                    _log.warning("a heartbeat of job %s did not arrive", self._lease.job_id)
        finally:
            connections.close_all()
