"""A proposal by one person, and the approvals of others."""

import uuid
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from governance.permissions import PROPOSALS, ProposalKind, Role
from governance.scoping import TenantOwned

PROPOSAL_LIFE: Final = timedelta(days=14)
APPROVAL_LIFE: Final = timedelta(hours=24)


def two_weeks_on() -> datetime:
    """When a proposal of this moment ends."""
    return timezone.now() + PROPOSAL_LIFE


class Proposal(TenantOwned):
    """What somebody wants done. The payload is bound by its hash: what was read is what is done."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(
        _("kind"), max_length=20, choices=[(kind.value, kind.value) for kind in ProposalKind]
    )
    subject = models.CharField(_("subject"), max_length=100)
    payload = models.BinaryField(_("payload"))  # canonical JSON
    payload_hash = models.CharField(_("payload hash"), max_length=64)
    proposer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="proposals"
    )
    created_at = models.DateTimeField(_("proposed"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires"), default=two_weeks_on)
    rejected_at = models.DateTimeField(_("rejected"), null=True, blank=True)
    used_at = models.DateTimeField(_("used"), null=True, blank=True)

    class Meta:
        verbose_name = _("proposal")
        verbose_name_plural = _("proposals")
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["subject", "kind"], name="proposal_of_subject")]
        constraints = [
            models.UniqueConstraint(fields=["id", "proposer"], name="proposal_and_proposer"),
            models.CheckConstraint(
                condition=models.Q(used_at__isnull=True) | models.Q(rejected_at__isnull=True),
                name="proposal_used_or_rejected",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} · {self.subject}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"proposal:{self.id}"

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of which each must approve."""
        return PROPOSALS[ProposalKind(self.kind)].approved_by

    def is_open(self, now: datetime) -> bool:
        """Whether it still waits for somebody, or for its use."""
        return self.used_at is None and self.rejected_at is None and now < self.expires_at


class Approval(TenantOwned):
    """One person's yes, in one role, to one payload. Rows are only added (a trigger holds it)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, related_name="approvals")
    proposer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )  # copied, so that a constraint can compare; a trigger refuses a wrong copy
    approver = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="approvals"
    )
    role = models.CharField(_("role"), max_length=20)
    payload_hash = models.CharField(_("payload hash"), max_length=64)
    created_at = models.DateTimeField(_("approved"), default=timezone.now)

    class Meta:
        verbose_name = _("approval")
        verbose_name_plural = _("approvals")
        ordering = ["created_at"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(approver=models.F("proposer")), name="approver_is_not_proposer"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.proposal_id} · {self.role}"
