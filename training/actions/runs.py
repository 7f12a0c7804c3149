"""A run's way: requested, admitted, begun, finished or stopped; cancelled or tried again.

awaiting_approval ─► queued ─► running ─► finished
│               │          ├────► failed ─────┐
└───────────────┴──────────┴────► cancelled ──┴─► (retry: a new attempt, for what is unpaid)
"""

from collections.abc import Mapping
from typing import Final

from django.utils import timezone
from django.utils.text import slugify

from audit.canonical import canonical
from audit.events import Event
from audit.recording import Record, action
from governance import approvals
from governance.errors import InvalidError, RefusedError
from governance.models import DatasetVersion, Job, Proposal
from governance.models.jobs import JobState
from governance.permissions import Permission
from governance.rbac import UserActor
from training import ledger
from training.admission import (
    QUEUES,
    TRAIN,
    admit_or_propose,
    approval_needed,
    check_purpose,
    check_quality,
    end,
    forget,
    locked,
)
from training.asking import Judged, judge, one_of
from training.config import ModelKind
from training.errors import BudgetError, ConfigError, RunStateError
from training.mechanisms import exact
from training.models import Checkpoint, Guarantee, Model, Priority, Run, RunState
from training.planning import check_unchanged

ENDED: Final = (RunState.FAILED, RunState.CANCELLED)


@action(Event.RUN_REQUESTED, requires=Permission.RUN_REQUEST)
def request_run(  # noqa: PLR0913 - one argument a field of the form
    record: Record,
    actor: UserActor,
    version: DatasetVersion,
    *,
    target: str,
    purpose: str,
    epsilon: object,
    model: str = ModelKind.MLP.value,
    positive: str = "",
    name: str = "",
    guarantee: str = Guarantee.DP.value,
    config: Mapping[str, object] | None = None,
    queue: str = QUEUES[0],
    priority: str = Priority.NORMAL.value,
    idempotency_key: str = "",
) -> Run:
    """Ask for a run on a sealed version; it is queued, or waits for approval, or is refused.

    Args:
        record: filled here.
        actor: the engineer.
        version: what to train on.
        target: column to predict.
        purpose: one that the dataset was granted.
        epsilon: ε asked for all that touches the data: a number or a decimal string.
        model: one of `training.config.ModelKind`.
        positive: the positive label, where the dataset's declaration does not name it.
        name: what the model is called; the dataset and the target, if not given.
        guarantee: `dp`; `waived` needs two approvals, `public-data` a dataset declared public.
        config: fields of the training configuration out of `planning.CHOICES`.
        queue: `train.cpu` or `train.gpu`.
        priority: `low`, `normal`; `high` for who may also prioritize runs.
        idempotency_key: the same key with the same request gives the same run.

    Raises:
        RefusedError: `purpose.not_granted`, `quality.not_checked`, `quality.contract_unmet`.
        ConfigError: `run.target_missing`, `run.epsilon_invalid`, or another field out of range.
        FeatureError: the dataset's declaration does not fit.
        RunRefusedError: `run.not_public`, `run.target_barred`, `run.rows_differ`,
            `run.subject_unreadable`, `run.subject_changed`; of an ensemble, as `members.check_fit`.
        BudgetError: `budget.over_cap`, `budget.exceeded`, `budget.unreachable`.
        RunStateError: `model.name_taken`, `run.idempotency_conflict`.
    """
    judged = judge(
        version,
        ledger.budget_of,
        target=target,
        purpose=purpose,
        epsilon=epsilon,
        model=model,
        positive=positive,
        guarantee=guarantee,
        config=config,
        queue=queue,
    )
    asked, promised, prepared = judged.epsilon, judged.guarantee, judged.prepared
    urgency = one_of(Priority, priority, "priority")
    if urgency is Priority.HIGH:
        _check_may_prioritize(actor, version)
    run = Run(
        tenant_id=version.tenant_id,
        version=version,
        purpose=purpose,
        target=target,
        positive=positive,
        model_name=name or slugify(f"{version.dataset.name}-{target}")[:80] or version.dataset.name,
        guarantee=promised,
        epsilon=asked,
        config=canonical(prepared.config.as_dict()),
        config_digest=prepared.config.digest(),
        plan=prepared.plan.as_dict(),
        state=RunState.AWAITING_APPROVAL,
        queue=queue,
        priority=urgency,
        idempotency_key=idempotency_key,
        requested_by_id=actor.user_id,
    )
    proposal = None
    earlier = _asked_before(run)
    if earlier is None:
        _check_lengths(run)
        _claim_name(run)
        run.save(force_insert=True)
        proposal = admit_or_propose(run, actor.user_id)
    else:
        run = earlier
        proposal = _proposal_of(run)
    record.facts(
        run=run.reference,
        purpose=purpose,
        guarantee=promised.value,
        epsilon=f"{asked:f}",
        delta=exact(judged.delta),
        config=run.config_digest,
        state=run.state,
        priority=run.priority,
        **({} if proposal is None else {"proposal": proposal.reference}),
    )
    return run


