"""`check_quality DATASET --as USER`: hold a sealed version against its quality contract."""

from argparse import ArgumentParser
from typing import Any

from governance.doors import DoorCommand
from governance.lookup import find
from governance.models import Dataset
from governance.rbac import UserActor


class Command(DoorCommand):
    """Read a version, the newest unless told otherwise, and write down whether it passes."""

    help = "Hold a sealed version against its quality contract"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add which version."""
        parser.add_argument("dataset", help="the dataset's name or id")
        parser.add_argument(
            "--version-number", dest="number", type=int, help="which version; the newest by default"
        )

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Find the version and check it."""
        from governance.quality.inspecting import (  # noqa: PLC0415 - polars
            check_quality,
            version_numbered,
        )
        from governance.quality.telling import told_run  # noqa: PLC0415 - as above

        dataset = find(actor, Dataset, options["dataset"])
        return told_run(check_quality(actor, version_numbered(dataset, options["number"])))

    def tell(self, result: dict[str, Any]) -> str:
        """Passed or not, and each breach on a line."""
        head = f"{result['dataset']} v{result['version']}: " + (
            "passed" if result["passed"] else "not passed"
        )
        lines = [
            f"  {breach['column'] or '(table)'}: {breach['check']} {breach['share']:g}, "
            f"allowed {breach['limit']:g}"
            for breach in result["breaches"]
        ]
        return "\n".join([head, *lines])
