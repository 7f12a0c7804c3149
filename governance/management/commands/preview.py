"""`preview DATASET --as USER`: the first rows as shapes; `--reread` has the file read so."""

from argparse import ArgumentParser
from typing import Any

from governance import leases
from governance.actions.readings import reread_dataset
from governance.doors import DoorCommand
from governance.errors import InvalidError
from governance.lookup import find
from governance.models import Dataset
from governance.previewing import preview_dataset
from governance.rbac import UserActor
from governance.tables.reading import previewed


class Command(DoorCommand):
    """Look at a quarantined file without seeing anybody in it."""

    help = "Show the first rows masked; try an encoding, and have the file read in it"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the dataset and how to read it."""
        parser.add_argument("dataset", help="name or id")
        parser.add_argument("--encoding", default="", help="one to try")
        parser.add_argument("--part", type=int, help="which file of the newest batch, from 1")
        parser.add_argument(
            "--reread", action="store_true", help="profile the file anew in --encoding"
        )

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Preview, or read anew."""
        dataset = find(actor, Dataset, options["dataset"])
        if not options["reread"]:
            shown = preview_dataset(
                actor, dataset, encoding=options["encoding"], part=options["part"] or 1
            )
            return {"dataset": dataset.name, **previewed(shown)}
        with leases.doing_it_here():
            dataset = reread_dataset(
                actor, dataset, encoding=options["encoding"], part=options["part"]
            )
        leases.run_here(dataset.reference)
        dataset.refresh_from_db()
        if dataset.error_code:
            raise InvalidError(dataset.error_detail, code=dataset.error_code)
        return {"dataset": dataset.name, "status": dataset.state, "encoding": dataset.encoding}