@action(Event.RUN_ESTIMATED, requires=Permission.RUN_REQUEST)
def estimate_run(  # noqa: PLR0913 - one argument a field of the form
    record: Record,
    actor: UserActor,
    version: DatasetVersion,
    *,
    target: str,
    purpose: str,
    epsilon: object,
    model: str = ModelKind.MLP.value,
    positive: str = "",
    guarantee: str = Guarantee.DP.value,
    config: Mapping[str, object] | None = None,
    queue: str = QUEUES[0],
) -> Judged:
    """Judge a request as `request_run` would, and ask for nothing.

    What it will take is reckoned from the answer by `training.estimates`, after this has committed:
    a step is timed, which no transaction has to wait for.

    Raises:
        DomainError: as `request_run`, but for the budget's rest: an estimate says that.
    """
    del actor
    judged = judge(
        version,
        ledger.budget_seen,
        target=target,
        purpose=purpose,
        epsilon=epsilon,
        model=model,
        positive=positive,
        guarantee=guarantee,
        config=config,
        queue=queue,
    )
    record.facts(
        purpose=purpose,
        guarantee=judged.guarantee.value,
        epsilon=f"{judged.epsilon:f}",
        config=judged.prepared.config.digest(),
        steps=judged.prepared.plan.steps,
    )
    return judged


@action(Event.RUN_PRIORITIZED, requires=Permission.RUN_PRIORITIZE)
def prioritize_run(record: Record, actor: UserActor, run: Run, *, priority: str) -> Run:
    """Let a run that has not begun wait longer, or less.

    Raises:
        ConfigError: `run.priority_invalid`.
        RunStateError: it has begun, or has ended.
    """
    del actor
    urgency = one_of(Priority, priority, "priority")
    run = locked(run, RunState.AWAITING_APPROVAL, RunState.QUEUED)
    record.facts(priority=urgency.value, before=run.priority)
    run.priority = urgency
    run.save(update_fields=["priority"])
    Job.objects.filter(kind=TRAIN, subject=run.reference, state=JobState.WAITING).update(
        priority=urgency.rank
    )
    return run


@action(Event.RUN_CANCELLED, requires=Permission.RUN_CANCEL)
def cancel_run(record: Record, actor: UserActor, run: Run) -> Run:
    """Stop a run: at once and free of charge where nobody works on it, else by asking its worker.

    A worker stops before its next block of steps; what it wrote ahead stays charged.

    Raises:
        RunStateError: it has ended; or it trains nothing (`run.not_trained`): the account of an
            examination or of a synthetic twin ends with that.
    """
    del actor
    run = locked(run, RunState.AWAITING_APPROVAL, RunState.QUEUED, RunState.RUNNING)
    if not run.target:
        raise RunStateError("nothing trains in this run", code="run.not_trained")
    if run.state == RunState.AWAITING_APPROVAL:
        _withdraw(run)
        end(run, RunState.CANCELLED)
    elif _take_back(run):
        ledger.close(run, run.attempt)
        end(run, RunState.CANCELLED)
    else:
        Job.objects.filter(kind=TRAIN, subject=run.reference, state=JobState.RUNNING).update(
            cancel_asked=True
        )
    record.facts(state=run.state)
    return run


