"""`recompute_budget [--dataset N] --as USER`: compute budgets a second time, by other code."""

from argparse import ArgumentParser
from typing import Any

from audit.events import Event
from audit.recording import append_refusal
from governance.doors import DoorCommand
from governance.errors import RefusedError
from governance.lookup import find
from governance.models import Dataset
from governance.permissions import Permission
from governance.rbac import UserActor
from training import ledger
from training.errors import LedgerError
from training.models import Budget
from training.recomputation import recompute


class Command(DoorCommand):
    """Compare what the ledger says with an independent composition of its raw lines."""

    help = "Recompute privacy budgets from the ledger's raw lines"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the dataset."""
        parser.add_argument("--dataset", help="name or id; every budget of the tenant if not given")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Recompute; exit 4 if a figure differs or a line breaks a rule."""
        budgets = (
            Budget.objects.visible_to(actor).select_related("dataset").order_by("dataset__name")
        )
        if options["dataset"]:
            budgets = budgets.filter(dataset=find(actor, Dataset, options["dataset"]))
        shown = []
        for budget in budgets:
            decision = actor.may(Permission.BUDGET_VIEW, budget)
            if not decision.allowed:
                append_refusal(
                    Event.LOOKUP_REFUSED,
                    actor,
                    budget,
                    decision.reason,
                    Permission.BUDGET_VIEW.value,
                    kind="budget",
                )
                raise RefusedError("you may not do this", code=decision.reason)
            shown.append(_compared(budget))
        result = {"budgets": shown, "agree": all(one["agrees"] for one in shown)}
        if not result["agree"]:
            self.stdout.write(self.tell(result))
            raise LedgerError("a budget's figures do not agree", code="ledger.disagrees")
        return result


def _compared(budget: Budget) -> dict[str, Any]:
    said, again = ledger.statement(budget), recompute(budget)
    return {
        "dataset": budget.dataset.name,
        **said.as_dict(),
        "recomputed": again.as_dict(),
        "agrees": again.agrees(said.spent, said.spent + said.reserved),
    }
