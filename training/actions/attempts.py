"""What a worker writes of an attempt: begun, finished with a model, or stopped without one.

Each is fenced by the worker's lease in its own transaction: a worker that lost it writes nothing.
"""

from dataclasses import dataclass
from typing import Any

from django.db.models import Max
from django.utils import timezone

from audit.canonical import decimal
from audit.events import Event
from audit.recording import Record, action
from governance.leases import Lease
from governance.models import StoredObject
from governance.models.jobs import JobState
from governance.permissions import Permission
from governance.rbac import SystemActor
from training import costs, ledger, members
from training.admission import check_purpose, check_quality, end, forget, locked, start_anew
from training.config import Plan
from training.errors import RunStateError
from training.keeping import AT_WORK, GOES_ON, is_over
from training.mechanisms import exact
from training.models import Checkpoint, Guarantee, Model, ModelVersion, Run, RunState
from training.planning import check_unchanged
from training.states import move


@action(Event.RUN_BEGUN, requires=Permission.RUN_FINISH)
def begin_run(
    record: Record, actor: SystemActor, run: Run, *, lease: Lease, noise_source: str, step: int
) -> Run:
    """A worker starts an attempt: it may read the data once this has committed.

    A worker that takes over from a dead one begins the same attempt again, from what that one kept.

    Args:
        record: filled here.
        actor: the training worker.
        run: whose attempt it is.
        lease: the worker's.
        noise_source: what coins and noise follow from.
        step: the step that a checkpoint was taken at; 0 for a beginning.

    Raises:
        LostLeaseError: another worker holds the job.
        RunStateError: the run has ended; or something of this attempt touched the data, and nothing
            was kept of it.
        RefusedError: `purpose.not_granted`: the purpose was withdrawn meanwhile;
            `quality.not_checked`, `quality.contract_unmet`: the last check is too old, or failed.
        RunRefusedError: `run.declarations_changed`.
    """
    del actor
    run = locked(run, RunState.QUEUED, RunState.RUNNING)
    lease.check()
    kept = Checkpoint.objects.filter(run=run, since=run.since).exists()
    if ledger.line(run).touched and not kept:
        raise RunStateError("this attempt touched the data already", code="run.worker_lost")
    check_purpose(run.version, run.purpose)
    check_unchanged(run)
    check_quality(run.version)
    run.started_at = run.started_at or timezone.now()
    move(run, RunState.RUNNING, "started_at")
    plan = Plan.from_dict(run.plan)
    record.facts(
        attempt=run.attempt,
        step=step,
        plan=plan.digest(),
        noise_multiplier=exact(plan.noise_multiplier),
        sample_rate=decimal(plan.sample_rate, 12),
        steps=plan.steps,
        max_grad_norm=decimal(plan.max_grad_norm),
        noise_source=noise_source,
        queue=run.queue,
        # How many are expected: how many there are nobody may know.
        **({"trials": decimal(plan.trials)} if plan.stopping else {}),
    )
    return run


@dataclass(frozen=True)
class Made:
    """What a finished attempt leaves. Figures are of this run alone."""

    stored: StoredObject  # not saved yet
    artifact_digest: str
    background_digest: str
    card: dict[str, Any]
    card_digest: str
    epsilon_pld: float | None  # None without a DP guarantee, and of a search
    auroc: float | None  # None where it is not measurable


@action(Event.RUN_FINISHED, requires=Permission.RUN_FINISH)
def finish_run(
    record: Record, actor: SystemActor, run: Run, *, lease: Lease, made: Made
) -> ModelVersion:
    """Register the model version, close the attempt's account and free the job, all or none.

    Raises:
        LostLeaseError: another worker holds the job; nothing is written.
        RunStateError: the run is not running.
        RunRefusedError: `run.member_withdrawn`: a member of the ensemble was, meanwhile.
    """
    del actor
    run = locked(run, RunState.RUNNING)
    effort = costs.write(run, lease.end(JobState.DONE))
    ledger.close(run, run.attempt)
    forget(run)
    model = Model.objects.select_for_update().get(tenant_id=run.tenant_id, slug=run.model_name)
    last = model.versions.aggregate(last=Max("number"))["last"] or 0
    made.stored.save(force_insert=True)
    version = ModelVersion.objects.create(
        tenant_id=run.tenant_id,
        model=model,
        number=last + 1,
        run=run,
        artifact=made.stored,
        artifact_digest=made.artifact_digest,
        background_digest=made.background_digest,
        guarantee=run.guarantee,
        card=made.card,
        card_digest=made.card_digest,
    )
    members.hold(run, version)
    end(run, RunState.FINISHED)
    figures = {}
    if run.guarantee == Guarantee.DP:
        delta = float(run.version.dataset.budget.delta)
        figures = {
            "epsilon": decimal(ledger.spent_by(run, delta)),
            "delta": exact(delta),
        }
        if made.epsilon_pld is not None:
            figures["epsilon_pld"] = decimal(made.epsilon_pld)
    record.facts(
        attempt=run.attempt,
        steps=ledger.line(run).steps,
        guarantee=run.guarantee,
        model=version.reference,
        artifact=made.artifact_digest,
        **costs.facts(effort),
        **({} if made.auroc is None else {"auroc": decimal(made.auroc)}),
        **figures,
    )
    return version


@action(Event.RUN_STOPPED, requires=Permission.RUN_FINISH)
def stop_run(
    record: Record, actor: SystemActor, run: Run, *, lease: Lease, state: RunState, code: str
) -> Run:
    """Write down that an attempt ended without a model; what it wrote ahead stays charged.

    Args:
        record: filled here.
        actor: the training worker.
        run: whose attempt it was.
        lease: the worker's.
        state: `failed`, or `cancelled` where somebody asked for that.
        code: why, as a stable code.

    Raises:
        LostLeaseError: another worker holds the job; nothing is written.
    """
    del actor
    run = locked(run, RunState.QUEUED, RunState.RUNNING)
    cancelled = state is RunState.CANCELLED
    ended = JobState.CANCELLED if cancelled else JobState.FAILED
    effort = costs.write(run, lease.end(ended, error_code=code))
    ledger.close(run, run.attempt)
    if code not in GOES_ON:
        forget(run)
    end(run, state, code)
    steps = ledger.line(run).steps
    record.facts(
        attempt=run.attempt, state=state.value, code=code, steps=steps, **costs.facts(effort)
    )
    if run.guarantee == Guarantee.DP:
        delta = float(run.version.dataset.budget.delta)
        record.facts(epsilon=decimal(ledger.spent_by(run, delta)))
    if not cancelled:
        record.failed(code)
    return run


@action(Event.RUN_CHECKPOINT_REMOVED, requires=Permission.RUN_FINISH)
def remove_checkpoint(record: Record, actor: SystemActor, run: Run) -> Run:
    """Destroy what a stopped run could be gone on with: a later attempt begins anew, and pays anew.

    Raises:
        RunStateError: it is at work, or is to go on; or nothing of it is kept any more.
    """
    del actor
    run = locked(run, *(state for state in RunState if state not in AT_WORK))
    row = Checkpoint.objects.filter(run=run).first()
    if row is None or not is_over(run, row.written_at, timezone.now()):
        raise RunStateError("this run may still be gone on with", code="run.goes_on")
    start_anew(run)
    record.facts(
        attempt=run.attempt,
        step=row.step,
        state=run.state,
        **({"code": run.error_code} if run.error_code else {}),
    )
    return run
