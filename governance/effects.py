"""What complete proposals and queued jobs of governance do; registered once, at start-up."""

from typing import Any

from audit.recording import Record
from governance import approvals
from governance.errors import ConflictError
from governance.models import Dataset, Proposal, RoleBinding, User
from governance.models.datasets import DatasetState
from governance.permissions import ProposalKind, Role


def register() -> None:
    """Fill the registries of approvals and leases."""
    approvals.register_effect(
        ProposalKind.COLUMN_PLAN, approvals.Effect(apply=_approve_plan, dispatch=_anonymize)
    )
    approvals.register_effect(ProposalKind.ROLE_GRANT, approvals.Effect(apply=_grant_role))
    approvals.register_effect(ProposalKind.REVEAL, approvals.Effect())


def _approve_plan(record: Record, proposal: Proposal, payload: dict[str, Any]) -> None:
    del record, payload
    moved = Dataset.objects.filter(
        pk=proposal.subject.partition(":")[2], state=DatasetState.PROPOSED
    ).update(state=DatasetState.APPROVED)
    if not moved:
        raise ConflictError("this dataset waits for no plan", code="dataset.not_proposed")


def _anonymize(proposal: Proposal) -> None:
    from governance.tasks import begin_anonymization  # noqa: PLC0415  # tasks import actions

    begin_anonymization.delay(str(proposal.id))


def _grant_role(record: Record, proposal: Proposal, payload: dict[str, Any]) -> None:
    del record
    RoleBinding.objects.create(
        tenant_id=proposal.tenant_id,
        user=User.objects.get(pk=payload["user"]),
        role=Role(payload["role"]).value,
    )
    approvals.use(ProposalKind.ROLE_GRANT, proposal.subject, proposal.payload_hash)