@action(Event.RUN_RETRIED, requires=Permission.RUN_REQUEST)
def retry_run(record: Record, actor: UserActor, run: Run) -> Run:
    """Try an ended run again: a new attempt; what was spent stays spent.

    Where something was kept of the last attempt, the new one goes on from there and reserves what
    that one did not pay for; else it begins anew, and reserves all.

    Raises:
        RunStateError: it has not failed and was not cancelled.
        RefusedError: `purpose.not_granted`: the purpose was withdrawn meanwhile;
            `quality.not_checked`, `quality.contract_unmet`: the last check is too old, or failed.
        RunRefusedError: `run.declarations_changed`.
        BudgetError: `budget.over_cap`, `budget.exceeded`.
    """
    run = locked(run, *ENDED)
    check_purpose(run.version, run.purpose)
    check_unchanged(run)
    check_quality(run.version)
    cap = ledger.budget_of(run.version.dataset).epsilon_cap
    if run.guarantee == Guarantee.DP and run.epsilon > cap:
        raise BudgetError(
            "ε is over the cap of this dataset's privacy budget", code="budget.over_cap"
        )
    kept = Checkpoint.objects.filter(run=run, since=run.since).first()
    run.attempt += 1
    if kept is None:
        run.since = run.attempt
        forget(run)  # of attempts that nothing goes on from
    run.started_at = run.ended_at = None
    run.error_code = ""
    run.save(update_fields=["attempt", "since", "started_at", "ended_at", "error_code"])
    admit_or_propose(run, actor.user_id)
    record.facts(
        attempt=run.attempt,
        step=0 if kept is None else kept.step,
        epsilon=f"{run.epsilon:f}",
        state=run.state,
    )
    return run


def _check_may_prioritize(actor: UserActor, version: DatasetVersion) -> None:
    """Raise RefusedError unless the engineer is one who may prioritize runs."""
    decision = actor.may(Permission.RUN_PRIORITIZE, version)
    if not decision.allowed:
        raise RefusedError(
            "a run is given a high priority by the tenant admin", code=decision.reason
        )


def _asked_before(run: Run) -> Run | None:
    if not run.idempotency_key:
        return None
    earlier: Run | None = Run.objects.filter(
        tenant_id=run.tenant_id, idempotency_key=run.idempotency_key
    ).first()
    if earlier is None:
        return None
    same = ("version_id", "purpose", "target", "positive", "model_name", "guarantee", "queue")
    if earlier.config_digest != run.config_digest or any(
        getattr(earlier, name) != getattr(run, name) for name in same
    ):
        raise RunStateError(
            "this idempotency key was used for another request", code="run.idempotency_conflict"
        )
    return earlier


def _check_lengths(run: Run) -> None:
    for field in ("target", "positive", "model_name", "idempotency_key"):
        column = Run._meta.get_field(field)  # noqa: SLF001  # Django's documented API
        longest = getattr(column, "max_length", 0)
        if len(getattr(run, field)) > longest:
            raise ConfigError(
                f"this field takes at most {longest} characters",
                code=f"run.{field}_invalid",
                pointer=f"/{field}",
            )


def _claim_name(run: Run) -> None:
    """Names of models are addresses, so unique across tenants; the first to ask has one."""
    if slugify(run.model_name) != run.model_name.lower():
        raise InvalidError(
            "a model's name is made of letters, digits, - and _",
            code="model.name_invalid",
            pointer="/name",
        )
    taken = Model._base_manager.filter(slug=run.model_name).first()  # noqa: SLF001  # of any tenant
    if taken is None:
        Model.objects.create(tenant_id=run.tenant_id, slug=run.model_name)
    elif taken.tenant_id != run.tenant_id:
        raise RunStateError("this model name is taken", code="model.name_taken")


def _take_back(run: Run) -> bool:
    """Whether the run's job was still waiting; if so, no worker can claim it any more."""
    waiting = Job.objects.filter(kind=TRAIN, subject=run.reference, state=JobState.WAITING)
    return bool(waiting.update(state=JobState.CANCELLED, ended_at=timezone.now()))


def _proposal_of(run: Run) -> Proposal | None:
    kind = approval_needed(run)
    return None if kind is None else approvals.latest(kind, run)


def _withdraw(run: Run) -> None:
    proposal = _proposal_of(run)
    if proposal is not None and proposal.is_open(timezone.now()):
        proposal.rejected_at = timezone.now()
        proposal.save(update_fields=["rejected_at"])
