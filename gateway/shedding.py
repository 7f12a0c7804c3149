"""Which calls may wait: no more than fit, and none that would wait longer than it is worth.

A call that waits for ever holds a thread, and its caller has gone long before. So the line in front
of `gateway.coalescing` is bounded by SERVE_QUEUE, and who would stand in it for longer than
SERVE_TIMEOUT, reckoned by how long the last pieces of work took, is told at once to come again.
Refused is only what nobody has begun to work on: what a commit holds is answered.

Torch is not imported: readiness asks here as well.
"""

import math
from collections.abc import Callable
from typing import Final

from django.conf import settings

from gateway.errors import OverloadedError

_NEWEST: Final = 0.5  # weight of the newest piece of work in the average
_SHORTEST: Final = 1  # seconds that a refused caller is told to wait, at least


class Line:
    """The line of one process: how many wait, how fast it moves.

    The coalescer keeps `waiting` and `began` under its own lock; who reads them without it reads
    numbers that are a moment old, and decides nothing that is not asked again under the lock.

    Args:
        room: calls that may wait.
        patience: seconds that a call may wait.
    """

    def __init__(self, *, room: Callable[[], int], patience: Callable[[], float]) -> None:
        self._room, self.patience = room, patience
        self.waiting = 0
        self.pace = 0.0  # seconds that a piece of work takes, about
        self.began: float | None = None  # the piece under way

    @property
    def full(self) -> bool:
        """Whether nobody more may wait."""
        return self.waiting >= self._room()

    def took(self, seconds: float) -> None:
        """A piece of work has ended."""
        self.pace += (seconds - self.pace) * (_NEWEST if self.pace else 1.0)

    def expected(self, most: int, now: float) -> float:
        """Seconds until whoever comes now is taken up, `most` at a time."""
        began = self.began  # once: who asks without the lock may see it end meanwhile
        if began is None:
            return 0.0
        # A piece that takes longer than usual says how slow it is by having not ended.
        under_way = max(self.pace - (now - began), 0.0)
        return under_way + self.waiting // most * max(self.pace, now - began)

    def refuse(self, wait: float) -> OverloadedError:
        """The error of who may not wait, or has waited too long."""
        return OverloadedError(retry_after=max(_SHORTEST, math.ceil(wait)))

    def check(self, most: int, now: float) -> None:
        """Refuse who would not be taken up in time.

        Raises:
            OverloadedError: `serving.overloaded`.
        """
        if self.began is None:
            return
        wait = self.expected(most, now)
        if self.full or wait > self.patience():
            raise self.refuse(wait)


CALLS: Final = Line(
    room=lambda: settings.SERVE_QUEUE,
    patience=lambda: settings.SERVE_TIMEOUT,
)
