"""`cancel_run RUN --as USER`: stop a run."""

from argparse import ArgumentParser
from typing import Any

from governance.doors import DoorCommand
from governance.lookup import find
from governance.rbac import UserActor
from training.actions.runs import cancel_run
from training.following import told
from training.models import Run


class Command(DoorCommand):
    """Cancel a run; one that is at work stops before its next block of steps."""

    help = "Cancel a run"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the run."""
        parser.add_argument("run", help="the run's id")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Cancel."""
        return told(cancel_run(actor, find(actor, Run, options["run"])))
