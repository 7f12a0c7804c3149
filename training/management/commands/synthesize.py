"""`synthesize DATASET --rows N --out FILE --as USER`: rows of nobody, to develop against."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from governance.doors import DoorCommand
from governance.lookup import find
from governance.models import Dataset
from governance.rbac import UserActor
from training.lookup import sealed_version


class Command(DoorCommand):
    """A synthetic twin of a dataset version."""

    help = "Write a synthetic twin: the columns of a sealed version, and never its rows"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add whose twin, how large, and where to."""
        parser.add_argument("dataset", help="the dataset's name or id")
        parser.add_argument("--rows", type=int, required=True, help="how many rows to draw")
        parser.add_argument("--out", type=Path, required=True, help="a new file")
        parser.add_argument(
            "--version-number", dest="number", type=int, help="the newest if not given"
        )
        parser.add_argument(
            "--epsilon", help="follow noisy marginals, charged to the dataset's budget"
        )

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Draw and write."""
        from training.twin import synthesize  # noqa: PLC0415 - torch only where it is needed

        dataset = find(actor, Dataset, options["dataset"])
        version = sealed_version(actor, dataset, options["number"])
        twin = synthesize(actor, version, options["rows"], options["out"], options["epsilon"])
        return {
            "dataset": dataset.name,
            "version": version.number,
            "rows": twin.rows,
            "columns": list(twin.columns),
            "digest": twin.digest,
            "epsilon": twin.epsilon,
            "run": twin.run,
            "out": str(options["out"]),
        }
