"""`/api/v1/budgets`: the privacy budget of each dataset, derived from its ledger when asked for."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.approvals import ProposalShown
from gateway.api.doors import Body, Resource, checked
from gateway.bindings import binds_action, scoped_read
from governance.permissions import Permission
from training import ledger
from training.actions.budgets import propose_cap
from training.models import Budget, BudgetEntry


class BudgetShown(serializers.ModelSerializer[Budget]):
    """A dataset's cap and δ."""

    dataset: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        slug_field="name", read_only=True
    )

    class Meta:
        model = Budget
        fields: tuple[str, ...] = ("id", "dataset", "epsilon_cap", "delta", "unit", "created_at")


class BudgetDetail(BudgetShown):
    """With what was asked, spent, and is left: RDP figures at the budget's δ."""

    statement = serializers.SerializerMethodField()

    class Meta(BudgetShown.Meta):
        fields = (*BudgetShown.Meta.fields, "statement")

    def get_statement(self, budget: Budget) -> dict[str, Any]:
        """The ledger's statement; figures are decimal strings."""
        return ledger.statement(budget).as_dict()


class CapBody(Body):
    """A new cap."""

    epsilon = serializers.CharField(max_length=40)


@scoped_read(Budget, BudgetEntry)
class Budgets(Resource):
    """Budgets of the caller's tenant."""

    model = Budget
    requires = Permission.BUDGET_VIEW
    serializer_class = BudgetShown
    related = ("dataset",)

    @extend_schema(responses=BudgetDetail)
    def retrieve(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """One budget with its statement."""
        self.allow(self.requires, self.kind)
        return Response(BudgetDetail(self.one(pk)).data)

    @extend_schema(request=CapBody, responses={201: ProposalShown})
    @route(detail=True, methods=["post"])
    @binds_action(propose_cap)
    def cap(self, request: Request, pk: str) -> Response:
        """Propose another ε cap; officer and tenant admin decide."""
        budget: Budget = self.one(pk)
        wanted = checked(CapBody, request)
        proposal = propose_cap(self.person, budget.dataset, **wanted)
        return Response(ProposalShown(proposal).data, status=status.HTTP_201_CREATED)
