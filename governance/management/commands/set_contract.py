"""`set_contract DATASET FILE --as USER`: what a dataset's versions must be before training."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from governance.actions.quality import set_contract
from governance.doors import DoorCommand
from governance.errors import InvalidError
from governance.lookup import find
from governance.models import Dataset
from governance.rbac import UserActor


class Command(DoorCommand):
    """Put a contract, a JSON file, in force."""

    help = "Put a quality contract in force"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the dataset and the file."""
        parser.add_argument("dataset", help="the dataset's name or id")
        parser.add_argument("file", type=Path, help="the contract as JSON")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Read the file and set it."""
        dataset = find(actor, Dataset, options["dataset"])
        row = set_contract(actor, dataset, body=_read(options["file"]))
        return {"dataset": dataset.name, "contract": row.number, "digest": row.digest}


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        # Not its text: the file's path and content are the caller's.
        raise InvalidError(
            "the contract is no JSON file", code="quality.contract_invalid"
        ) from None
