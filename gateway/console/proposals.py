"""Approvals: what waits for me, what exactly would be done, and my yes or no."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from gateway.bindings import binds_action, scoped_read
from gateway.console import words
from gateway.console.access import person
from gateway.console.payloads import Line, readable, subject_of, warnings_of
from gateway.console.sections import Section
from gateway.console.sentences import sentence
from governance import approvals
from governance.actions.proposals import approve_proposal, reject_proposal
from governance.models import Approval, Proposal
from governance.permissions import Permission
from governance.rbac import UserActor

STATES = {
    "open": _("open"),
    "used": _("carried out"),
    "rejected": _("rejected"),
    "expired": _("expired"),
}


@dataclass(frozen=True)
class Seat:
    """One role that must approve, and who filled it."""

    role: str
    approval: Approval | None


@dataclass(frozen=True)
class Decision:
    """A proposal as its page shows it.

    Attributes:
        proposal: the row.
        subject: what it is about, and its address.
        lines: the payload, readable.
        warnings: what must not be overlooked at the decision.
        seats: each role that must approve.
        state: "open", "used", "rejected" or "expired".
        lacks: why it cannot be used yet, as a sentence; "" when it is complete.
        may_decide: whether the reader could approve or reject it now.
        why_not: why not, as a sentence.
    """

    proposal: Proposal
    subject: Line
    lines: list[Line]
    warnings: list[str]
    seats: list[Seat]
    state: str
    lacks: str
    may_decide: bool
    why_not: str

    @property
    def label(self) -> str:
        """The state, in words."""
        return str(STATES[self.state])


def state_of(proposal: Proposal, now: datetime) -> str:
    """Where a proposal stands."""
    if proposal.used_at is not None:
        return "used"
    if proposal.rejected_at is not None:
        return "rejected"
    return "open" if proposal.is_open(now) else "expired"


def decision_on(proposal: Proposal, actor: UserActor) -> Decision:
    """A proposal, and whether the actor could decide it now."""
    now = timezone.now()
    seats = _seats(proposal, now)
    allowed = actor.may(Permission.PROPOSAL_DECIDE, proposal)
    reason = "" if allowed.allowed else allowed.reason
    if not reason and not _free(seats, actor):
        mine = any(seat.approval and seat.approval.approver_id == actor.user_id for seat in seats)
        reason = "approval.twice" if mine else "approval.role_filled"
    state = state_of(proposal, now)
    lacks = approvals.what_lacks(proposal, now)
    return Decision(
        proposal=proposal,
        subject=subject_of(proposal),
        lines=readable(proposal),
        warnings=warnings_of(proposal) if state == "open" else [],
        seats=seats,
        state=state,
        lacks="" if lacks is None else sentence(lacks),
        may_decide=state == "open" and not reason,
        # Whose role decides nothing here reads what is missing, and needs no excuse.
        why_not=sentence(reason)
        if state == "open" and reason not in {"", "permission.role_missing"}
        else "",
    )


def waiting_for(actor: UserActor) -> list[Proposal]:
    """The open proposals in which a seat of the actor's is free, the oldest first."""
    if not actor.roles():
        return []
    now = timezone.now()
    rows = (
        Proposal.objects.visible_to(actor)
        .filter(used_at__isnull=True, rejected_at__isnull=True, expires_at__gt=now)
        .exclude(proposer_id=actor.user_id)
        .select_related("proposer")
        .order_by("created_at")
    )
    return [
        proposal
        for proposal in rows
        if actor.may(Permission.PROPOSAL_DECIDE, proposal).allowed
        and _free(_seats(proposal, now), actor)
    ]


def _seats(proposal: Proposal, now: datetime) -> list[Seat]:
    """The seats of an open proposal as they stand; of a closed one, as they were filled."""
    given = approvals.standing(proposal, now)
    if proposal.used_at is not None:
        given = list(proposal.approvals.filter(created_at__lte=proposal.used_at))
    filled = {approval.role: approval for approval in given}
    return [Seat(role.value, filled.get(role.value)) for role in proposal.roles]


def _free(seats: list[Seat], actor: UserActor) -> bool:
    """Whether a seat of one of the actor's roles is empty, and the actor sits on no other."""
    held = {role.value for role in actor.roles()}
    if any(seat.approval and seat.approval.approver_id == actor.user_id for seat in seats):
        return False
    return any(seat.approval is None and seat.role in held for seat in seats)


class ProposalState(admin.SimpleListFilter):
    """Waiting for me, open, or decided."""

    title = _("state")
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002 - Django's
        """The choices."""
        return [("me", _("waiting for me")), ("open", _("open")), ("closed", _("closed"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """The rows of a choice."""
        if self.value() == "me":
            return queryset.filter(pk__in=[row.pk for row in waiting_for(person(request))])
        open_rows = queryset.filter(
            used_at__isnull=True, rejected_at__isnull=True, expires_at__gt=timezone.now()
        )
        if self.value() == "open":
            return open_rows
        if self.value() == "closed":
            return queryset.exclude(pk__in=open_rows.values("pk"))
        return queryset


@admin.register(Proposal)
class Proposals(Section):
    """What one person proposed and others decide."""

    requires = Permission.PROPOSAL_VIEW
    template = "console/proposal.html"
    title = _("Approvals")
    related: ClassVar[tuple[str, ...]] = ("proposer",)
    list_display = ("what", "about", "proposer", "created_at", "expires_at", "state")
    list_filter = (ProposalState, "kind")
    ordering = ("-created_at",)

    @display(description=_("kind"), ordering="kind")
    def what(self, proposal: Proposal) -> str:
        """The kind, in words."""
        return words.word(words.PROPOSALS, proposal.kind)

    @display(description=_("subject"))
    def about(self, proposal: Proposal) -> str:
        """What it is about."""
        return subject_of(proposal).value

    @display(description=_("state"), label=words.VARIANTS)
    def state(self, proposal: Proposal) -> tuple[str, str]:
        """Where it stands."""
        value = state_of(proposal, timezone.now())
        return value, str(STATES[value])

    def doors(self) -> list[URLPattern]:
        """The two buttons."""
        return [
            self.button("<str:object_id>/approve/", self.approve, "approve"),
            self.button("<str:object_id>/reject/", self.reject, "reject"),
        ]

    @scoped_read(Proposal)
    def context(self, request: HttpRequest, row: Proposal) -> dict[str, Any]:
        """The proposal, readable."""
        return {"decision": decision_on(row, person(request))}

    @binds_action(approve_proposal)
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say yes."""
        proposal: Proposal = self.one(request, object_id)
        return self.act(
            request,
            proposal,
            lambda: approve_proposal(person(request), proposal),
            gettext("You approved this."),
            _back(request),
        )

    @binds_action(reject_proposal)
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say no."""
        proposal: Proposal = self.one(request, object_id)
        return self.act(
            request,
            proposal,
            lambda: reject_proposal(person(request), proposal),
            gettext("You rejected this."),
            _back(request),
        )


def _back(request: HttpRequest) -> str:
    """The page that the button stood on, where that was another than the proposal's own."""
    wanted = request.POST.get("back", "")
    return wanted if wanted.startswith(reverse("admin:index")) else ""
