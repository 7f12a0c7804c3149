"""`compare_versions DATASET --as USER`: how far one version has moved from another."""

from argparse import ArgumentParser
from typing import Any

from governance.doors import DoorCommand
from governance.lookup import find
from governance.models import Dataset
from governance.rbac import UserActor


class Command(DoorCommand):
    """Compare two versions of a dataset, the newest with the one before unless told otherwise."""

    help = "Compare two sealed versions: PSI, KS, missing values, new categories"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add which two."""
        parser.add_argument("dataset", help="the dataset's name or id")
        parser.add_argument("--from", dest="old", type=int, help="version number; the one before")
        parser.add_argument("--to", dest="new", type=int, help="version number; the newest")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Find both and compare their sketches."""
        from governance.quality.inspecting import compare  # noqa: PLC0415 - polars

        dataset = find(actor, Dataset, options["dataset"])
        return {
            "dataset": dataset.name,
            **compare(actor, dataset, old=options["old"], new=options["new"]),
        }

    def tell(self, result: dict[str, Any]) -> str:
        """A line a column."""
        if result["from"] is None:
            return f"{result['dataset']} v{result['to']} is the first version"
        head = f"{result['dataset']} v{result['from']} -> v{result['to']}: {result['level']}"
        lines = [
            f"  {column['name']}: {column['level']}"
            f"  PSI {_shown(column['psi'])}  KS {_shown(column['ks'])}"
            f"  missing {column['missing']:+.3f}  new {_shown(column['new'])}"
            for column in result["columns"]
        ]
        lines += [f"  {name}: added" for name in result["added"]]
        lines += [f"  {name}: removed" for name in result["removed"]]
        return "\n".join([head, *lines])


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
