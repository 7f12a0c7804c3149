"""When a run may start: what it needs approved, and what admitting it writes.

Shared by the actions that request and retry a run and by the effects of its approval; called inside
their transactions, never alone.
"""

from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance import approvals, leases
from governance.errors import RefusedError
from governance.models import DatasetVersion, Proposal, PurposeGrant, StoredObject
from governance.permissions import ProposalKind
from governance.quality import assessing
from governance.vault import discard
from training import ledger
from training.charges import Charge, less
from training.config import Plan
from training.errors import RunStateError
from training.models import Checkpoint, Guarantee, Priority, Run, RunState
from training.planning import charges_of
from training.states import move

TRAIN: Final = "train"  # kind of job
QUEUES: Final = ("train.cpu", "train.gpu")


def approval_needed(run: Run) -> ProposalKind | None:
    """The approval without which this run does not start."""
    if run.guarantee == Guarantee.WAIVED:
        return ProposalKind.RUN_WAIVER
    over = run.epsilon > Decimal(str(settings.RUN_APPROVAL_EPSILON))
    return ProposalKind.RUN_ADMISSION if over and run.guarantee == Guarantee.DP else None


def admit_or_propose(run: Run, proposer_id: Any) -> Proposal | None:
    """Start the run's newest attempt, or propose it to those who must approve it.

    Raises:
        BudgetError: `budget.exceeded`, also for a run that still needs approval: nobody is asked to
            approve what the budget does not allow.
    """
    kind = approval_needed(run)
    if kind is None:
        start(run)
        return None
    ledger.check_fits(ledger.budget_of(run.version.dataset), due(run))
    move(run, RunState.AWAITING_APPROVAL)
    return approvals.propose(
        kind, run, payload(run), proposer_id=proposer_id, tenant_id=run.tenant_id
    )


def start(run: Run) -> None:
    """Reserve what the attempt may charge and queue it.

    Raises:
        BudgetError: `budget.exceeded`.
    """
    plan = Plan.from_dict(run.plan)
    ledger.reserve(ledger.budget_of(run.version.dataset), run, run.attempt, due(run))
    run.error_code = ""
    move(run, RunState.QUEUED, "error_code")
    leases.enqueue(
        TRAIN,
        run.reference,
        run.queue,
        tenant_id=run.tenant_id,
        all_units=plan.steps,
        priority=Priority(run.priority).rank,
    )


def due(run: Run) -> tuple[Charge, ...]:
    """What the newest attempt has still to pay for: all of its plan, or what it goes on with."""
    return less(charges_of(Plan.from_dict(run.plan)), ledger.line(run).ahead)


def payload(run: Run) -> dict[str, Any]:
    """What an approval is bound to: one attempt of one configuration, for one purpose."""
    return {
        "run": str(run.id),
        "attempt": run.attempt,
        "version": str(run.version_id),
        "purpose": run.purpose,
        "target": run.target,
        "guarantee": run.guarantee,
        "epsilon": f"{run.epsilon:f}",
        "config": run.config_digest,
        "plan": Plan.from_dict(run.plan).digest(),
    }


def locked(run: Run, *states: RunState) -> Run:
    """The run under its row lock, if it is in one of these states.

    Raises:
        RunStateError: it is in another.
    """
    found: Run = Run.objects.select_for_update().get(pk=run.pk)
    if found.state not in states:
        raise RunStateError(f"this run is {found.state}")
    return found


def check_purpose(version: DatasetVersion, purpose: str) -> None:
    """Refuse a purpose that the version's dataset was not granted.

    Raises:
        RefusedError: `purpose.not_granted`.
    """
    granted = PurposeGrant.objects.filter(dataset_id=version.dataset_id, purpose__slug=purpose)
    if not granted.exists():
        raise RefusedError(
            "the dataset may not be processed for this purpose", code="purpose.not_granted"
        )


def check_quality(version: DatasetVersion) -> None:
    """Refuse a version that was not lately found to meet its quality contract (control C03).

    Raises:
        RefusedError: `quality.not_checked`, `quality.contract_unmet`.
    """
    assessing.check_met(version)


def forget(run: Run) -> None:
    """Remove a run's checkpoint, and with it the secret that its noise followed from.

    The key of the sealed bytes goes with the transaction; the bytes follow, at the latest when the
    vault is swept.
    """
    row = Checkpoint.objects.select_related("stored").filter(run=run).first()
    if row is None:
        return
    stored = row.stored
    row.delete()
    StoredObject.objects.filter(pk=stored.pk).delete()
    # Robust: whoever ended the run has ended it, also where the storage does not answer now.
    transaction.on_commit(lambda: discard(stored), robust=True)


def start_anew(run: Run) -> None:
    """Let a run's newest attempt, or its next, begin at its first step: nothing is kept of it."""
    forget(run)
    if run.state == RunState.AWAITING_APPROVAL:  # it was to go on once it is approved
        run.since = run.attempt
        run.save(update_fields=["since"])


def end(run: Run, state: RunState, code: str = "") -> None:
    """Move a run to the state that it ends in."""
    run.error_code = code
    run.ended_at = timezone.now()
    move(run, state, "error_code", "ended_at")
