"""What commands need to take data from a source: their options, and waiting for the fetch."""

from argparse import ArgumentParser
from typing import Any

from governance import leases
from governance.errors import InvalidError
from governance.following import until
from governance.models import Dataset, Fetch
from governance.models.fetches import FetchState


def add_arguments(parser: ArgumentParser) -> None:
    """Add `--from` and `--select`."""
    parser.add_argument(
        "--from", dest="source", metavar="SOURCE", help="a source, in place of files"
    )
    parser.add_argument(
        "--select", default="", help="with --from: the path, the prefix or the query"
    )


def check(options: dict[str, Any]) -> None:
    """Refuse files and a source together, and neither.

    Raises:
        InvalidError: `upload.missing`, `source.and_files`.
    """
    if options["files"] and options["source"]:
        raise InvalidError("name files or a source, not both", code="source.and_files")
    if not options["files"] and not options["source"]:
        raise InvalidError("there is no file", code="upload.missing")


def brought(fetch: Fetch, options: dict[str, Any]) -> Dataset | None:
    """Fetch here, or wait for those who do, or neither; the dataset, once there is one.

    Raises:
        InvalidError: with the code that the fetch ended with.
        ConflictError: `dataset.wait_over`.
    """
    if not options["queue"]:
        leases.run_here(fetch.reference)
    if options["wait"] or not options["queue"]:
        # A worker that the sweeper nudged may hold the job.
        until(lambda: _ended(fetch), seconds=options["timeout"])
    fetch.refresh_from_db()
    if fetch.state == FetchState.FAILED:
        raise InvalidError(fetch.error_detail, code=fetch.error_code)
    return fetch.dataset


def _ended(fetch: Fetch) -> Fetch | None:
    fetch.refresh_from_db()
    return None if fetch.state == FetchState.WAITING else fetch
