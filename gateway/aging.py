"""What was read of the database a moment ago: bounded maps whose entries grow old.

Law 6: what is revoked stops working everywhere within five seconds. Nothing but a database read
writes an entry, and its age counts from when that read *began*, so that a revocation which commits
later cannot hide behind a slow read. No entry is served stale.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

LIFE: Final = 4.0  # seconds; one less than the law's five, for what is in hand at the end

N = TypeVar("N", bound=Hashable)
T = TypeVar("T")


class Aging(Generic[N, T]):
    """A bounded map of values with the moment from which they age; the least recently put goes."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[N, tuple[float, T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: N, alive: float) -> tuple[T] | None:
        """The value in a tuple, if it was read at `alive` or later."""
        entry = self._entries.get(name)
        return None if entry is None or entry[0] <= alive else (entry[1],)

    def put(self, name: N, began: float, value: T) -> None:
        """Keep a value; never in the place of one that was read later."""
        with self._lock:
            present = self._entries.get(name)
            if present is not None and present[0] > began:
                return
            self._entries[name] = (began, value)
            self._entries.move_to_end(name)
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)

    def drop(self, name: N) -> None:
        """Forget one."""
        with self._lock:
            self._entries.pop(name, None)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._entries.clear()
