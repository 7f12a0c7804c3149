"""What is looked at again and again: each package registers its rounds, the sweeper makes them.

A round is a look for something that is due, safe in several processes and at any moment: what it
finds it does by actions of its own.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Round:
    """A round: how many seconds lie between two, at least, and what it does.

    Attributes:
        every: seconds from one start to the next.
        make: makes it once; returns how much it found to do.
    """

    every: float
    make: Callable[[], int]


_rounds: dict[str, Round] = {}


def register_round(name: str, every: float, make: Callable[[], int]) -> None:
    """Say what is to be made again and again; each package does so in `AppConfig.ready()`."""
    _rounds[name] = Round(every, make)


class Timetable:
    """When each round is due next, in one process; the first time at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}

    def go(self) -> dict[str, int]:
        """Make what is due; what each found, by name."""
        found: dict[str, int] = {}
        for name, one in _rounds.items():
            if self._clock() < self._due.get(name, 0.0):
                continue
            self._due[name] = self._clock() + one.every
            try:
                found[name] = one.make()
            except Exception as error:  # noqa: BLE001 - a fault in one must not stop the sweeper
                _log.error("the round %s failed: %s", name, type(error).__name__)
        return found
