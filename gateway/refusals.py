"""Refusals before anybody is authenticated: counted, and recorded once a reason and a minute.

A scanner with a hundred thousand bad keys costs a hundred thousand checksums and one row a minute.
The first refusal of a reason is recorded at once; those that follow within the window are counted
and recorded with the first request after its end, or when the process ends in order.
"""

import atexit
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from django.db import DatabaseError

from audit.events import Event
from audit.recording import append_refusal
from governance.permissions import Permission
from governance.rbac import Actor, SystemActor

WINDOW: Final = 60.0  # seconds
DOOR: Final = SystemActor("door", frozenset())  # who acts while nobody is known


@dataclass
class _Counted:
    actor: Actor
    since: float
    waiting: int = 0


class Refusals:
    """Counts by reason and, where a key proved whose it is, by key. Bounded by reasons and keys."""

    def __init__(
        self, *, window: float = WINDOW, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._window, self._clock = window, clock
        self._counted: dict[tuple[str, str], _Counted] = {}
        self._lock = threading.Lock()

    def note(self, reason: str, actor: Actor = DOOR) -> None:
        """Count one refusal, and record what is due."""
        place = (reason, actor.reference)
        now = self._clock()
        with self._lock:
            counted = self._counted.get(place)
            if counted is None:
                self._counted[place] = _Counted(actor, now)
            else:
                counted.waiting += 1
        if counted is None:
            _record(reason, actor, 1)
        self.flush()

    def flush(self, *, everything: bool = False) -> None:
        """Record the counts whose window has ended, or every count."""
        due: list[tuple[str, Actor, int]] = []
        now = self._clock()
        with self._lock:
            for place, counted in list(self._counted.items()):
                if not everything and now - counted.since < self._window:
                    continue
                if counted.waiting:
                    due.append((place[0], counted.actor, counted.waiting))
                    self._counted[place] = _Counted(counted.actor, now)
                else:
                    del self._counted[place]
        for reason, actor, waiting in due:
            _record(reason, actor, waiting)

    def clear(self) -> None:
        """Forget every count, unrecorded."""
        with self._lock:
            self._counted.clear()


def _record(reason: str, actor: Actor, count: int) -> None:
    append_refusal(Event.CALL_REFUSED, actor, None, reason, Permission.PREDICT.value, count=count)


REFUSALS: Final = Refusals()


@atexit.register
def _at_exit() -> None:
    # The last minute's counts. A killed process loses them, and no charge depends on them.
    with contextlib.suppress(DatabaseError):
        REFUSALS.flush(everything=True)
