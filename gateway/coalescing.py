"""Work that many threads ask for at the same moment, done by one of them for all.

A commit waits for the disk, whether it holds one call or fifty; a matrix product of eight rows
costs little more than one of one. So whoever comes while nobody works becomes the leader and takes
all that waits; who comes meanwhile waits, and the first of those leads next. Nobody waits for a
timer: under little load a call goes through alone, at once.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

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
        most: items at once.
    """

    def __init__(
        self, work: Callable[[Sequence[T]], Sequence[R | BaseException]], *, most: int = MOST
    ) -> None:
        self._work, self._most = work, most
        self._waiting: deque[_Slot[T, R]] = deque()
        self._lock = threading.Lock()
        self._led = False

    def submit(self, item: T) -> R:
        """The result of one item; in this thread or in another's.

        Raises:
            BaseException: whatever `work` gave or raised for it.
        """
        slot: _Slot[T, R] = _Slot(item)
        with self._lock:
            self._waiting.append(slot)
            leads, self._led = not self._led, True
        if not leads:
            slot.done.acquire()
        if leads or slot.leads:
            self._lead()
        if slot.error is not None:
            raise slot.error
        return slot.result  # type: ignore[return-value]  # its leader set it, or an error

    def _lead(self) -> None:
        """One piece of work; the caller's own item is in it, for it is the oldest that waits."""
        with self._lock:
            count = min(self._most, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
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
            if heir is not None:
                heir.leads = True
                heir.done.release()
            for slot in batch:
                if not slot.leads and slot.done.locked():
                    slot.done.release()
