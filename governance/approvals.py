"""Two pairs of eyes: propose, approve, use; called from inside actions.

A proposal lives 14 days. It is complete when every role its kind asks for was filled by an
approval, each by another person and none by the proposer (constraints and a trigger hold this
too). An approval counts for 24 hours and while whoever gave it holds the role, is bound to the
hash of the payload that was read, and is used once.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from audit.canonical import canonical, digest
from audit.recording import Record, reference_of
from governance.errors import ConflictError, RefusedError
from governance.models import Approval, Proposal, RoleBinding, Tenant, User
from governance.models.approvals import APPROVAL_LIFE
from governance.permissions import PROPOSALS, ProposalKind, Role


class Apply(Protocol):
    """What a complete proposal does at once, inside the transaction of its last approval."""

    def __call__(self, record: Record, proposal: Proposal, payload: dict[str, Any]) -> None:
        """Apply the payload; raise a DomainError to refuse, which undoes the approval as well."""
        ...


@dataclass(frozen=True)
class Effect:
    """What follows from a decision.

    Attributes:
        apply: done when the proposal is complete, in the transaction of the last approval. Long
            work is queued here (`leases.enqueue`): the job's row commits with the approval or not
            at all.
        reject: done in the transaction of a rejection.
    """

    apply: Apply | None = None
    reject: Apply | None = None


_effects: dict[ProposalKind, Effect] = {}


def register_effect(kind: ProposalKind, effect: Effect) -> None:
    """Say what a kind of proposal does; each package registers its own in `AppConfig.ready()`."""
    _effects[kind] = effect


def effect_of(kind: ProposalKind) -> Effect:
    """The effect of a kind.

    Raises:
        ConflictError: nothing registered it, so nothing would happen: refuse the approval.
    """
    effect = _effects.get(kind)
    if effect is None:
        raise ConflictError("nothing carries out proposals of this kind", code="proposal.no_effect")
    return effect


def propose(
    kind: ProposalKind,
    subject: object,
    payload: dict[str, Any],
    *,
    proposer_id: Any,
    tenant_id: Any,
) -> Proposal:
    """Write a proposal; an open one of the same kind on the same subject is replaced by it."""
    # Two who propose at once wait here for each other: one proposal of a subject is open.
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
    now = timezone.now()
    for older in _of(kind, subject).filter(used_at__isnull=True, rejected_at__isnull=True):
        older.rejected_at = now
        older.save(update_fields=["rejected_at"])
    body = canonical(payload)
    return Proposal.objects.create(
        tenant_id=tenant_id,
        kind=kind.value,
        subject=reference_of(subject) or "",
        payload=body,
        payload_hash=digest(payload),
        proposer_id=proposer_id,
        created_at=now,
    )


def payload_of(proposal: Proposal) -> dict[str, Any]:
    """What is proposed, as JSON."""
    payload: dict[str, Any] = json.loads(bytes(proposal.payload))
    return payload


def latest(kind: ProposalKind, subject: object) -> Proposal | None:
    """The newest proposal of a kind on a subject, whatever its state."""
    return _of(kind, subject).order_by("-created_at").first()


def add_approval(proposal: Proposal, approver: User, roles: frozenset[Role]) -> Role:
    """Write one person's yes in the first of their roles that is still missing; returns that role.

    Raises:
        ConflictError: `proposal.expired`, `proposal.closed`.
        RefusedError: `approval.own_proposal`, `approval.own_role`, `approval.twice`,
            `approval.role_filled`.
    """
    now = timezone.now()
    if proposal.used_at is not None or proposal.rejected_at is not None:
        raise ConflictError("this proposal is closed", code="proposal.closed")
    if now >= proposal.expires_at:
        raise ConflictError("this proposal has expired", code="proposal.expired")
    if proposal.proposer_id == approver.id:
        raise RefusedError("nobody approves what they proposed", code="approval.own_proposal")
    if _is_for(approver, proposal):
        raise RefusedError("nobody approves a role for themselves", code="approval.own_role")
    counted = standing(proposal, now)
    if any(approval.approver_id == approver.id for approval in counted):
        raise RefusedError("you approved this already", code="approval.twice")
    filled = {approval.role for approval in counted}
    # Who approves anew after a day does so in the same role: nobody fills two (a trigger holds it).
    before = set(proposal.approvals.filter(approver=approver).values_list("role", flat=True))
    wanted = [
        role
        for role in proposal.roles
        if role in roles and role.value not in filled and before <= {role.value}
    ]
    if not wanted:
        raise RefusedError("your role's approval is there already", code="approval.role_filled")
    Approval.objects.create(
        tenant_id=proposal.tenant_id,
        proposal=proposal,
        proposer_id=proposal.proposer_id,
        approver=approver,
        role=wanted[0].value,
        payload_hash=proposal.payload_hash,
        created_at=now,
    )
    return wanted[0]


def what_lacks(proposal: Proposal, now: datetime) -> str | None:  # noqa: PLR0911 - one a reason
    """The code of what keeps a proposal from being used, or None when it is complete and fresh."""
    if proposal.used_at is not None:
        return "approval.used"
    if proposal.rejected_at is not None:
        return "approval.rejected"
    if now >= proposal.expires_at:
        return "proposal.expired"
    if digest(payload_of(proposal)) != proposal.payload_hash:
        return "approval.payload_changed"
    asked = {role.value for role in proposal.roles}
    counted = {
        approval.role: approval.approver_id
        for approval in standing(proposal, now)
        if approval.payload_hash == proposal.payload_hash
        and approval.approver_id != proposal.proposer_id
        and approval.role in asked
    }
    if set(counted) != asked:
        return _why_not(proposal, len(counted), now)
    if len(set(counted.values())) < len(PROPOSALS[ProposalKind(proposal.kind)].approved_by):
        return "approval.one_person"
    return None


def use(kind: ProposalKind, subject: object, payload_hash: str | None = None) -> Proposal:
    """Use up the complete proposal on a subject, under a row lock, and return it.

    Args:
        kind: what was approved.
        subject: what it was approved for.
        payload_hash: the hash of what is about to be done; it must be what was approved.

    Raises:
        RefusedError: with the code of what lacks.
    """
    proposal = _of(kind, subject).select_for_update().order_by("-created_at").first()
    lack = "approval.missing" if proposal is None else what_lacks(proposal, timezone.now())
    if proposal is None or lack is not None:
        raise RefusedError("the approval for this is missing", code=lack)
    if payload_hash is not None and payload_hash != proposal.payload_hash:
        raise RefusedError("what was approved is not what this is", code="approval.payload_changed")
    proposal.used_at = timezone.now()
    proposal.save(update_fields=["used_at"])
    return proposal


def _of(kind: ProposalKind, subject: object) -> QuerySet[Proposal]:
    return Proposal.objects.filter(kind=kind.value, subject=reference_of(subject) or "")


def _fresh(proposal: Proposal, now: datetime) -> QuerySet[Approval]:
    fresh: QuerySet[Approval] = proposal.approvals.filter(created_at__gt=now - APPROVAL_LIFE)
    return fresh


def standing(proposal: Proposal, now: datetime) -> list[Approval]:
    """The approvals that count: given within a day, by somebody who still could give them."""
    in_office = RoleBinding._base_manager.filter(  # noqa: SLF001  # of the proposal's own tenant
        user_id=OuterRef("approver_id"),
        role=OuterRef("role"),
        tenant_id=proposal.tenant_id,
        revoked_at__isnull=True,
        user__is_active=True,
    )
    return list(_fresh(proposal, now).filter(Exists(in_office)))


def _why_not(proposal: Proposal, counted: int, now: datetime) -> str:
    fresh = _fresh(proposal, now).count()
    if fresh > counted and len(standing(proposal, now)) < fresh:
        return "approval.approver_left"
    return "approval.expired" if proposal.approvals.count() > counted else "approval.missing"


def _is_for(person: User, proposal: Proposal) -> bool:
    """Whether a grant of a role would go to this very person."""
    granted = proposal.kind == ProposalKind.ROLE_GRANT.value
    return granted and payload_of(proposal).get("user") == str(person.id)
