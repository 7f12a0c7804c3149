"""The console's first page: what waits for me, where data and runs stand, what is left of ε."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from audit.models import AuditEntry
from audit.sequencer import latest_checkpoint
from gateway.console import words
from gateway.console.access import house, person, roles, sees
from gateway.console.payloads import subject_of
from gateway.console.proposals import waiting_for
from gateway.models import License
from governance.models import Dataset, Proposal
from governance.models.datasets import DatasetState
from governance.permissions import Permission
from governance.rbac import tenants_of
from training import ledger
from training.models import Budget, Run, RunState

_SHOWN = 6


@dataclass(frozen=True)
class Waiting:
    """A proposal in which a seat of the reader's is free."""

    proposal: Proposal
    what: str
    about: str
    link: str


def dashboard(request: HttpRequest) -> dict[str, Any]:
    """What the first page shows to whoever asks; a part that the role does not open is None."""
    actor = person(request)
    waiting = waiting_for(actor)
    return {
        "tenant": house(request),
        "roles": [words.word(words.ROLES, role.value) for role in sorted(roles(request))],
        "tenants": tenants_of(request.user),  # type: ignore[arg-type]  # signed in
        "waiting": [
            Waiting(
                proposal,
                words.word(words.PROPOSALS, proposal.kind),
                subject_of(proposal).value,
                reverse("admin:governance_proposal_change", args=[proposal.pk]),
            )
            for proposal in waiting[:_SHOWN]
        ],
        "waiting_count": len(waiting),
        "decides": sees(request, Permission.PROPOSAL_DECIDE),
        "starts": _starts(request),
        "datasets": _datasets(request),
        "runs": _runs(request),
        "budgets": _budgets(request),
        "licenses": _licenses(request),
        "log": _log(request),
    }


def _starts(request: HttpRequest) -> list[tuple[str, str, str]]:
    """What the reader can begin: (address, label, icon)."""
    offered = [
        (Permission.DATASET_UPLOAD, "admin:governance_dataset_upload", _("Upload a table"),
         "upload_file"),
        (Permission.RUN_REQUEST, "admin:training_run_request", _("Request a run"),
         "model_training"),
        (Permission.LICENSE_ISSUE, "admin:gateway_license_issue", _("Issue a license"),
         "handshake"),
        (Permission.AUDIT_EXPORT, "admin:audit_auditentry_changelist", _("Read the log"),
         "receipt_long"),
    ]  # fmt: skip
    return [
        (reverse(name), label, icon)
        for permission, name, label, icon in offered
        if sees(request, permission)
    ]


def _datasets(request: HttpRequest) -> dict[str, Any] | None:
    if not sees(request, Permission.DATASET_VIEW):
        return None
    rows = Dataset.objects.visible_to(person(request))
    counted = dict(rows.order_by().values_list("state").annotate(Count("pk")))
    return {
        "states": [
            (state.value, str(state.label), counted[state.value])
            for state in DatasetState
            if counted.get(state.value)
        ],
        "newest": [(row, str(DatasetState(row.state).label)) for row in rows[:_SHOWN]],
    }


def _runs(request: HttpRequest) -> dict[str, Any] | None:
    if not sees(request, Permission.RUN_VIEW):
        return None
    rows = Run.objects.visible_to(person(request)).select_related("version__dataset")
    shown = []
    for run in rows[:_SHOWN]:
        point = run.points.filter(attempt=run.attempt).last()
        shown.append((run, str(RunState(run.state).label), point))
    moving = rows.filter(state__in=[RunState.QUEUED, RunState.RUNNING]).count()
    return {"newest": shown, "moving": moving}


def _budgets(request: HttpRequest) -> list[Any] | None:
    if not sees(request, Permission.BUDGET_VIEW):
        return None
    rows = Budget.objects.visible_to(person(request)).select_related("dataset")
    return [(row, ledger.statement(row)) for row in rows.order_by("-created_at")[:_SHOWN]]


def _licenses(request: HttpRequest) -> list[License] | None:
    if not sees(request, Permission.LICENSE_VIEW):
        return None
    rows = License.objects.visible_to(person(request)).filter(revoked_at__isnull=True)
    return list(rows.select_related("model", "customer")[:_SHOWN])


def _log(request: HttpRequest) -> dict[str, Any] | None:
    if not sees(request, Permission.AUDIT_VIEW):
        return None
    entries = AuditEntry.objects.filter(tenant=person(request).tenant_reference)
    return {
        "checkpoint": latest_checkpoint(),
        "entries": entries.count(),
        "newest": entries.order_by("-at", "-id")[:_SHOWN],
    }
