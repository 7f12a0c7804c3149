"""`cancel_examination EXAMINATION --as USER`: end an examination without figures."""

from argparse import ArgumentParser
from typing import Any

from audit.canonical import decimal
from governance.doors import DoorCommand
from governance.lookup import find
from governance.rbac import UserActor
from training import ledger
from training.actions.examinations import cancel_examination
from training.examination import Examination


class Command(DoorCommand):
    """Cancel an examination that waits or is at work."""

    help = "Cancel an examination: what it wrote ahead stays charged, the rest is released"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the examination."""
        parser.add_argument("examination", help="its id, as examine and the API tell it")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Cancel; `epsilon_spent` is None where nothing was to be charged."""
        made = cancel_examination(actor, find(actor, Examination, options["examination"]))
        spent = None
        if made.run is not None:
            delta = float(made.run.version.dataset.budget.delta)
            spent = decimal(ledger.spent_by(made.run, delta))
        return {
            "examination": str(made.id),
            "state": made.state,
            "epsilon_asked": f"{made.epsilon:f}",
            "epsilon_spent": spent,
        }
