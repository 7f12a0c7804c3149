"""`curves RUN --out DIR --as USER`: a run's curves, for TensorBoard."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from governance.doors import DoorCommand
from governance.errors import InvalidError
from governance.lookup import find
from governance.rbac import UserActor
from training.actions.curves import export_curves
from training.models import Run


class Command(DoorCommand):
    """Write an event file: loss, clip fraction, gradient norm and ε, as they were released."""

    help = "Write a run's curves as a TensorBoard event file"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the run and the folder."""
        parser.add_argument("run", help="the run's id")
        parser.add_argument("--out", required=True, type=Path, help="a folder, made if need be")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Export, and write.

        Raises:
            InvalidError: `curves.not_written`, the folder cannot be written to.
        """
        made = export_curves(actor, find(actor, Run, options["run"]))
        path = options["out"] / made.name
        try:
            options["out"].mkdir(parents=True, exist_ok=True)
            path.write_bytes(made.content)
        except OSError:
            raise InvalidError(
                "this folder cannot be written to", code="curves.not_written", pointer="/out"
            ) from None
        return {"run": options["run"], "file": str(path), "bytes": len(made.content)}
