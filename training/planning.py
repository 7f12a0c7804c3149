"""From a request to the plan that will run and all that it will charge: public facts only.

Used twice, with the same answer: by the action that admits a run, and by the worker that carries it
out. What it looks at is the declaration, the column plan, the number of rows and the split, none of
which holds a record; so what a run will cost is known, reserved and shown before anything is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import Any, Final

from governance.models import DatasetVersion
from training import members
from training.bounds import SHARE
from training.charges import Charge, Part
from training.columns import columns_of, subject_of, within
from training.config import ROUNDS, Guarantee, ModelKind, Plan, TrainingConfig, read_fields
from training.declarations import Declared, read_declarations
from training.errors import ConfigError, FeatureError, RunRefusedError
from training.features import FeatureSpec
from training.mechanisms import Mechanism, Purpose
from training.models import BudgetEntry, Run
from training.split import SHARE as HELD_OUT
from training.split import held_out_rows
from training.units import Unit

# What an engineer may choose; the rest follows from the request, the budget and the data's
# declaration.
CHOICES: Final = frozenset(
    {
        "hidden",
        "expected_batch",
        "steps",
        "max_grad_norm",
        "learning_rate",
        "momentum",
        "optimizer",
        "average_last",
        "forms",
        "twin",
        "patience",
        "adversary",
        "views",
        "view_noise",
        "image",
        "module",
        "replace_layers",
        "init_seed",
        "lora_rank",
        "lora_alpha",
        "lora_layers",
        "members",
        "search",
    }
)
_SMALLEST: Final = Decimal("0.000001")  # ε is kept with six places


@dataclass(frozen=True)
class Request:
    """What somebody asks of a dataset version.

    Attributes:
        target, positive: column, and label if the declaration does not name it ("").
        epsilon: ε asked, six places.
        delta: δ of the dataset.
        model: which network.
        guarantee: what is promised.
        unit: to whom.
        chosen: fields of `TrainingConfig` out of `CHOICES`.
    """

    target: str
    positive: str
    epsilon: Decimal
    delta: float
    model: ModelKind
    guarantee: Guarantee
    unit: Unit
    chosen: Mapping[str, object]


@dataclass(frozen=True)
class Prepared:
    """What will run.

    Attributes:
        config: complete; `features` is the digest of `declared` with open bounds not bought yet.
        plan: q, σ, T and what is paid before.
        declared: the features.
        barred: columns that are no features, and why.
    """

    config: TrainingConfig
    plan: Plan
    declared: Declared
    barred: Mapping[str, str]


def parse_epsilon(asked: object) -> Decimal:
    """ε as a user wrote it, rounded down to six places.

    Raises:
        ConfigError: `run.epsilon_invalid`: no number, not finite, or below 0.000001.
    """
    wrong = ConfigError(
        "ε must be a finite number, at least 0.000001",
        code="run.epsilon_invalid",
        pointer="/epsilon",
    )
    try:
        value = Decimal(str(asked))
        if not value.is_finite() or not _SMALLEST <= value < Decimal(100_000):
            raise wrong
        return value.quantize(_SMALLEST, rounding=ROUND_DOWN)
    except InvalidOperation:
        raise wrong from None


def prepare(version: DatasetVersion, request: Request) -> Prepared:
    """The plan of a request.

    Raises:
        ConfigError: `run.target_missing`, or a parameter is out of range.
        FeatureError: a declaration does not fit the version, or not this kind of model.
        RunRefusedError: `run.target_barred`, `run.rows_differ`, `run.subject_unreadable`,
            `run.subject_changed`, `run.twin_not_public`.
        BudgetError: `budget.unreachable`.
    """
    from training.accounting import make_plan  # noqa: PLC0415  # loads torch: seconds
    from training.inputs import check_kind  # noqa: PLC0415  # as above

    declared, barred = read_features(version, request.target, request.positive, request.model)
    rows = training_units(version, request.unit)
    unknown = set(request.chosen) - CHOICES
    if unknown:
        raise ConfigError("this field cannot be chosen", pointer="/config")
    boosted = request.model is ModelKind.EBM
    usual = {"steps": ROUNDS * len(declared.features)} if boosted else {}
    config = TrainingConfig.for_rows(
        rows,
        epsilon=float(request.epsilon),
        delta=request.delta,
        features=open_digest(declared),
        model=request.model,
        guarantee=request.guarantee,
        unit=request.unit,
        **read_fields({**usual, **request.chosen}),
    )
    for variant in config.variants():
        check_kind(variant, declared.features)
    check_twin(config.twin, version)
    plan = make_plan(config, rows, before=_before(declared, config))
    return Prepared(config, plan, declared, barred)


def read_features(
    version: DatasetVersion, target: str, positive: str, model: ModelKind
) -> tuple[Declared, Mapping[str, str]]:
    """The declared features of a version that its column plan allows, and what it bars.

    Raises:
        ConfigError: `run.target_missing`.
        RunRefusedError: `run.target_barred`.
        FeatureError: the declaration does not fit.
    """
    columns = columns_of(version)
    if target in columns.barred or target in columns.prose:
        raise RunRefusedError(
            "the column plan does not allow this target", code="run.target_barred"
        )
    if target not in columns.usable:
        raise ConfigError(
            "the target column is not in the dataset", code="run.target_missing", pointer="/target"
        )
    declared = read_declarations(
        within(version.dataset.declarations, columns),
        columns.usable,
        target=target,
        positive=positive or None,
    )
    return declared.binned() if model is ModelKind.EBM else declared, columns.barred


def open_digest(declared: Declared) -> str:
    """Digest of a specification with its open bounds: what a request is bound to."""
    return FeatureSpec(declared.features, declared.target).digest()


def check_unchanged(run: Run) -> Declared:
    """The run's declared features, which are still those that it was requested with.

    Raises:
        RunRefusedError: `run.declarations_changed`, `run.twin_not_public`; of an ensemble, a member
            was withdrawn since.
    """
    config = run.config_json()
    check_twin(config.get("twin", False), run.version)
    model = ModelKind(config["model"])
    declared, _ = read_features(run.version, run.target, run.positive, model)
    if open_digest(declared) != config["features"]:
        raise RunRefusedError(
            "the dataset's declarations changed since this run was requested",
            code="run.declarations_changed",
        )
    if model is ModelKind.ENSEMBLE:
        members.check(run, declared)
    return declared


def training_units(version: DatasetVersion, unit: Unit) -> int:
    """Public number N of units that are trained on, by which q and the divisor are set.

    Of records, how many the public split leaves. How many persons there are is not read off the
    rows: the steward may declare it (`subjects`); else N is as for records, which is too many, so
    that steps are smaller than they could be. It changes no guarantee.

    Raises:
        FeatureError: what was declared is no number of persons that the rows can be of.
        RunRefusedError: `run.rows_differ`, `run.subject_unreadable`, `run.subject_changed`.
    """
    if unit is Unit.RECORD:
        return training_rows(version)
    check_subject(version)
    declared = version.dataset.declarations.get("subjects", version.rows)
    if isinstance(declared, bool) or not isinstance(declared, int):
        raise FeatureError("how many subjects there are is an integer", pointer="/subjects")
    if not 0 < declared <= version.rows:
        raise FeatureError("there are 1 to as many subjects as rows", pointer="/subjects")
    return max(1, round(declared * (1 - HELD_OUT)))


def check_subject(version: DatasetVersion) -> str:
    """The column that tells whose each row is, the same in every version that was trained on.

    A person whose pseudonym changed from version to version could be trained on in one and held
    out in another; then charges to the two parts would add up.

    Raises:
        RunRefusedError: `run.subject_unreadable`: no column tells persons apart, as its operator
            left it; `run.subject_changed`: another operator than in a version that was trained on.
    """
    column = subject_of(version)
    if column is None:
        raise RunRefusedError(
            "the subject column does not tell persons apart any more: treat it with a pseudonym, "
            "a surrogate or a token",
            code="run.subject_unreadable",
        )
    touched = BudgetEntry.objects.filter(budget__dataset_id=version.dataset_id)
    others = DatasetVersion.objects.filter(
        pk__in=touched.values("run__version"), dataset_id=version.dataset_id
    ).exclude(pk=version.pk)
    for other in others.select_related("plan", "dataset"):
        before = subject_of(other)
        if before is None or (before.name, before.operator) != (column.name, column.operator):
            raise RunRefusedError(
                "persons are called otherwise here than in a version that was trained on",
                code="run.subject_changed",
            )
    return column.name


def training_rows(version: DatasetVersion) -> int:
    """Public number of rows that are trained on.

    Raises:
        RunRefusedError: `run.rows_differ`: row i is not the same record in each version.
    """
    if version.rows != version.dataset.rows:
        raise RunRefusedError(
            "this version has not as many rows as its dataset, so training and held-out rows "
            "could mix across versions",
            code="run.rows_differ",
        )
    return int((~held_out_rows(version.dataset_id, version.rows)).sum())


def charges_of(plan: Plan) -> tuple[Charge, ...]:
    """All that an attempt may charge: bounds and steps on training rows, one release on the others.

    The evaluation spends no more than training at any order, so it adds nothing (`Part`). Where
    nothing is trained it is all there is, and spends what was asked. A search has scored its trials
    on held-out rows: the evaluation takes what that leaves.
    """
    if plan.guarantee is not Guarantee.DP:
        return ()
    if not plan.steps:
        release = Mechanism(plan.noise_multiplier, purpose=Purpose.EVALUATION)
        return (Charge(release, Part.HELD_OUT),)
    from training.accounting import (  # noqa: PLC0415  # loads torch: seconds
        evaluation_mechanism,
        rdp_of,
        score_mechanism,
    )

    room = rdp_of(plan)
    scores = (score_mechanism(plan),) if plan.stopping else ()
    room = tuple(a - b for a, b in zip(room, rdp_of(scores), strict=True))
    return (
        *(Charge(mechanism, Part.TRAIN) for mechanism in plan.mechanisms()),
        *(Charge(mechanism, Part.HELD_OUT) for mechanism in scores),
        Charge(evaluation_mechanism(room), Part.HELD_OUT),
    )


def with_features(config: TrainingConfig, spec: FeatureSpec) -> TrainingConfig:
    """The configuration once bounds are bought, as the artifact keeps it."""
    return replace(config, features=spec.digest())


def _before(declared: Declared, config: TrainingConfig) -> tuple[Mechanism, ...]:
    """What is paid before the first step: undeclared bounds, a boosted model's numbers of rows."""
    if config.guarantee is not Guarantee.DP or config.model is ModelKind.ENSEMBLE:
        return ()
    purposes = [Purpose.BOUNDS] if declared.unbounded else []
    purposes += [Purpose.HISTOGRAM] if config.model is ModelKind.EBM else []
    if not purposes:
        return ()
    from training.accounting import gaussian_share  # noqa: PLC0415  # loads torch: seconds

    sigma = gaussian_share(config.epsilon, config.delta, SHARE)
    return tuple(Mechanism(sigma, purpose=purpose) for purpose in purposes)


def check_twin(asked: bool, version: DatasetVersion) -> None:  # noqa: FBT001 - one field
    """Refuse a twin of rows that are somebody's: what is trained without noise has no price.

    Raises:
        RunRefusedError: `run.twin_not_public`.
    """
    if asked and not is_public(version.dataset.declarations):
        raise RunRefusedError(
            "a twin is trained without noise, so no ε covers what it says: it is made only of rows "
            "that their steward declared public",
            code="run.twin_not_public",
            pointer="/twin",
        )


def is_public(declarations: Mapping[str, Any]) -> bool:
    """Whether the steward declared that the rows are public and of no person."""
    return declarations.get("public") is True
