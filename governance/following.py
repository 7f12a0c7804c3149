"""Watching an ingest from the command line: a line that tells how far it is, and waiting for it."""

import contextvars
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from django.db import DatabaseError, connections

from governance.errors import ConflictError
from governance.models import Dataset
from governance.progress import Progress, progress_of

PAUSE: Final = 0.5  # seconds between two looks
_LONGEST: Final = 78
_WORDS: Final = {"profile": "reading", "anonymize": "anonymizing", "merge": "sealing"}

Found = TypeVar("Found")


class Terminal(Protocol):
    """A stream that may be somebody's screen; Django's wrapper of standard error is one."""

    def isatty(self) -> bool:
        """Whether somebody reads along."""
        ...

    def write(self, text: str, *, ending: str) -> Any:
        """Write it, and `ending` in the place of a line's end."""
        ...

    def flush(self) -> None:
        """Show it."""
        ...


def line(progress: Progress) -> str:
    """One line: stage, rows, rate, time left."""
    rows = f"{progress.done:,}" + ("" if progress.of is None else f" of {progress.of:,}")
    told = [f"{_WORDS[progress.stage]}: {rows} rows"]
    if progress.rows_per_second is not None:
        told.append(f"{progress.rows_per_second:,} rows/s")
    if progress.seconds_left is not None:
        told.append(f"{duration(progress.seconds_left)} left")
    if not progress.running:
        told.append("waiting for a worker")
    return ", ".join(told)


def duration(seconds: int) -> str:
    """Seconds as `h:mm:ss`, or `m:ss` below an hour."""
    minutes, rest = divmod(max(0, seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Ticker:
    """Tells of an ingest on a terminal, over and over on one line, while its block runs.

    From a thread with a connection of its own: the work may run in the caller's. A stream that is
    no terminal is left alone.
    """

    def __init__(self, dataset: Dataset, stream: Terminal) -> None:
        self._dataset = dataset
        self._stream = stream
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._stream.isatty():
            scope = contextvars.copy_context()  # the open tenant's
            self._thread = threading.Thread(target=scope.run, args=(self._tick,), daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._put("")

    def _tick(self) -> None:
        try:
            while not self._over.wait(PAUSE):
                try:
                    progress = progress_of(Dataset.objects.get(pk=self._dataset.pk))
                except DatabaseError:
                    continue  # busy: the next look will do
                if progress is not None:
                    self._put(line(progress))
        finally:
            connections.close_all()

    def _put(self, text: str) -> None:
        self._stream.write(f"\r{text[:_LONGEST]:<{_LONGEST}}\r", ending="")
        self._stream.flush()


def wait(dataset: Dataset, *, seconds: float) -> Dataset:
    """Wait until nothing of a dataset is under way, and return it as it is then.

    Raises:
        ConflictError: `dataset.wait_over`: it is under way still, and goes on.
    """

    def rests() -> Dataset | None:
        found = Dataset.objects.get(pk=dataset.pk)
        return found if progress_of(found) is None else None

    return until(rests, seconds=seconds)


def until(look: Callable[[], Found | None], *, seconds: float) -> Found:
    """Look, again and again, until something is found.

    Raises:
        ConflictError: `dataset.wait_over`.
    """
    over = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > over:
            raise ConflictError("it has not ended yet: it goes on", code="dataset.wait_over")
        time.sleep(PAUSE)
    return found
