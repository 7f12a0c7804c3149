"""Say yes or no to what another person proposed."""

from dataclasses import dataclass

from django.utils import timezone

from audit.events import Event
from audit.recording import Record, action
from governance import approvals
from governance.errors import ConflictError
from governance.models import Proposal, User
from governance.permissions import Permission, ProposalKind
from governance.rbac import UserActor


@dataclass(frozen=True)
class Approved:
    """What an approval did: whether the proposal is complete now, and which role it filled."""

    proposal: Proposal
    role: str
    complete: bool


@action(Event.PROPOSAL_APPROVED, requires=Permission.PROPOSAL_DECIDE)
def approve_proposal(record: Record, actor: UserActor, proposal: Proposal) -> Approved:
    """Approve; with the last approval the proposal takes effect, in this transaction or on a queue.

    Raises:
        ConflictError: `proposal.expired`, `proposal.closed`, or what the effect refuses.
        RefusedError: `approval.own_proposal`, `approval.twice`, `approval.role_filled`.
    """
    proposal = Proposal.objects.select_for_update().get(pk=proposal.pk)
    kind = ProposalKind(proposal.kind)
    effect = approvals.effect_of(kind)
    approver = User.objects.get(pk=actor.user_id)
    role = approvals.add_approval(proposal, approver, actor.roles())
    complete = approvals.what_lacks(proposal, timezone.now()) is None
    record.facts(
        kind=kind.value,
        role=role.value,
        payload=proposal.payload_hash,
        complete=complete,
        subject=proposal.subject,
    )
    if complete and effect.apply is not None:
        effect.apply(record, proposal, approvals.payload_of(proposal))
    return Approved(proposal, role.value, complete)


@action(Event.PROPOSAL_REJECTED, requires=Permission.PROPOSAL_DECIDE)
def reject_proposal(record: Record, actor: UserActor, proposal: Proposal) -> Proposal:
    """Reject; nothing happens, and nobody can approve it any more.

    Raises:
        ConflictError: `proposal.closed`.
    """
    proposal = Proposal.objects.select_for_update().get(pk=proposal.pk)
    if proposal.used_at is not None or proposal.rejected_at is not None:
        raise ConflictError("this proposal is closed", code="proposal.closed")
    proposal.rejected_at = timezone.now()
    proposal.save(update_fields=["rejected_at"])
    effect = approvals.effect_of(ProposalKind(proposal.kind))
    if effect.reject is not None:
        effect.reject(record, proposal, approvals.payload_of(proposal))
    role = next(role for role in proposal.roles if role in actor.roles())
    record.facts(
        kind=proposal.kind,
        role=role.value,
        payload=proposal.payload_hash,
        subject=proposal.subject,
    )
    return proposal
