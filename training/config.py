"""What was asked (`TrainingConfig`) and what will run (`Plan`): frozen, validated, saved as JSON.

The plan is the single source of the sampler, of the noise and of the accounting event, so the three
cannot disagree. It is made by `training.accounting.make_plan`, saved beside the weights that it
produced and printed in the model card. Imports neither torch nor Django.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from audit.canonical import digest
from training.errors import ConfigError
from training.mechanisms import WHOLE, Mechanism, Purpose, exact
from training.randomness import Source
from training.renyi import check_delta, check_epsilon

ADJACENCY: Final = "zero-out"
UNIT: Final = "record"
# One record's vector is its gradient and three figures about it, together clipped to C (see
# training.dpsgd): its loss, whether its gradient was clipped, and its gradient's norm.
LOSS_SHARE: Final = 0.08
CLIP_SHARE: Final = 0.04
NORM_SHARE: Final = 0.04
GRADIENT_SHARE: Final = math.sqrt(1 - LOSS_SHARE**2 - CLIP_SHARE**2 - NORM_SHARE**2)
LOSS_CEILING: Final = 4.0
NORM_CEILING: Final = 2.0  # in units of C

_LARGEST_LAYERS: Final = 8
_LARGEST_WIDTH: Final = 8_192
_LARGEST_STEPS: Final = 1_000_000
_LARGEST_BATCH: Final = 1_000_000


class ModelKind(StrEnum):
    """The networks that `training.networks` builds."""

    LINEAR = "linear"
    MLP = "mlp"


class Optimizer(StrEnum):
    """What turns the noisy mean gradient into a step: post-processing, so it costs no ε."""

    SGD = "sgd"
    ADAMW = "adamw"


class Guarantee(StrEnum):
    """What the run promises; card and receipts say which."""

    DP = "dp"
    PUBLIC_DATA = "public-data"
    WAIVED = "waived"


def _refuse(field: str, why: str, code: str | None = None) -> ConfigError:
    return ConfigError(why, code=code or f"run.{field}_invalid", pointer=f"/{field}")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything an engineer decides about one run.

    Attributes:
        epsilon: ε asked for everything that touches the data.
        delta: δ of the dataset.
        features: digest of the feature specification.
        model: which network; `hidden` are the widths of an MLP's hidden layers.
        expected_batch: mean number of records in a step (Poisson sampling makes it random).
        steps: number of steps T.
        max_grad_norm: clipping norm C of one record's vector.
        learning_rate, momentum, optimizer: how a noisy mean gradient becomes a step.
        average_last: share of the last steps whose weights are averaged; 0 turns averaging off.
        init_seed: seed of the initial weights. Public: initial weights never saw the data. Sampling
            and noise have no seed.
        guarantee, adjacency, unit: what is promised, between which tables, to whom.
    """

    epsilon: float
    delta: float
    features: str
    model: ModelKind = ModelKind.MLP
    hidden: tuple[int, ...] = (64,)
    expected_batch: int = 2_048
    steps: int = 150
    max_grad_norm: float = 3.0
    learning_rate: float = 0.25
    momentum: float = 0.9
    optimizer: Optimizer = Optimizer.SGD
    average_last: float = 0.25
    init_seed: int = 0
    guarantee: Guarantee = Guarantee.DP
    adjacency: str = ADJACENCY
    unit: str = UNIT

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)
        check_delta(self.delta)
        self._check_network()
        self._check_optimization()
        if self.adjacency != ADJACENCY:
            raise _refuse("adjacency", f"only {ADJACENCY} adjacency is implemented")
        if self.unit != UNIT:
            raise _refuse("unit", f"only the privacy unit {UNIT} is implemented")

    def _check_network(self) -> None:
        if self.model is ModelKind.LINEAR:
            if self.hidden:
                raise _refuse("hidden", "a linear model has no hidden layers")
        elif not 0 < len(self.hidden) <= _LARGEST_LAYERS:
            raise _refuse("hidden", f"an MLP has 1 to {_LARGEST_LAYERS} hidden layers")
        if any(not 0 < width <= _LARGEST_WIDTH for width in self.hidden):
            raise _refuse("hidden", f"a hidden layer is 1 to {_LARGEST_WIDTH} wide")
        if not 0 <= self.init_seed < 2**53:
            raise _refuse("init_seed", "must be a non-negative integer below 2**53")

    def _check_optimization(self) -> None:
        if not 0 < self.expected_batch <= _LARGEST_BATCH:
            raise _refuse("expected_batch", f"an expected batch is 1 to {_LARGEST_BATCH} records")
        if not 0 < self.steps <= _LARGEST_STEPS:
            raise _refuse("steps", f"a run has 1 to {_LARGEST_STEPS} steps")
        for name in ("max_grad_norm", "learning_rate"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise _refuse(name, "must be a positive, finite number")
        if not (math.isfinite(self.momentum) and 0 <= self.momentum < 1):
            raise _refuse("momentum", "must be at least 0 and below 1")
        if not (math.isfinite(self.average_last) and 0 <= self.average_last <= 1):
            raise _refuse("average_last", "must be between 0 and 1")

    @classmethod
    def for_rows(
        cls, rows: int, *, epsilon: float, delta: float, features: str, **chosen: Any
    ) -> Self:
        """Defaults from public rules: the number of rows and ε, never the data.

        Large batches and few steps suit DP-SGD, for noise is added once a step: the expected batch
        is 2,048 records or a quarter of a smaller table. `chosen` overrides any field.

        Raises:
            ConfigError: the result is out of range.
        """
        batch = int(chosen.pop("expected_batch", 0) or max(1, min(2_048, rows // 4)))
        model = ModelKind(chosen.pop("model", ModelKind.MLP))
        hidden = tuple(chosen.pop("hidden", () if model is ModelKind.LINEAR else (64,)))
        return cls(
            epsilon=epsilon,
            delta=delta,
            features=features,
            model=model,
            hidden=hidden,
            expected_batch=batch,
            **chosen,
        )

    def as_dict(self) -> dict[str, object]:
        """The canonical-JSON form; floats are decimal strings."""
        shown: dict[str, object] = {}
        for name, value in asdict(self).items():
            if isinstance(value, float):
                shown[name] = exact(value)
            elif isinstance(value, StrEnum):
                shown[name] = value.value
            else:
                shown[name] = list(value) if isinstance(value, tuple) else value
        return shown

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> Self:
        """Read what a user or `as_dict` wrote; numbers may be numbers or decimal strings.

        Raises:
            ConfigError: an unknown or missing field, or a value of another type or out of range,
            with
                a pointer to it.
        """
        known = {field.name for field in fields(cls)}
        for name in stored:
            if name not in known:
                raise ConfigError("the configuration has an unknown field", pointer="")
        read: dict[str, Any] = {}
        for name, parse in _READERS.items():
            if name not in stored:
                continue
            try:
                read[name] = parse(stored[name])
            except (TypeError, ValueError):
                raise _refuse(name, "cannot be read as what this field holds") from None
        for name in ("epsilon", "delta", "features"):
            if name not in read:
                raise _refuse(name, "is missing")
        return cls(**read)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self.as_dict())


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    return float(value)


def _integer(value: object) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else int(number)


def _widths(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError
    return tuple(_integer(item) for item in value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


_READERS: Final[dict[str, Any]] = {
    "epsilon": _number,
    "delta": _number,
    "features": _text,
    "model": ModelKind,
    "hidden": _widths,
    "expected_batch": _integer,
    "steps": _integer,
    "max_grad_norm": _number,
    "learning_rate": _number,
    "momentum": _number,
    "optimizer": Optimizer,
    "average_last": _number,
    "init_seed": _integer,
    "guarantee": Guarantee,
    "adjacency": _text,
    "unit": _text,
}


@dataclass(frozen=True)
class Plan:
    """What runs. Generates the sampler, the noise and the accounting event from the same numbers.

    Attributes:
        rows: public number N of training rows.
        sampling: inclusion probability q of a record, as an integer out of 2**32.
        steps: number of steps T.
        noise_multiplier: σ. Zero only where the guarantee is not `dp`.
        max_grad_norm: clipping norm C of one record's whole vector.
        guarantee, adjacency, unit: as in `TrainingConfig`.
        paid: mechanisms that touched the same rows before training.
    """

    rows: int
    sampling: int
    steps: int
    noise_multiplier: float
    max_grad_norm: float
    guarantee: Guarantee = Guarantee.DP
    adjacency: str = ADJACENCY
    unit: str = UNIT
    paid: tuple[Mechanism, ...] = ()

    def __post_init__(self) -> None:
        if self.guarantee is Guarantee.DP:
            Mechanism(self.noise_multiplier, self.sampling, self.steps)  # refuses what is not noise
        elif self.noise_multiplier != 0:
            raise _refuse("noise_multiplier", "a run without a DP guarantee adds no noise")
        if self.rows < 1 or not 0 < self.sampling <= WHOLE or self.steps < 1:
            raise ConfigError(
                "a plan needs rows, a sampling rate and steps", code="run.plan_invalid"
            )
        if not math.isfinite(self.max_grad_norm) or self.max_grad_norm <= 0:
            raise _refuse("max_grad_norm", "must be a positive, finite number")

    @property
    def sample_rate(self) -> float:
        """q, exact in a double."""
        return self.sampling / WHOLE

    @property
    def divisor(self) -> float:
        """q·N: the constant by which every noisy sum is divided. Public, whatever was drawn."""
        return self.sample_rate * self.rows

    def sample(self, source: Source, rows: int) -> npt.NDArray[np.intp]:
        """Indexes of one Poisson draw over `rows` stored rows: each is in with probability q."""
        return np.flatnonzero(source.bernoulli(self.sampling, rows))

    def noise(self, source: Source, count: int) -> npt.NDArray[np.float64]:
        """`count` independent draws of N(0, (σC)²)."""
        if self.noise_multiplier == 0:
            return np.zeros(count)
        return source.gaussian(count) * (self.noise_multiplier * self.max_grad_norm)

    def event(self, steps: int | None = None) -> Mechanism:
        """What `steps` of this plan (all, if not given) cost, as the ledger records it.

        Raises:
            ConfigError: `run.not_private`, the plan promises nothing that could be accounted.
        """
        if self.guarantee is not Guarantee.DP:
            raise ConfigError("this run has no DP guarantee to account", code="run.not_private")
        return Mechanism(
            self.noise_multiplier,
            self.sampling,
            self.steps if steps is None else steps,
            Purpose.TRAINING,
        )

    def mechanisms(self, steps: int | None = None) -> tuple[Mechanism, ...]:
        """Everything that touches the training rows: what was paid before, and `steps` of training.

        Empty where the guarantee is not `dp`.
        """
        if self.guarantee is not Guarantee.DP:
            return ()
        return (*self.paid, self.event(steps))

    def as_dict(self) -> dict[str, object]:
        """The canonical-JSON form; the divisor and q are printed although they are derived."""
        return {
            "rows": self.rows,
            "sampling": self.sampling,
            "sample_rate": exact(self.sample_rate),
            "steps": self.steps,
            "noise_multiplier": exact(self.noise_multiplier),
            "max_grad_norm": exact(self.max_grad_norm),
            "divisor": exact(self.divisor),
            "guarantee": self.guarantee.value,
            "adjacency": self.adjacency,
            "unit": self.unit,
            "paid": [mechanism.as_dict() for mechanism in self.paid],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read `as_dict` back.

        Raises:
            ConfigError: a field is missing, malformed, out of range, or contradicts another.
        """
        try:
            plan = cls(
                rows=_integer(stored["rows"]),
                sampling=_integer(stored["sampling"]),
                steps=_integer(stored["steps"]),
                noise_multiplier=_number(stored["noise_multiplier"]),
                max_grad_norm=_number(stored["max_grad_norm"]),
                guarantee=Guarantee(stored["guarantee"]),
                adjacency=_text(stored["adjacency"]),
                unit=_text(stored["unit"]),
                paid=tuple(Mechanism.from_dict(item) for item in stored["paid"]),
            )
        except (KeyError, TypeError, ValueError):
            raise ConfigError("a stored plan cannot be read", code="run.plan_invalid") from None
        if plan.as_dict() != dict(stored):
            raise ConfigError("a stored plan contradicts itself", code="run.plan_invalid")
        return plan

    def with_steps(self, steps: int) -> Self:
        """The same plan, stopped after `steps`."""
        return replace(self, steps=steps)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self.as_dict())
