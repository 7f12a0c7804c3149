"""A synthetic twin: allowed and, where rows are read for it, charged; then written down."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils import timezone

from audit.canonical import canonical, decimal, digest
from audit.events import Event
from audit.recording import Record, action
from governance.errors import RefusedError
from governance.models import DatasetVersion, PurposeGrant
from governance.permissions import Permission
from governance.rbac import UserActor
from training import ledger
from training.admission import end, locked
from training.charges import Charge
from training.models import Guarantee, Run, RunState


@action(Event.TWIN_BEGUN, requires=Permission.DATASET_SYNTHESIZE)
def begin_twin(
    record: Record,
    actor: UserActor,
    version: DatasetVersion,
    *,
    epsilon: Decimal | None = None,
    charges: Sequence[Charge] = (),
) -> Run | None:
    """Allow a twin; with ε, reserve what reading the rows for it will cost.

    Args:
        record: filled here.
        actor: the engineer.
        version: whose twin it is.
        epsilon: ε asked; None where no row is read.
        charges: the one release on each part of the rows.

    Returns:
        The open run that the ledger charges, or None.

    Raises:
        RefusedError: `purpose.missing`: rows are read for a purpose or not at all.
        BudgetError: `budget.exceeded`.
    """
    record.facts(version=version.reference, epsilon="0")
    if epsilon is None:
        return None
    grant = (
        PurposeGrant.objects.filter(dataset_id=version.dataset_id).order_by("granted_at").first()
    )
    if grant is None:
        raise RefusedError("a dataset needs a purpose", code="purpose.missing")
    # No target and no features: a run that trains nothing, and that nobody can try again.
    config = {"twin": True, "features": ""}
    run = Run.objects.create(
        tenant_id=version.tenant_id,
        version=version,
        purpose=grant.purpose.slug,
        model_name=f"{version.dataset.name[:75]}-twin",
        guarantee=Guarantee.DP,
        epsilon=epsilon,
        config=canonical(config),
        config_digest=digest(config),
        state=RunState.RUNNING,
        requested_by_id=actor.user_id,
        started_at=timezone.now(),
    )
    ledger.reserve(ledger.budget_of(version.dataset), run, run.attempt, charges)
    record.facts(run=run.reference, epsilon=f"{epsilon:f}")
    return run


@dataclass(frozen=True)
class Drawn:
    """What stands in the file that is about to get its name."""

    rows: int
    format: str
    digest: str  # SHA-256


@action(Event.TWIN_WRITTEN, requires=Permission.DATASET_SYNTHESIZE)
def finish_twin(
    record: Record, actor: UserActor, version: DatasetVersion, *, drawn: Drawn, run: Run | None
) -> None:
    """Write down the twin and close its account.

    Raises:
        RunStateError: the run was ended meanwhile.
    """
    del actor
    record.facts(version=version.reference, rows=drawn.rows, format=drawn.format, file=drawn.digest)
    if run is not None:
        _close(record, run, RunState.FINISHED)


@action(Event.TWIN_STOPPED, requires=Permission.DATASET_SYNTHESIZE)
def stop_twin(record: Record, actor: UserActor, version: DatasetVersion, *, run: Run) -> None:
    """Close the account of a twin that was not written; what was written ahead stays charged.

    Raises:
        RunStateError: the run has ended.
    """
    del actor
    record.facts(version=version.reference)
    _close(record, run, RunState.FAILED)


def _close(record: Record, run: Run, state: RunState) -> None:
    run = locked(run, RunState.RUNNING)
    ledger.close(run, run.attempt)
    end(run, state)
    delta = float(run.version.dataset.budget.delta)
    record.facts(run=run.reference, epsilon=decimal(ledger.spent_by(run, delta)))
