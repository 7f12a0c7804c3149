"""What a run will take, told before it is asked for: ε, time, memory, money. Public facts alone.

    ε        what the plan charges, and what the dataset's budget would have left
    time     what finished runs of the same shape took, for as many steps; where there is none, a
             step timed here on one invented record, and an allowance for the rest of the work
    memory   a formula over rows, widths and parameters: what a worker takes beyond an idle one
    money    hours times today's price of the queue

A step is timed once a process and shape. It is timed on this machine's processor, whatever the
queue: where another machine trains, or a GPU, its first finished run says better.
"""

import math
import threading
import time
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from django.conf import settings

from audit.canonical import decimal
from training import costs, ledger
from training.asking import Judged
from training.config import ModelKind, Plan, TrainingConfig
from training.features import FeatureSpec
from training.mechanisms import exact
from training.models import Effort, Guarantee, RunState
from training.planning import charges_of
from training.units import Unit

_LATEST: Final = 20  # finished runs that are looked at
_TIMED: Final = 4  # steps, after one that is not timed
# Multiplications a step that are timed as they are; a larger step is timed in part.
_LARGEST_WORK: Final = 2e8
_WIDEST: Final = 512  # hidden units that are timed; a wider layer is reckoned from these
# Beside the steps: to load, read and encode a cell, and to evaluate and seal. Assumed, not
# measured: the first finished run of a shape says better.
_FIXED_SECONDS: Final = 2.0
_SECONDS_A_CELL: Final = 1e-6
# Bytes, see `memory`.
_TEXT_CELL: Final = 40
_PARAMETER: Final = 130
_ACTIVATION: Final = 12
_MICRO_BATCH: Final = 4_096
_ENCODER: Final = 100_000_000 + 2**30  # its weights, and the most that is kept of its layers
_LINEAR: Final = frozenset({ModelKind.LINEAR, ModelKind.MLP, ModelKind.EBM})


class Basis(StrEnum):
    """Where an expected time comes from."""

    FINISHED_RUNS = "finished_runs"
    TIMED_HERE = "timed_here"


@dataclass(frozen=True)
class Estimate:
    """What a request would take.

    Attributes:
        guarantee: what is promised; without `dp` nothing is charged and ε says nothing.
        epsilon, delta: ε asked, and δ of the dataset.
        epsilon_left: what the dataset's budget has left now.
        epsilon_left_after: what it would have left; below 0, the request does not fit.
        needs_approval: whether two people would have to approve it.
        steps, seconds, basis: the work, its expected time, and how that is known.
        trials: how many times that work is expected to be done, by a search; 1 without one.
        memory: peak bytes beyond those of an idle worker.
        price: what an hour costs today.
    """

    guarantee: Guarantee
    epsilon: Decimal
    delta: float
    epsilon_left: float
    epsilon_left_after: float
    needs_approval: bool
    steps: int
    trials: float
    seconds: float
    basis: Basis
    memory: int
    price: costs.Price

    @property
    def fits(self) -> bool:
        """Whether the budget admits it."""
        return self.epsilon_left_after >= 0

    @property
    def cost(self) -> Decimal:
        """Money, in the price's currency."""
        return self.price.of(self.seconds)

    def as_dict(self) -> dict[str, Any]:
        """With decimal strings."""
        return {
            "guarantee": self.guarantee.value,
            "epsilon_asked": f"{self.epsilon:f}",
            "delta": exact(self.delta),
            "epsilon_left": decimal(self.epsilon_left),
            "epsilon_left_after": decimal(self.epsilon_left_after),
            "fits": self.fits,
            "needs_approval": self.needs_approval,
            "steps": self.steps,
            "trials": decimal(self.trials, 3),
            "seconds": decimal(self.seconds, 1),
            "basis": self.basis.value,
            "memory_bytes": self.memory,
            "cost": f"{self.cost:f}",
            "currency": self.price.currency,
        }


