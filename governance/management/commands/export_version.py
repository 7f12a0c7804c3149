"""`export_version DATASET --out FILE --as USER`: anonymized rows as CSV, JSONL or Parquet."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from governance.doors import DoorCommand
from governance.errors import NotFoundError
from governance.lookup import find
from governance.models import Dataset
from governance.rbac import UserActor


class Command(DoorCommand):
    """Export one version of a dataset, the newest unless told otherwise."""

    help = "Export a sealed version: CSV, JSONL or Parquet by the file's suffix"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add which version, and where to."""
        parser.add_argument("dataset", help="the dataset's name or id")
        parser.add_argument(
            "--version-number", dest="number", type=int, help="which version; the newest by default"
        )
        parser.add_argument("--out", type=Path, required=True, help="a new file")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Find the version and write it."""
        from governance.exporting import export  # noqa: PLC0415 - spaCy only where it is needed

        dataset = find(actor, Dataset, options["dataset"])
        versions = dataset.versions.order_by("-number")
        if options["number"] is not None:
            versions = versions.filter(number=options["number"])
        version = versions.first()
        if version is None:
            raise NotFoundError("there is no such sealed version", code="version.not_found")
        rows = export(actor, version, options["out"])
        return {
            "dataset": dataset.name,
            "version": version.number,
            "rows": rows,
            "leaks": 0,
            "out": str(options["out"]),
        }
