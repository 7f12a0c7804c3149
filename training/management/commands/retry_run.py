"""`retry_run RUN --as USER`: try an ended run again, from what was kept of it."""

from argparse import ArgumentParser
from typing import Any

import training.accounting  # noqa: F401  # torch loads now, not in the transaction that needs it
from governance.doors import DoorCommand
from governance.lookup import find
from governance.rbac import UserActor
from training.actions.runs import retry_run
from training.following import told, wait
from training.models import Run


class Command(DoorCommand):
    """Retry a run: a new attempt reserves what is unpaid; what the others spent stays spent."""

    help = "Try a failed or cancelled run again"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the run."""
        parser.add_argument("run", help="the run's id")
        parser.add_argument("--wait", action="store_true", help="follow the run until it ends")
        parser.add_argument("--timeout", type=float, default=3600.0, help="seconds to wait")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Retry; the cost is told before anything is trained."""
        run = retry_run(actor, find(actor, Run, options["run"]))
        shown = told(run)
        step = shown["goes_on_from"]
        begins = "begins anew: nothing was kept" if step is None else f"goes on from step {step}"
        self.stderr.write(
            f"attempt {run.attempt} {begins}; it reserves what is unpaid of "
            f"ε {shown['epsilon_asked']}; the dataset has spent "
            f"{shown.get('epsilon_spent_dataset')}, {shown.get('epsilon_left')} is left"
        )
        if options["wait"]:
            shown = told(wait(run, seconds=options["timeout"], say=self.stderr.write))
        return shown
