"""Served inputs, counted in public bins: in this process's memory, and now and then in its row.

A call is the hot path and commits one transaction, so counting adds none: it adds to lists of
numbers under a lock. A timer of the process's own flushes them, at most every INPUT_COUNTS_EVERY
seconds, into one row for each version, hour and process. No other process writes that row, and what
is written is its whole content, so that a write which is made twice counts nothing twice.

What is written at a time is of `FEWEST` calls or more: neither a row, nor the difference of two
states of one, says in which bins a single call was. So the last few calls of a process wait for
others, and are in the hour that they are written in.

What a killed process had not flushed is lost, and with it a few calls of a drift figure. It is
bookkeeping, not evidence: no charge, receipt or entry depends on it.
"""

import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from django.conf import settings
from django.db import DatabaseError, connections, transaction
from django.utils import timezone

from gateway.feedback import hour_of
from gateway.models import InputCounts
from governance.scoping import across_tenants
from training.input_bins import Counts, InputBins, added
from training.models import ModelVersion

FEWEST: Final = 10  # calls that are written at a time
_AT_EXIT: Final = 5.0  # seconds that the end of a process waits for a flush under way
_WHY: Final = "counts of every customer's calls belong to the owner of the model"
_log: Final = logging.getLogger(__name__)


@dataclass
class _Waiting:
    """What was counted of a version and is in no row yet."""

    tenant: UUID  # the owner of the model
    bins: InputBins
    counts: list[int]
    calls: int = 0


@dataclass
class _Row:
    """The content of a row of this process."""

    tenant: UUID
    counts: Counts = field(default_factory=dict)
    written: bool = False


class InputCounter:
    """The counts of one process; its threads share it, a forked child begins with none."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as another process: after a fork, the counts and locks are the parent's."""
        self._lock = threading.Lock()  # over what waits; held for microseconds
        self._flushing = threading.Lock()  # over the rows; held while they are written
        self._process = uuid4()
        self._waiting: dict[UUID, _Waiting] = {}
        self._rows: dict[tuple[UUID, datetime], _Row] = {}
        self._timer: threading.Timer | None = None

    def note(self, version: ModelVersion, bins: InputBins, row: Mapping[str, str | None]) -> None:
        """Count one answered call, charged already: whatever goes wrong here is not its fault."""
        try:
            self._count(version, bins, bins.places(row))
        except Exception as error:  # noqa: BLE001 - as said above
            # Without its text: it may quote a value.
            _log.error("inputs of %s were not counted: %s", version.reference, type(error).__name__)

    def flush(self) -> None:
        """Write what waits.

        Raises:
            DatabaseError: nothing was written; it is kept for the next flush.
        """
        with self._flushing:
            self._take()
            unwritten = {place: row for place, row in self._rows.items() if not row.written}
            if not unwritten:
                return
            with across_tenants(reason=_WHY), transaction.atomic():
                for (version, hour), row in unwritten.items():
                    InputCounts.objects.update_or_create(
                        version_id=version,
                        hour=hour,
                        process=self._process,
                        defaults={"tenant_id": row.tenant, "counts": row.counts},
                    )
            for row in unwritten.values():
                row.written = True
            now = hour_of(timezone.now())
            self._rows = {place: row for place, row in self._rows.items() if place[1] >= now}

    def at_exit(self) -> None:
        """The last flush of a process that ends in order."""
        if self._flushing.acquire(timeout=_AT_EXIT):  # one that is under way is let finish
            self._flushing.release()
            with contextlib.suppress(DatabaseError):
                self.flush()

    def _count(self, version: ModelVersion, bins: InputBins, places: list[int]) -> None:
        if not places:
            return
        with self._lock:
            waiting = self._waiting.get(version.pk)
            if waiting is None:
                waiting = _Waiting(version.tenant_id, bins, [0] * bins.size)
                self._waiting[version.pk] = waiting
            counts = waiting.counts
            for place in places:
                counts[place] += 1
            waiting.calls += 1
            if self._timer is None:
                self._arm()

    def _arm(self) -> None:
        """Set the timer; a test has none, for no thread writes beside its transaction."""
        if settings.INPUT_COUNTS_EVERY is None:
            return
        self._timer = threading.Timer(settings.INPUT_COUNTS_EVERY, self._due)
        self._timer.daemon = True
        self._timer.start()

    def _due(self) -> None:
        with self._lock:
            self._timer = None  # the next call sets another
        try:
            self.flush()
        except DatabaseError as error:
            _log.warning("counts of inputs wait, unwritten: %s", type(error).__name__)
            with self._lock:
                if self._timer is None:
                    self._arm()
        finally:
            connections.close_all()  # this thread's, which ends here

    def _take(self) -> None:
        """Move what waits, where it is enough, to the rows of this hour."""
        hour = hour_of(timezone.now())
        with self._lock:
            enough = [one for one, waiting in self._waiting.items() if waiting.calls >= FEWEST]
            taken = {version: self._waiting.pop(version) for version in enough}
        for version, waiting in taken.items():
            row = self._rows.setdefault((version, hour), _Row(waiting.tenant))
            row.counts = added(row.counts, waiting.bins.by_feature(waiting.counts))
            row.written = False


COUNTER: Final = InputCounter()
os.register_at_fork(after_in_child=COUNTER.forget)
atexit.register(COUNTER.at_exit)
