"""A synthetic twin: allowed and, where rows are read for it, charged; then written down."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django.utils import timezone

from audit.canonical import canonical, decimal, digest
from audit.events import Event
from audit.recording import Record, action
from governance import leases
from governance.errors import RefusedError
from governance.leases import Lease
from governance.models import DatasetVersion, PurposeGrant
from governance.models.jobs import JobState
from governance.permissions import Permission
from governance.rbac import SystemActor, UserActor
from training import ledger
from training.admission import QUEUES, end, locked
from training.charges import Charge
from training.models import Guarantee, Run, RunState

TWIN: Final = "twin"  # kind of job: who asks for a twin draws it, under a lease


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
        The open run that the ledger charges, or None. Its job waits to be claimed by who asked.

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
    leases.enqueue(TWIN, run.reference, QUEUES[0], tenant_id=run.tenant_id)
    record.facts(run=run.reference, epsilon=f"{epsilon:f}")
    return run


@dataclass(frozen=True)
class Charged:
    """A twin that is charged: its open run, and the lease under which its rows are read."""

    run: Run
    lease: Lease


@dataclass(frozen=True)
class Drawn:
    """What stands in the file that is about to get its name."""

    rows: int
    format: str
    digest: str  # SHA-256


@action(Event.TWIN_WRITTEN, requires=Permission.DATASET_SYNTHESIZE)
def finish_twin(
    record: Record,
    actor: UserActor,
    version: DatasetVersion,
    *,
    drawn: Drawn,
    charged: Charged | None,
) -> None:
    """Write down the twin and close its account.

    Raises:
        LostLeaseError: its process was taken for dead, and its account was closed.
    """
    del actor
    record.facts(version=version.reference, rows=drawn.rows, format=drawn.format, file=drawn.digest)
    if charged is not None:
        charged.lease.end(JobState.DONE)
        _close(record, charged.run, RunState.FINISHED)


@action(Event.TWIN_STOPPED, requires=Permission.DATASET_SYNTHESIZE)
def stop_twin(
    record: Record, actor: UserActor, version: DatasetVersion, *, charged: Charged
) -> None:
    """Close the account of a twin that was not written; what was written ahead stays charged.

    Raises:
        LostLeaseError: as `finish_twin`.
    """
    del actor
    record.facts(version=version.reference)
    charged.lease.end(JobState.FAILED)
    _close(record, charged.run, RunState.FAILED)


@action(Event.TWIN_LOST, requires=Permission.RUN_FINISH)
def lose_twin(record: Record, actor: SystemActor, run: Run, *, lease: Lease) -> Run:
    """Close the account of a twin whose process died; what it wrote ahead stays charged.

    Args:
        record: filled here.
        actor: the training worker.
        run: the twin's.
        lease: under which its job was taken from the dead process.

    Raises:
        LostLeaseError: somebody else has the job.
    """
    del actor
    record.facts(version=run.version.reference)
    lease.end(JobState.FAILED, error_code="run.worker_lost")
    return _close(record, run, RunState.FAILED, "run.worker_lost")


def _close(record: Record, run: Run, state: RunState, code: str = "") -> Run:
    run = locked(run, RunState.RUNNING)
    ledger.close(run, run.attempt)
    end(run, state, code)
    delta = float(run.version.dataset.budget.delta)
    record.facts(run=run.reference, epsilon=decimal(ledger.spent_by(run, delta)))
    return run
