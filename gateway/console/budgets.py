"""Privacy budgets: what a dataset may still spend, and what each run cost."""

from dataclasses import dataclass
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from gateway.bindings import binds_action, scoped_read
from gateway.console.access import person, sees
from gateway.console.forms import CapForm
from gateway.console.proposals import decision_on
from gateway.console.sections import Section
from governance import approvals
from governance.permissions import Permission, ProposalKind
from training import ledger
from training.actions.budgets import propose_cap
from training.ledger import AttemptCost, Statement
from training.models import Budget, Effort, Guarantee


@admin.register(Budget)
class Budgets(Section):
    """One cap and one δ for a dataset and all its versions."""

    requires = Permission.BUDGET_VIEW
    template = "console/budget.html"
    title = _("Privacy budgets")
    related: ClassVar[tuple[str, ...]] = ("dataset",)
    list_display = ("dataset", "epsilon_cap", "shown_delta", "spent", "reserved", "left")
    search_fields = ("dataset__name",)
    ordering = ("dataset__name",)

    @display(description="δ", ordering="delta")
    def shown_delta(self, budget: Budget) -> str:
        """δ without its zeros."""
        return f"{budget.delta.normalize():f}"

    @display(description=_("spent (ε)"))
    def spent(self, budget: Budget) -> str:
        """ε of everything that was written ahead."""
        return f"{ledger.statement(budget).spent:.3f}"

    @display(description=_("reserved (ε)"))
    def reserved(self, budget: Budget) -> str:
        """ε that open attempts may still spend."""
        return f"{ledger.statement(budget).reserved:.3f}"

    @display(description=_("left (ε)"))
    def left(self, budget: Budget) -> str:
        """ε that is neither spent nor reserved."""
        return f"{ledger.statement(budget).left:.3f}"

    def doors(self) -> list[URLPattern]:
        """Propose another cap."""
        return [self.button("<str:object_id>/propose/", self.propose, "propose")]

    @scoped_read(Budget, Effort)
    def context(self, request: HttpRequest, row: Budget) -> dict[str, Any]:
        """The statement, and an open proposal."""
        proposal = approvals.latest(ProposalKind.EPSILON_CAP, row)
        statement = ledger.statement(row)
        return {
            "statement": statement,
            "lines": _lines(row, statement),
            "unprotected": {
                line.run.removeprefix("run:"): line.model
                for line in statement.attempts
                if line.run in statement.unprotected
            },
            "delta": f"{row.delta.normalize():f}",
            "decision": None if proposal is None else decision_on(proposal, person(request)),
            "cap_form": CapForm() if sees(request, Permission.BUDGET_PROPOSE) else None,
        }

    @binds_action(propose_cap)
    def propose(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Propose another cap; two people decide."""
        budget: Budget = self.one(request, object_id)
        wanted = request.POST.get("epsilon", "")
        return self.act(
            request,
            budget,
            lambda: propose_cap(person(request), budget.dataset, epsilon=wanted),
            gettext("The cap is proposed; officer and tenant admin decide."),
        )


@dataclass(frozen=True)
class Line:
    """An attempt in the statement: its ε, and what it took once it has ended."""

    cost: AttemptCost
    effort: Effort | None

    @property
    def key(self) -> str:
        """The run's id."""
        return self.cost.run.removeprefix("run:")

    @property
    def guarantee(self) -> str:
        """What the run promises, for a person."""
        return str(Guarantee(self.cost.guarantee).label)

    @property
    def reserved(self) -> float:
        """ε that an open attempt may still spend: none, once it is closed."""
        return max(0.0, self.cost.asked - self.cost.spent) if self.cost.open else 0.0


def _lines(budget: Budget, statement: Statement) -> list[Line]:
    efforts = Effort.objects.filter(run__version__dataset_id=budget.dataset_id)
    took = {(f"run:{effort.run_id}", effort.attempt): effort for effort in efforts}
    return [Line(one, took.get((one.run, one.attempt))) for one in statement.attempts]
