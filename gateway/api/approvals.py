"""`/api/v1/approvals`: what waits for a second pair of eyes, and their yes or no."""

from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.doors import Resource
from gateway.bindings import binds_action, scoped_read
from governance import approvals
from governance.actions.proposals import approve_proposal, reject_proposal
from governance.models import Approval, Proposal
from governance.permissions import Permission


class ApprovalShown(serializers.ModelSerializer[Approval]):
    """One person's yes."""

    class Meta:
        model = Approval
        fields = ("role", "approver", "created_at")


class ProposalShown(serializers.ModelSerializer[Proposal]):
    """A proposal, with the payload whose hash each approval is bound to."""

    payload = serializers.SerializerMethodField()
    roles = serializers.SerializerMethodField()
    lacks = serializers.SerializerMethodField()
    approvals = ApprovalShown(many=True, read_only=True)

    class Meta:
        model = Proposal
        fields = (
            "id", "kind", "subject", "payload", "payload_hash", "proposer", "roles", "approvals",
            "lacks", "created_at", "expires_at", "used_at", "rejected_at",
        )  # fmt: skip

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_payload(self, proposal: Proposal) -> Any:
        """What is to be done."""
        return approvals.payload_of(proposal)

    def get_roles(self, proposal: Proposal) -> list[str]:
        """The roles of which each must approve."""
        return [role.value for role in proposal.roles]

    def get_lacks(self, proposal: Proposal) -> str | None:
        """The code of what keeps it from being used."""
        return approvals.what_lacks(proposal, timezone.now())


class Decided(serializers.Serializer[Any]):
    """What one approval did."""

    proposal = serializers.UUIDField()
    role = serializers.CharField()
    complete = serializers.BooleanField(help_text="Whether it was the last one that lacked.")


@scoped_read(Proposal)
class Approvals(Resource):
    """Proposals of the caller's tenant."""

    model = Proposal
    requires = Permission.PROPOSAL_VIEW
    serializer_class = ProposalShown

    @extend_schema(request=None, responses=Decided)
    @route(detail=True, methods=["post"])
    @binds_action(approve_proposal)
    def approve(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """Say yes; with the last yes, what was proposed happens, or starts on its queue."""
        done = approve_proposal(self.person, self.one(pk))
        return Response(
            {"proposal": str(done.proposal.id), "role": done.role, "complete": done.complete}
        )

    @extend_schema(request=None, responses=ProposalShown)
    @route(detail=True, methods=["post"])
    @binds_action(reject_proposal)
    def reject(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """Say no; it is closed for everybody."""
        return Response(ProposalShown(reject_proposal(self.person, self.one(pk))).data)
