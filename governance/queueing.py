"""Where the work of a command is done: here, or by the workers; and following it."""

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from governance import leases
from governance.following import Terminal, Ticker, wait
from governance.models import Dataset

TIMEOUT = 24 * 3600.0


def add_arguments(parser: ArgumentParser, what: str) -> None:
    """Add `--queue`, `--wait` and `--timeout`."""
    parser.add_argument("--queue", action="store_true", help=f"leave {what} to the workers")
    parser.add_argument("--wait", action="store_true", help="with --queue: follow it to its end")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds to wait")


@contextmanager
def enqueuing(options: dict[str, Any]) -> Iterator[None]:
    """Around the action that sets work off: its jobs are sent only where workers are to do it."""
    with nullcontext() if options["queue"] else leases.doing_it_here():
        yield


def see_to(dataset: Dataset, options: dict[str, Any], stderr: Terminal) -> Dataset:
    """Do the work here, or wait for those who do it, or neither; the dataset as it is then.

    Raises:
        ConflictError: `dataset.wait_over`.
    """
    with Ticker(dataset, stderr):
        if not options["queue"]:
            leases.run_here(dataset.reference)
        if options["wait"] or not options["queue"]:
            # Workers that the sweeper nudged may hold some of the jobs.
            return wait(dataset, seconds=options["timeout"])
    return Dataset.objects.get(pk=dataset.pk)
