"""Refusals before anybody is authenticated: counted, and recorded once a reason and a minute.

Calls, and attempts to sign in: Django says of each that failed, whichever form it came through.

A scanner with a hundred thousand bad keys costs a hundred thousand checksums and one row a minute.
The first refusal of a reason is recorded at once; those that follow within the window are counted
and recorded with the first request after its end, or when the process ends in order. Refusals by
overload are counted alone, and recorded when the window has ended.
"""

import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.db import DatabaseError, connections
from django.dispatch import receiver

from audit.events import Event
from audit.recording import append_refusal
from governance.permissions import Permission
from governance.rbac import Actor, SystemActor, house_id

WINDOW: Final = 60.0  # seconds
_log: Final = logging.getLogger(__name__)
DOOR: Final = SystemActor("door", frozenset())  # who acts while nobody is known


@dataclass
class _Counted:
    event: Event
    actor: Actor
    since: float
    waiting: int = 0


class Refusals:
    """Counts by reason and, where a key proved whose it is, by key. Bounded by reasons and keys."""

    def __init__(
        self, *, window: float = WINDOW, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._window, self._clock = window, clock
        self._counted: dict[tuple[Event, str, str], _Counted] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def note(self, reason: str, actor: Actor = DOOR, *, event: Event = Event.CALL_REFUSED) -> None:
        """Count one refusal, and record what is due."""
        place = (event, reason, actor.reference)
        now = self._clock()
        with self._lock:
            counted = self._counted.get(place)
            if counted is None:
                self._counted[place] = _Counted(event, actor, now)
            else:
                counted.waiting += 1
        if counted is None:
            _record(event, reason, actor, 1)
        self.flush()

    def count(self, reason: str, actor: Actor, *, event: Event = Event.CALL_REFUSED) -> None:
        """Count one refusal and record nothing now: a database under load is spared the first too.

        It is recorded when its window has ended: by a timer, or with whatever is recorded then.
        """
        place = (event, reason, actor.reference)
        with self._lock:
            counted = self._counted.setdefault(place, _Counted(event, actor, self._clock()))
            counted.waiting += 1
            if self._timer is None:
                self._arm()

    def _arm(self) -> None:
        """Set the timer; a test has none, for no thread writes beside its transaction."""
        if settings.INPUT_COUNTS_EVERY is None:
            return
        self._timer = threading.Timer(self._window, self._due)
        self._timer.daemon = True
        self._timer.start()

    def _due(self) -> None:
        with self._lock:
            self._timer = None  # the next count sets another
        try:
            self.flush()
        except DatabaseError as error:
            _log.warning("counts of refusals wait, unrecorded: %s", type(error).__name__)
        finally:
            connections.close_all()  # this thread's, which ends here
        self._again()

    def _again(self) -> None:
        """Another timer for what is counted and was not due yet, or was kept."""
        with self._lock:
            if self._timer is None and any(one.waiting for one in self._counted.values()):
                self._arm()

    def flush(self, *, everything: bool = False) -> None:
        """Record the counts whose window has ended, or every count."""
        due: list[tuple[Event, str, Actor, int]] = []
        now = self._clock()
        with self._lock:
            for place, counted in list(self._counted.items()):
                if not everything and now - counted.since < self._window:
                    continue
                if counted.waiting:
                    due.append((counted.event, place[1], counted.actor, counted.waiting))
                    self._counted[place] = _Counted(counted.event, counted.actor, now)
                else:
                    del self._counted[place]
        for done, (event, reason, actor, waiting) in enumerate(due):
            try:
                _record(event, reason, actor, waiting)
            except DatabaseError:
                self._keep(due[done:])
                raise

    def _keep(self, lost: list[tuple[Event, str, Actor, int]]) -> None:
        """Count again what could not be recorded."""
        with self._lock:
            for event, reason, actor, waiting in lost:
                place = (event, reason, actor.reference)
                again = _Counted(event, actor, self._clock())
                self._counted.setdefault(place, again).waiting += waiting

    def clear(self) -> None:
        """Forget every count, unrecorded."""
        with self._lock:
            self._counted.clear()


def _record(event: Event, reason: str, actor: Actor, count: int) -> None:
    if actor == DOOR:  # nobody's refusal is the house's to know of: its auditor sees the entry
        actor = replace(DOOR, tenant_id=house_id())
    append_refusal(event, actor, None, reason, _ASKED[event], count=count)


# What a refused caller wanted, as the entry names it.
_ASKED: Final = {
    Event.CALL_REFUSED: Permission.PREDICT.value,
    Event.LOGIN_REFUSED: "session:open",
    Event.KEY_REPORT_REFUSED: Permission.KEY_REVOKE.value,
}
REFUSALS: Final = Refusals()


@receiver(user_login_failed, dispatch_uid="gateway.refusals")
def _login_failed(**_: Any) -> None:
    # Who it claimed to be stays out: an unknown name may be a password typed in the wrong field.
    REFUSALS.note("auth.login_refused", event=Event.LOGIN_REFUSED)


@atexit.register
def _at_exit() -> None:
    # The last minute's counts. A killed process loses them, and no charge depends on them.
    with contextlib.suppress(DatabaseError):
        REFUSALS.flush(everything=True)
