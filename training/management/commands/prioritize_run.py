"""`prioritize_run RUN --priority P --as USER`: let a run wait longer, or less."""

from argparse import ArgumentParser
from typing import Any

from governance.doors import DoorCommand
from governance.lookup import find
from governance.rbac import UserActor
from training.actions.runs import prioritize_run
from training.following import told
from training.models import Priority, Run


class Command(DoorCommand):
    """Change the priority of a run that has not begun."""

    help = "Change the priority of a run that has not begun"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the run and its priority."""
        parser.add_argument("run", help="the run's id")
        parser.add_argument("--priority", required=True, choices=Priority.values)

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Change it."""
        run = find(actor, Run, options["run"])
        return told(prioritize_run(actor, run, priority=options["priority"]))
