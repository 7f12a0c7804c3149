"""An examination's way: requested and, where it is charged, reserved; finished, failed, cancelled.

Who trains may attack a model, and so may the officer, who answers for what is promised and never
trains; the budget bounds both. The auditor reads the figures and spends nothing. Figures are read
by the roles that may take the rows away (`dataset:export`): some are exact.

    loss      charged, unless the rows are public: noisy counts, see `training.auditing.released`
    lira      exact, so only of public rows, or of a model whose guarantee two people waived
    engine    of invented records, so free; only where there is a claim to hold the engine against
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.utils import timezone

from audit.canonical import canonical, decimal, digest
from audit.events import Event
from audit.recording import Record, action
from governance import leases
from governance.leases import Lease
from governance.models.jobs import JobState
from governance.permissions import Permission
from governance.rbac import SystemActor, UserActor
from training import ledger
from training.admission import check_purpose, end
from training.charges import Charge, Part
from training.config import ModelKind
from training.errors import ConfigError, ExaminationError, ExaminationStateError
from training.examination import Examination, ExaminationKind, ExaminationState
from training.mechanisms import WHOLE, Mechanism, Purpose
from training.models import Guarantee, ModelVersion, Run, RunState
from training.planning import is_public, parse_epsilon, training_rows
from training.states import LEGAL_OF_EXAMINATIONS, move_examination

EXAMINE: Final = "examine"  # kind of job
QUEUE: Final = "train.cpu"
DEFAULT_EPSILON: Final = "0.1"
DEFAULT_SHADOWS: Final = 4
MOST_SHADOWS: Final = 16
_KEY_LENGTH: Final = 100


@dataclass(frozen=True)
class _Asked:
    """A request that was judged."""

    trained: Run  # that made the version
    kinds: tuple[ExaminationKind, ...]
    shadows: int
    epsilon: Decimal


@action(Event.EXAMINATION_REQUESTED, requires=Permission.EXAMINATION_REQUEST)
def request_examination(
    record: Record,
    actor: UserActor,
    version: ModelVersion,
    *,
    kinds: Sequence[str] = (ExaminationKind.LOSS.value,),
    shadows: object = DEFAULT_SHADOWS,
    epsilon: object = DEFAULT_EPSILON,
    idempotency_key: str = "",
) -> Examination:
    """Ask for attacks on a model version; what they charge is reserved, and a worker does them.

    Args:
        record: filled here.
        actor: the engineer, or the officer.
        version: in whatever state: a registered one before its release, a served one, a withdrawn.
        kinds: one or more of `loss`, `lira`, `engine`.
        shadows: how many shadow models `lira` trains: 4 to 16, an even number.
        epsilon: ε of the noisy figures of `loss`; not looked at where nothing is charged.
        idempotency_key: the same key with the same request gives the same examination.

    Raises:
        ConfigError: `examination.kind_unknown`, `examination.shadows_invalid`,
            `examination.key_invalid`, `run.epsilon_invalid`, `run.delta_invalid`.
        ExaminationError: `examination.no_run`, `examination.not_private`, `examination.no_claim`,
            `examination.not_trained`, `examination.epsilon_over`.
        ExaminationStateError: `examination.idempotency_conflict`.
        RefusedError: `purpose.not_granted`.
        RunRefusedError: `run.rows_differ`.
        BudgetError: `budget.exceeded`, `budget.unreachable`.
    """
    asked = _judged(version, kinds, shadows, epsilon)
    if len(idempotency_key) > _KEY_LENGTH:
        raise ConfigError(
            f"this field takes at most {_KEY_LENGTH} characters", code="examination.key_invalid"
        )
    earlier = _asked_before(version, asked, idempotency_key)
    made = earlier or _queued(version, asked, actor, idempotency_key)
    record.facts(
        examination=made.reference,
        artifact=version.artifact_digest,
        kinds=made.kinds,
        shadows=made.shadows,
        epsilon=f"{made.epsilon:f}",
        **({} if made.run is None else {"run": made.run.reference}),
    )
    return made


@action(Event.EXAMINATION_FINISHED, requires=Permission.EXAMINATION_FINISH)
def finish_examination(
    record: Record,
    actor: SystemActor,
    examination: Examination,
    *,
    lease: Lease,
    figures: Mapping[str, Any],
) -> Examination:
    """Write down what was found, close its account and free the job: all, or none.

    Only what this action commits has been released: noisy counts of a worker that died before are
    known to nobody.

    Raises:
        LostLeaseError: another worker holds the job; nothing is written.
        ExaminationStateError: it has ended.
    """
    del actor
    examination = _open(examination)
    lease.end(JobState.DONE)
    examination.figures = dict(figures)
    examination.digest = digest(examination.figures)
    record.facts(
        model=examination.version.reference,
        artifact=examination.version.artifact_digest,
        kinds=examination.kinds,
        figures=examination.digest,
        objections=examination.figures["objections"],
    )
    _close(record, examination, RunState.FINISHED)
    return _ended(examination, ExaminationState.FINISHED)


@action(Event.EXAMINATION_FAILED, requires=Permission.EXAMINATION_FINISH)
def stop_examination(
    record: Record, actor: SystemActor, examination: Examination, *, lease: Lease, code: str
) -> Examination:
    """Write down that an examination ended without figures; what it wrote ahead stays charged.

    Raises:
        LostLeaseError: another worker holds the job; nothing is written.
        ExaminationStateError: it has ended.
    """
    del actor
    examination = _open(examination)
    lease.end(JobState.FAILED, error_code=code)
    examination.error_code = code
    record.facts(model=examination.version.reference, code=code)
    _close(record, examination, RunState.FAILED, code)
    record.failed(code)
    return _ended(examination, ExaminationState.FAILED)


@action(Event.EXAMINATION_CANCELLED, requires=Permission.EXAMINATION_REQUEST)
def cancel_examination(record: Record, actor: UserActor, examination: Examination) -> Examination:
    """End an examination without figures; what it wrote ahead stays charged, the rest is released.

    It ends at once, also where a worker is at it: that one has lost its lease, notices so at its
    next beat, and can write nothing more.

    Raises:
        ExaminationStateError: it has ended.
    """
    del actor
    examination = _open(examination)
    leases.halt(examination.reference, EXAMINE)
    record.facts(model=examination.version.reference)
    _close(record, examination, RunState.CANCELLED)
    return _ended(examination, ExaminationState.CANCELLED)


def _judged(
    version: ModelVersion, kinds: Sequence[str], shadows: object, epsilon: object
) -> _Asked:
    """Whether this version may be attacked so."""
    if not kinds or not set(kinds) <= set(ExaminationKind.values):
        raise ConfigError(
            "an examination is one or more of loss, lira and engine",
            code="examination.kind_unknown",
            pointer="/kinds",
        )
    chosen = tuple(kind for kind in ExaminationKind if kind.value in kinds)
    if version.run is None:
        raise ExaminationError(
            "this model was not trained here: its rows are not known", code="examination.no_run"
        )
    data = version.run.version
    check_purpose(data, version.run.purpose)
    training_rows(data)
    public = is_public(data.dataset.declarations)
    lira = ExaminationKind.LIRA in chosen
    if lira and not public and version.guarantee != Guarantee.WAIVED:
        raise ExaminationError(
            "shadow models would be trained on private rows, and a record's score depends on many "
            "records: no noise that is worth its price hides one of them",
            code="examination.not_private",
        )
    if ExaminationKind.ENGINE in chosen and version.guarantee != Guarantee.DP:
        raise ExaminationError(
            "this model claims no ε that the engine could be held against",
            code="examination.no_claim",
        )
    trained_at_all = version.run.config_json().get("model") != ModelKind.ENSEMBLE
    if not trained_at_all and {ExaminationKind.LIRA, ExaminationKind.ENGINE} & {*chosen}:
        raise ExaminationError(
            "nothing was trained for an ensemble: examine its members in this way",
            code="examination.not_trained",
        )
    charged = ExaminationKind.LOSS in chosen and not public
    return _Asked(
        version.run,
        chosen,
        _even(shadows) if lira else 0,
        _bounded(epsilon) if charged else Decimal(0),
    )


def _even(shadows: object) -> int:
    """A number of shadow models: half of them are trained without each record."""
    wrong = ConfigError(
        f"shadow models are {DEFAULT_SHADOWS} to {MOST_SHADOWS}, an even number",
        code="examination.shadows_invalid",
        pointer="/shadows",
    )
    try:
        number = int(str(shadows))
    except ValueError:
        raise wrong from None
    if not DEFAULT_SHADOWS <= number <= MOST_SHADOWS or number % 2:
        raise wrong
    return number


def _bounded(epsilon: object) -> Decimal:
    asked = parse_epsilon(epsilon)
    if asked > Decimal(str(settings.RUN_APPROVAL_EPSILON)):
        raise ExaminationError(
            "an examination takes no more ε than a run takes without an approval",
            code="examination.epsilon_over",
        )
    return asked


def _asked_before(version: ModelVersion, asked: _Asked, key: str) -> Examination | None:
    if not key:
        return None
    rows = Examination.objects.filter(tenant_id=version.tenant_id, idempotency_key=key)
    earlier: Examination | None = rows.select_related("run").first()
    if earlier is None:
        return None
    same = (earlier.version_id, earlier.kinds, earlier.shadows, earlier.epsilon)
    if same != (version.pk, [*asked.kinds], asked.shadows, asked.epsilon):
        raise ExaminationStateError(
            "this idempotency key was used for another request",
            code="examination.idempotency_conflict",
        )
    return earlier


def _queued(version: ModelVersion, asked: _Asked, actor: UserActor, key: str) -> Examination:
    """The row, its account, and its job."""
    run = _account(version, asked.trained, asked.epsilon, actor) if asked.epsilon else None
    made: Examination = Examination.objects.create(
        tenant_id=version.tenant_id,
        version=version,
        kinds=[kind.value for kind in asked.kinds],
        shadows=asked.shadows,
        epsilon=asked.epsilon,
        run=run,
        idempotency_key=key,
        requested_by_id=actor.user_id,
    )
    leases.enqueue(
        EXAMINE,
        made.reference,
        QUEUE,
        tenant_id=made.tenant_id,
        all_units=len(asked.kinds) + asked.shadows,
    )
    return made


def _account(version: ModelVersion, trained: Run, epsilon: Decimal, actor: UserActor) -> Run:
    """A run that trains nothing, under which the ledger reserves one release on both parts."""
    from training.accounting import calibrate  # noqa: PLC0415  # loads torch: seconds

    data = trained.version
    budget = ledger.budget_of(data.dataset)
    delta = float(budget.delta)
    if delta >= 1 / max(data.rows, 1):
        raise ConfigError("δ must be below 1 / number of rows", code="run.delta_invalid")
    sigma = calibrate(float(epsilon), delta, sampling=WHOLE, steps=1)
    mechanism = Mechanism(sigma, purpose=Purpose.EXAMINATION)
    # No target and no features: nobody can try it again as a run.
    config = {"examination": True, "features": ""}
    run: Run = Run.objects.create(
        tenant_id=version.tenant_id,
        version=data,
        purpose=trained.purpose,
        model_name=f"{version.model.slug[:68]}-examination",
        guarantee=Guarantee.DP,
        epsilon=epsilon,
        config=canonical(config),
        config_digest=digest(config),
        state=RunState.RUNNING,
        requested_by_id=actor.user_id,
        started_at=timezone.now(),
    )
    ledger.reserve(budget, run, run.attempt, [Charge(mechanism, part) for part in Part])
    return run


def _open(examination: Examination) -> Examination:
    """The row under its lock, if it has not ended."""
    rows = Examination.objects.select_for_update(of=("self",)).select_related("version", "run")
    found: Examination = rows.get(pk=examination.pk)
    if not LEGAL_OF_EXAMINATIONS[ExaminationState(found.state)]:
        raise ExaminationStateError(f"this examination is {found.state}")
    return found


def _close(record: Record, examination: Examination, state: RunState, code: str = "") -> None:
    """Close the account, if there is one: what was written ahead is the charge."""
    run = examination.run
    if run is None:
        return
    ledger.close(run, run.attempt)
    end(run, state, code)
    delta = float(run.version.dataset.budget.delta)
    record.facts(run=run.reference, epsilon=decimal(ledger.spent_by(run, delta)))


def _ended(examination: Examination, state: ExaminationState) -> Examination:
    examination.ended_at = timezone.now()
    move_examination(examination, state, "figures", "digest", "error_code", "ended_at")
    return examination
