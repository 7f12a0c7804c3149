"""`export_model MODEL --form onnx --out FILE --as USER`: a released model for another runtime."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from governance.doors import DoorCommand
from governance.lookup import find
from governance.rbac import UserActor
from training.models import Model


class Command(DoorCommand):
    """The newest released version of a model, written as ONNX."""

    help = "Write a released model as ONNX: whole, pruned, or with 8-bit integers"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the model, the form and the file."""
        parser.add_argument("model", help="name or id")
        parser.add_argument("--form", default="onnx", help="onnx, int8 or pruned")
        parser.add_argument("--out", required=True, type=Path, help="a new file")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Write it, and say what was written."""
        from training.handing_out import hand_out  # noqa: PLC0415  # loads torch: seconds

        made = hand_out(
            actor, find(actor, Model, options["model"]), options["form"], options["out"]
        )
        return {
            "model": made.version.model.slug,
            "version": made.version.number,
            "form": made.form.value,
            "file": str(options["out"]),
            "bytes": made.size,
            "digest": made.digest,
        }
