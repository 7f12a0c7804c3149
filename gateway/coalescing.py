"""Work that many threads ask for at the same moment, done by one of them for all.

A commit waits for the disk, whether it holds one call or fifty; a matrix product of eight rows
costs little more than one of one. So whoever comes while nobody works becomes the leader and takes
all that waits; who comes meanwhile waits, and the first of those leads next. Nobody waits for a
timer: under little load a call goes through alone, at once.

Who may wait is `gateway.shedding`'s to say. A thread whose patience ends leaves the line only while
nobody has taken its item: what a leader holds is done, and its thread waits for what came of it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from gateway.shedding import Line

T = TypeVar("T")
R = TypeVar("R")

MOST: Final = 64  # in one piece of work


class _Slot(Generic[T, R]):
    """One thread's wish, and what came of it."""

    __slots__ = ("done", "error", "item", "leads", "result")

    def __init__(self, item: T) -> None:
        self.item = item
        self.result: R | None = None
        self.error: BaseException | None = None
        self.leads = False
        self.done = threading.Lock()  # held until there is something to know
        self.done.acquire()


class Coalescer(Generic[T, R]):
    """Does `work` on items, several at once.

    Args:
        work: takes items and gives a result or an error for each, in order. What it raises itself
            every item gets.
        line: who may wait, and for how long.
        most: items at once.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R | BaseException]],
        *,
        line: Line,
        most: int = MOST,
    ) -> None:
        self._work, self._line, self._most = work, line, most
        self._waiting: deque[_Slot[T, R]] = deque()
        self._lock = threading.Lock()
        self._led = False

    def submit(self, item: T) -> R:
        """The result of one item; in this thread or in another's.

        Raises:
            OverloadedError: too many wait, or it waited too long; nobody has begun to work on it.
            BaseException: whatever `work` gave or raised for it.
        """
        slot: _Slot[T, R] = _Slot(item)
        with self._lock:
            self._line.check(self._most, time.monotonic())
            self._waiting.append(slot)
            self._line.waiting = len(self._waiting)
            leads, self._led = not self._led, True
        if not leads and not slot.done.acquire(timeout=self._line.patience()):
            self._leave(slot)
        if leads or slot.leads:
            self._lead()
        if slot.error is not None:
            raise slot.error
        return slot.result  # type: ignore[return-value]  # its leader set it, or an error

    def check(self) -> None:
        """Refuse early who would be refused by `submit`: before work of its own was done for it.

        Raises:
            OverloadedError: as there.
        """
        self._line.check(self._most, time.monotonic())

    def _leave(self, slot: _Slot[T, R]) -> None:
        """Out of the line, unless it is this slot's turn or its item is being worked on.

        Raises:
            OverloadedError: it has left.
        """
        with self._lock:
            waits = not slot.leads and slot in self._waiting
            if waits:
                self._waiting.remove(slot)
                self._line.waiting = len(self._waiting)
                refused = self._line.refuse(self._line.expected(self._most, time.monotonic()))
        if waits:
            raise refused
        slot.done.acquire()

    def _lead(self) -> None:
        """One piece of work; the caller's own item is in it, for it is the oldest that waits."""
        with self._lock:
            count = min(self._most, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            self._line.waiting = len(self._waiting)
            self._line.began = began = time.monotonic()
        try:
            for slot, result in zip(batch, self._work([one.item for one in batch]), strict=True):
                if isinstance(result, BaseException):
                    slot.error = result
                else:
                    slot.result = result
        except BaseException as error:  # noqa: BLE001 - told to each who waits, and raised there
            for slot in batch:
                slot.error = error
        finally:
            with self._lock:
                heir = self._waiting[0] if self._waiting else None
                self._led = heir is not None
                ended = time.monotonic()
                self._line.took(ended - began)
                self._line.began = None if heir is None else ended
                if heir is not None:  # under the lock: it may be about to leave
                    heir.leads = True
            if heir is not None:
                heir.done.release()
            for slot in batch:
                if not slot.leads and slot.done.locked():
                    slot.done.release()
