"""A shadow's scores beside those that were answered: counted, shown to nobody, charged to nobody.

A call puts its checked row and its answer into a short list in this process, and goes on.
A thread takes up to `BATCH` of them every `PAUSE` seconds, scores them with the shadow and counts
how far both are apart. A list that is full lets the call go uncounted, and a shadow that fails is
counted as failed: neither slows or fails a call.

Counts are flushed like those of `gateway.inputs`: at most every INPUT_COUNTS_EVERY seconds, into
one row for each pair of versions, hour and process, `FEWEST` calls or more at a time. What a killed
process had not flushed is lost: bookkeeping, not evidence.
"""

import atexit
import contextlib
import logging
import os
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from django.conf import settings
from django.db import DatabaseError, connections, transaction
from django.utils import timezone

from gateway import serving
from gateway.feedback import hour_of
from gateway.inputs import FEWEST
from gateway.models import ShadowCounts
from gateway.shadow_bins import EDGES
from governance.scoping import across_tenants
from training.models import ModelVersion

WAITING: Final = 256  # rows, in a process
BATCH: Final = 64
PAUSE: Final = 0.05  # seconds between two batches: what a shadow may take of a process
_WHY: Final = "counts of every customer's calls belong to the owner of the model"
_log: Final = logging.getLogger(__name__)

Pair = tuple[UUID, UUID]  # the shadow, and what answered


@dataclass(frozen=True)
class Beside:
    """An answered call, to be scored by a shadow as well."""

    shadow: ModelVersion
    answered: ModelVersion
    row: dict[str, str | None]
    score: float
    label: str | None


@dataclass
class Compared:
    """What was found of a pair."""

    tenant: UUID  # the owner of the model
    scored: int = 0
    labels: int = 0  # other labels than were answered
    higher: int = 0  # scores above those that were answered
    failed: int = 0
    distances: list[int] = field(default_factory=lambda: [0] * len(EDGES))

    def add(self, ours: tuple[float, str | None], theirs: Beside) -> None:
        """Count one call."""
        score, label = ours
        self.scored += 1
        self.labels += label != theirs.label
        self.higher += score > theirs.score
        distance = min(abs(score - theirs.score), EDGES[-1])
        self.distances[bisect_left(EDGES, distance)] += 1

    def plus(self, other: "Compared") -> "Compared":
        """Both together."""
        return Compared(
            self.tenant,
            self.scored + other.scored,
            self.labels + other.labels,
            self.higher + other.higher,
            self.failed + other.failed,
            [a + b for a, b in zip(self.distances, other.distances, strict=True)],
        )

    def counts(self) -> dict[str, Any]:
        """As a row holds it."""
        return {
            "scored": self.scored,
            "labels": self.labels,
            "higher": self.higher,
            "failed": self.failed,
            "distances": self.distances,
        }


class Shadows:
    """The comparisons of one process; a forked child begins with none."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as another process."""
        self._lock = threading.Lock()  # over what is compared and the thread
        self._flushing = threading.Lock()  # over the rows
        self._process = uuid4()
        self._waiting: deque[Beside] = deque()
        self._compared: dict[Pair, Compared] = {}
        self._rows: dict[tuple[Pair, datetime], Compared] = {}
        self._unwritten: set[tuple[Pair, datetime]] = set()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def note(self, one: Beside) -> None:
        """Have an answered call scored beside, if there is room."""
        if len(self._waiting) >= WAITING:
            return
        self._waiting.append(one)
        self._wake.set()
        if self._thread is None and settings.INPUT_COUNTS_EVERY is not None:
            self._start()

    def work(self) -> int:
        """Score a batch of what waits; how many there were."""
        batch: list[Beside] = []
        while self._waiting and len(batch) < BATCH:
            batch.append(self._waiting.popleft())
        by_pair: dict[Pair, list[Beside]] = {}
        for one in batch:
            by_pair.setdefault((one.shadow.pk, one.answered.pk), []).append(one)
        for pair, calls in by_pair.items():
            found = _compare(calls)
            with self._lock:
                known = self._compared.get(pair)
                self._compared[pair] = found if known is None else known.plus(found)
        return len(batch)

    def flush(self) -> None:
        """Write what was found, where it is of enough calls.

        Raises:
            DatabaseError: nothing was written; it is kept for the next flush.
        """
        with self._flushing:
            self._take()
            if not self._unwritten:
                return
            with across_tenants(reason=_WHY), transaction.atomic():
                for (shadow, beside), hour in self._unwritten:
                    row = self._rows[(shadow, beside), hour]
                    ShadowCounts.objects.update_or_create(
                        version_id=shadow,
                        beside_id=beside,
                        hour=hour,
                        process=self._process,
                        defaults={"tenant_id": row.tenant, "counts": row.counts()},
                    )
            self._unwritten.clear()
            now = hour_of(timezone.now())
            self._rows = {place: row for place, row in self._rows.items() if place[1] >= now}

    def at_exit(self) -> None:
        """The last flush of a process that ends in order."""
        with contextlib.suppress(DatabaseError):
            self.flush()

    def _take(self) -> None:
        hour = hour_of(timezone.now())
        with self._lock:
            enough = {
                pair: found
                for pair, found in self._compared.items()
                if found.scored + found.failed >= FEWEST
            }
            for pair in enough:
                del self._compared[pair]
        for pair, found in enough.items():
            known = self._rows.get((pair, hour))
            self._rows[pair, hour] = found if known is None else known.plus(found)
            self._unwritten.add((pair, hour))

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        flushed = time.monotonic()
        while self._thread is threading.current_thread():
            every = settings.INPUT_COUNTS_EVERY or 30.0
            self._wake.wait(every)
            self._wake.clear()
            while self.work():
                time.sleep(PAUSE)
            if time.monotonic() - flushed >= every:
                flushed = time.monotonic()
                try:
                    self.flush()
                except DatabaseError as error:
                    _log.warning("a shadow's counts wait, unwritten: %s", type(error).__name__)
                finally:
                    connections.close_all()  # this thread's; it may be long until the next


def _compare(calls: Sequence[Beside]) -> Compared:
    """Score calls of one pair with the shadow. What goes wrong is counted, and fails no call."""
    shadow = calls[0].shadow
    found = Compared(shadow.tenant_id)
    try:
        model = serving.loaded(shadow)
        rows = [model.check_row(one.row) for one in calls]
        for ours, theirs in zip(serving.scores(model, rows), calls, strict=True):
            found.add(ours, theirs)
    except Exception as error:  # noqa: BLE001 - as said above
        # Without its text: it may quote a value.
        _log.warning("a shadow failed: %s: %s", shadow.reference, type(error).__name__)
        return Compared(shadow.tenant_id, failed=len(calls))
    return found


SHADOWS: Final = Shadows()
os.register_at_fork(after_in_child=SHADOWS.forget)
atexit.register(SHADOWS.at_exit)