def estimate(judged: Judged) -> Estimate:
    """Reckon what a judged request would take; writes nothing and reads no record."""
    prepared = judged.prepared
    charges = charges_of(prepared.plan)
    seconds, basis = _seconds(judged)
    waived = judged.guarantee is Guarantee.WAIVED
    over = judged.epsilon > Decimal(str(settings.RUN_APPROVAL_EPSILON))
    return Estimate(
        guarantee=judged.guarantee,
        epsilon=judged.epsilon,
        delta=judged.delta,
        epsilon_left=ledger.left_after(judged.budget, ()),
        epsilon_left_after=ledger.left_after(judged.budget, charges),
        needs_approval=waived or (over and judged.guarantee is Guarantee.DP),
        steps=prepared.plan.steps,
        trials=prepared.plan.trials,
        seconds=seconds,
        basis=basis,
        memory=max(
            memory(
                rows=judged.version.rows,
                columns=_columns(judged),
                width=_width(judged),
                config=config,
                weights=_weights(judged, config),
            )
            for config in prepared.config.variants()
        ),
        price=costs.price_of(judged.queue),
    )


def parameters(config: TrainingConfig, width: int) -> int:
    """Trained numbers of a network of Linear layers: weights and biases of every layer."""
    widths = [width, *config.hidden, 1]
    return sum((below + 1) * above for below, above in pairwise(widths))


def _weights(judged: Judged, config: TrainingConfig) -> int:
    """Trained numbers of the network that a configuration asks for."""
    if config.model in _LINEAR:
        return parameters(config, _width(judged))
    if config.model is ModelKind.ENSEMBLE:
        return 0
    from training.inputs import network_of  # noqa: PLC0415  # loads torch: seconds

    return sum(p.numel() for p in network_of(config, _spec(judged)).parameters() if p.requires_grad)


def memory(*, rows: int, columns: int, width: int, config: TrainingConfig, weights: int) -> int:
    """Peak bytes of a run beyond those of an idle worker.

    The text cells of all rows, twice while they are split; every training row encoded, float32,
    twice while rows without a label are left out; a micro-batch's activations and signals, forward,
    back and clipped; weights, gradient, optimizer and averages, with two steps' noise in double.
    An adapted encoder holds its base, and what its frozen layers made of the rows, as well.
    """
    hidden = sum(config.hidden) + 1
    batch = min(_MICRO_BATCH, max(1, round(config.expected_batch)))
    return (
        2 * rows * columns * _TEXT_CELL
        + 2 * rows * width * 4
        + batch * (width + hidden) * _ACTIVATION
        + weights * _PARAMETER
        + (_ENCODER if config.model is ModelKind.LORA else 0)
    )


def _spec(judged: Judged) -> FeatureSpec:
    declared = judged.prepared.declared
    return FeatureSpec(declared.features, declared.target)


def _width(judged: Judged) -> int:
    return _spec(judged).width


def _columns(judged: Judged) -> int:
    """Columns that the run reads: features, target, groups."""
    declared = judged.prepared.declared
    names = {feature.name for feature in declared.features}
    return len({*names, declared.target.column, *declared.groups})


def _seconds(judged: Judged) -> tuple[float, Basis]:
    plan, config = judged.prepared.plan, judged.prepared.config
    before = _seconds_of_finished(judged) if config.search is None else None
    if before is not None:
        return before, Basis.FINISHED_RUNS
    cells = judged.version.rows * _columns(judged)
    if not plan.steps:
        return _FIXED_SECONDS + cells * _SECONDS_A_CELL, Basis.TIMED_HERE
    # Each candidate is as likely as another, and each trial as long as its candidate takes.
    each = [seconds_a_step(plan, one, _spec(judged)) for one in config.variants()]
    steps = plan.steps * plan.trials * sum(each) / len(each) * (2 if config.twin else 1)
    return _FIXED_SECONDS + cells * _SECONDS_A_CELL + steps, Basis.TIMED_HERE


