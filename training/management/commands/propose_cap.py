"""`propose_cap DATASET --epsilon E --as USER`: propose another ε cap."""

from argparse import ArgumentParser
from typing import Any

from governance.doors import DoorCommand
from governance.lookup import find
from governance.models import Dataset
from governance.rbac import UserActor
from training.actions.budgets import propose_cap


class Command(DoorCommand):
    """Propose how much privacy a dataset may spend; officer and tenant admin decide."""

    help = "Propose the ε cap of a dataset"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add dataset and cap."""
        parser.add_argument("dataset", help="name or id")
        parser.add_argument("--epsilon", required=True, help="the new cap")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Propose."""
        dataset = find(actor, Dataset, options["dataset"])
        proposal = propose_cap(actor, dataset, epsilon=options["epsilon"])
        return {
            "dataset": dataset.name,
            "proposal": str(proposal.id),
            "status": "awaiting_approval",
        }