def _seconds_of_finished(judged: Judged) -> float | None:
    """By the newest run of the same shape that came through at its first attempt.

    Never by a search: how long one took follows from how many trials it had, which is not told.
    """
    config, plan = judged.prepared.config, judged.prepared.plan
    efforts = Effort.objects.filter(
        run__state=RunState.FINISHED,
        run__attempt=1,
        run__version__rows=judged.version.rows,
        queue=judged.queue,
    )
    shape = _shape(config.as_dict())
    for effort in efforts.select_related("run").order_by("-written_at")[:_LATEST]:
        before = effort.run.config_json()
        if "search" not in before and _shape(before) == shape:
            steps = Plan.from_dict(effort.run.plan).steps
            return effort.seconds * (plan.steps / steps if steps else 1)
    return None


def _shape(config: dict[str, object]) -> tuple[object, ...]:
    """What a step's time follows from, beside the rows."""
    names = ("features", "model", "hidden", "expected_batch", "members", "twin")
    return tuple(str(config.get(name)) for name in names)


@dataclass(frozen=True)
class _Timing:
    """What was timed: the shape, and all else that a step's time follows from."""

    model: ModelKind
    layers: tuple[object, ...]
    features: str
    batch: int
    rows: int


_timed: dict[_Timing, float] = {}
_timing = threading.Lock()  # two at once would slow each other, and torch's threads are one number


def seconds_a_step(plan: Plan, config: TrainingConfig, spec: FeatureSpec) -> float:
    """Seconds of one step of this shape, timed once a process on one invented record repeated.

    A step that is large is timed on a part of the batch and narrower layers, and multiplied by how
    much more work it is.
    """
    layers = (*config.hidden, config.image, config.module, config.lora_rank, config.lora_layers)
    key = _Timing(config.model, layers, spec.digest(), config.expected_batch, plan.rows)
    with _timing:
        if key not in _timed:
            _timed[key] = _time(plan, config, spec)
    return _timed[key]


def _time(plan: Plan, config: TrainingConfig, spec: FeatureSpec) -> float:
    import torch  # noqa: PLC0415  # seconds, and Django's start-up asks for no estimate

    from training.backgrounds import synthetic_background  # noqa: PLC0415  # as above
    from training.inputs import ahead_of, inputs_of, network_of  # noqa: PLC0415  # as above
    from training.learning import learn  # noqa: PLC0415  # as above
    from training.randomness import fresh_secret  # noqa: PLC0415  # as above

    narrow = replace(
        config,
        hidden=tuple(min(units, _WIDEST) for units in config.hidden),
        learning_rate=1e-9,  # whatever was asked for, the weights stay finite
    )
    network = network_of(narrow, spec)
    size = sum(p.numel() for p in network.parameters() if p.requires_grad)
    batch = plan.divisor
    share = min(1.0, _LARGEST_WORK / (batch * size))
    part = replace(plan, rows=max(1, math.ceil(plan.rows * share)), paid=(), unit=Unit.RECORD)
    # A tensor of one record that says it is all of them: no memory, and any draw finds it.
    (row,) = synthetic_background(spec, 1, 0)
    one = ahead_of(network, inputs_of(narrow, spec, {name: [cell] for name, cell in row.items()}))
    features = one.expand(part.rows, *one.shape[1:])
    labels = torch.zeros(1).expand(part.rows)

    def run(steps: int) -> float:
        started = time.perf_counter()
        learn(
            network,
            features,
            labels,
            plan=part.with_steps(steps),
            config=narrow,
            spec=spec,
            histogram_noise=1.0,
            secret=fresh_secret(),
            on_block=lambda _steps: None,
        )
        return time.perf_counter() - started

    run(1)
    wider = parameters(config, spec.width) / parameters(narrow, spec.width)
    return run(_TIMED) / _TIMED * wider * batch / part.divisor
