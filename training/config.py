"""What was asked (`TrainingConfig`) and what will run (`Plan`): frozen, validated, saved as JSON.

The plan is the single source of the sampler, of the noise and of the accounting event, so the three
cannot disagree. It is made by `training.accounting.make_plan`, saved beside the weights that it
produced and printed in the model card. Imports neither torch nor Django.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from audit.canonical import digest
from training.candidates import Search, at, read_search
from training.errors import ConfigError
from training.mechanisms import WHOLE, Mechanism, Purpose, exact
from training.randomness import Source
from training.renyi import check_delta, check_epsilon
from training.units import Unit

ADJACENCY: Final = "zero-out"
# One record's vector is its gradient and three figures about it, together clipped to C (see
# training.dpsgd): its loss, whether its gradient was clipped, and its gradient's norm.
LOSS_SHARE: Final = 0.08
CLIP_SHARE: Final = 0.04
NORM_SHARE: Final = 0.04
GRADIENT_SHARE: Final = math.sqrt(1 - LOSS_SHARE**2 - CLIP_SHARE**2 - NORM_SHARE**2)
LOSS_CEILING: Final = 4.0
ROUNDS: Final = 60  # that a boosted model goes over its features, where nobody says otherwise
NORM_CEILING: Final = 2.0  # in units of C

_LARGEST_LAYERS: Final = 8
_LARGEST_WIDTH: Final = 8_192
_LARGEST_STEPS: Final = 1_000_000
_LARGEST_BATCH: Final = 1_000_000
_MOST_VIEWS: Final = 16
_LARGEST_ADVERSARY: Final = 1.0
_LOUDEST_VIEW: Final = 10.0
_LONGEST_PATIENCE: Final = 1_000
_IMAGE_AXES: Final = 3
_LARGEST_SIDE: Final = 256
_SMALLEST_IMAGE: Final = 8
_LARGEST_RANK: Final = 64
_LARGEST_ALPHA: Final = 1_024.0
_LARGEST_ADAPTED: Final = 6  # layers: as many as the packaged encoder has
FEWEST_MEMBERS: Final = 2
MOST_MEMBERS: Final = 10
_LORA_BATCH: Final = 256  # by default: a step goes through the encoder twice


class ModelKind(StrEnum):
    """The networks that `training.networks` builds."""

    LINEAR = "linear"
    MLP = "mlp"
    EMBEDDING = "embedding"  # an MLP behind one embedding for each list of values
    CNN = "cnn"  # over columns that are an image's pixels
    EBM = "ebm"  # a table of scores for each feature: the glass box
    LORA = "lora"  # adapters in a packaged encoder, over one text
    MODULE = "module"  # a class of one's own, by a name that the operator allows
    ENSEMBLE = "ensemble"  # the mean of finished models: nothing is trained


class Form(StrEnum):
    """Other forms of a trained model: post-processing, so they cost no ε (`training.compression`).

    pruned: the smaller half of all weights is zero; onnx: for other runtimes; int8: the same with
    weights of eight bits, which is made in temporary files, so never of a waived run's weights.
    """

    PRUNED = "pruned"
    ONNX = "onnx"
    INT8 = "int8"


class Optimizer(StrEnum):
    """What turns the noisy mean gradient into a step: post-processing, so it costs no ε."""

    SGD = "sgd"
    ADAMW = "adamw"
    LAMB = "lamb"


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
        image: of a `cnn` model: channels, height and width, whose product is the number of pixels.
        module: of a `module` model: the dotted path of a class or function.
        replace_layers: whether layers of it that would couple records may be replaced.
        members: of an `ensemble`: 2 to 10 model versions, each as "slug@number"; fields of training
            mean nothing there.
        expected_batch: mean number of records in a step (Poisson sampling makes it random).
        steps: number of steps T.
        max_grad_norm: clipping norm C of one record's vector.
        learning_rate, momentum, optimizer: how a noisy mean gradient becomes a step.
        average_last: share of the last steps whose weights are averaged; 0 turns averaging off.
        patience: blocks without a lower noisy loss after which training stops; 0 for never.
        views: of each drawn record, augmented, in its one clipped vector; see `training.views`.
        view_noise: standard deviation of a view's noise on encoded features; images are shifted.
        adversary: how far an adversary may move the encoded features of a record that is trained
            on, in Euclidean norm (`training.adversary`); 0 for none.
        forms: other forms of the model to make and to measure on the held-out rows.
        twin: whether the same is trained once more without noise or clipping, to be measured beside
            the model and discarded; of rows that were declared public (`training.unprotected`).
        lora_rank, lora_alpha, lora_layers: of a `lora` model's adapters: their rank, what they are
            scaled by times that rank, and in how many of the encoder's last layers they are.
        init_seed: seed of the initial weights. Public: initial weights never saw the data. Sampling
            and noise have no seed.
        guarantee, adjacency, unit: what is promised, between which tables, to whom.
        search: among which variants of all this the model is chosen, privately; None for one run.
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
    patience: int = 0
    views: int = 1
    view_noise: float = 0.1
    adversary: float = 0.0
    forms: tuple[Form, ...] = ()
    twin: bool = False
    init_seed: int = 0
    guarantee: Guarantee = Guarantee.DP
    adjacency: str = ADJACENCY
    unit: Unit = Unit.RECORD
    lora_rank: int = 4
    lora_alpha: float = 8.0
    lora_layers: int = 2
    image: tuple[int, ...] = ()
    module: str = ""
    replace_layers: bool = False
    members: tuple[str, ...] = ()
    search: Search | None = None

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)
        check_delta(self.delta)
        self._check_network()
        self._check_optimization()
        self._check_views()
        if self.adjacency != ADJACENCY:
            raise _refuse("adjacency", f"only {ADJACENCY} adjacency is implemented")
        self._check_search()

    def _check_search(self) -> None:
        if self.search is None:
            return
        if self.guarantee is not Guarantee.DP:
            raise _refuse("search", "without a guarantee nothing is gained by a private search")
        if self.model is ModelKind.ENSEMBLE:
            raise _refuse("search", "nothing about an ensemble can be searched")
        if self.twin:
            raise _refuse("twin", "the twin is of one configuration, and a search has several")
        for place in range(len(self.search.candidates)):
            try:
                self.variant(place)
            except ConfigError as error:
                raise at(place, error) from None

    def variant(self, place: int) -> Self:
        """The configuration that one candidate of the search makes of this one.

        Raises:
            ConfigError: it is out of range.
        """
        chosen = {} if self.search is None else self.search.candidates[place]
        return replace(self, search=None, **chosen)

    def variants(self) -> tuple[Self, ...]:
        """What may be trained: one configuration for each candidate, or this one alone."""
        if self.search is None:
            return (self,)
        return tuple(self.variant(place) for place in range(len(self.search.candidates)))

    def _check_network(self) -> None:
        if self.model not in _LAYERED:
            if self.hidden:
                raise _refuse("hidden", f"a {self.model.value} model has no hidden layers")
        elif not 0 < len(self.hidden) <= _LARGEST_LAYERS:
            raise _refuse("hidden", f"an MLP has 1 to {_LARGEST_LAYERS} hidden layers")
        if any(not 0 < width <= _LARGEST_WIDTH for width in self.hidden):
            raise _refuse("hidden", f"a hidden layer is 1 to {_LARGEST_WIDTH} wide")
        if len(set(self.forms)) != len(self.forms):
            raise _refuse("forms", "each form is made once")
        if Form.INT8 in self.forms and self.guarantee is Guarantee.WAIVED:
            raise _refuse("forms", "weights without a guarantee are in no temporary file")
        if self.forms and self.model in _ONE_FORM:
            raise _refuse("forms", f"a {self.model.value} model has no other forms")
        if self.twin and self.guarantee is not Guarantee.DP:
            raise _refuse("twin", "only a run with a DP guarantee differs from its twin")
        if self.model is ModelKind.EBM and self.max_grad_norm != 1:
            raise _refuse("max_grad_norm", "residuals are at most 1 as they are")
        self._check_image()
        self._check_module()
        self._check_adapters()
        self._check_members()

    def _check_members(self) -> None:
        if self.model is not ModelKind.ENSEMBLE:
            if self.members:
                raise _refuse("members", "an ensemble, and no other model, names members")
        elif not FEWEST_MEMBERS <= len(self.members) <= MOST_MEMBERS:
            raise _refuse("members", f"an ensemble has {FEWEST_MEMBERS} to {MOST_MEMBERS} members")
        elif len(set(self.members)) != len(self.members):
            raise _refuse("members", "each member is named once")

    def _check_module(self) -> None:
        if bool(self.module) is not (self.model is ModelKind.MODULE):
            raise _refuse("module", "a module model, and no other, names its class")
        if self.replace_layers and self.model is not ModelKind.MODULE:
            raise _refuse("replace_layers", "only a module model has layers to replace")
        if not 0 <= self.init_seed < 2**53:
            raise _refuse("init_seed", "must be a non-negative integer below 2**53")

    def _check_views(self) -> None:
        if not 1 <= self.views <= _MOST_VIEWS:
            raise _refuse("views", f"1 to {_MOST_VIEWS} views of a record")
        if self.views > 1 and self.model in {ModelKind.LORA, ModelKind.EBM}:
            raise _refuse("views", f"a {self.model.value} model has one view of a record")
        if not 0 < self.view_noise <= _LOUDEST_VIEW:  # false for NaN
            raise _refuse("view_noise", f"must be above 0 and at most {_LOUDEST_VIEW:g}")
        if not 0 <= self.adversary <= _LARGEST_ADVERSARY:  # false for NaN
            raise _refuse("adversary", f"0 to {_LARGEST_ADVERSARY:g}")
        if self.adversary and self.model not in _ATTACKED:
            raise _refuse("adversary", f"a {self.model.value} model is not trained against one")
        if not 0 <= self.patience <= _LONGEST_PATIENCE:
            raise _refuse("patience", f"0 to {_LONGEST_PATIENCE} blocks")

    def _check_image(self) -> None:
        if self.model is not ModelKind.CNN:
            if self.image:
                raise _refuse("image", "only a cnn model reads images")
        elif len(self.image) != _IMAGE_AXES or any(
            not 0 < side <= _LARGEST_SIDE for side in self.image
        ):
            raise _refuse("image", f"channels, height and width, each 1 to {_LARGEST_SIDE}")
        elif min(self.image[1:]) < _SMALLEST_IMAGE:
            raise _refuse("image", f"an image is at least {_SMALLEST_IMAGE} wide and high")

    def _check_adapters(self) -> None:
        if not 0 < self.lora_rank <= _LARGEST_RANK:
            raise _refuse("lora_rank", f"an adapter's rank is 1 to {_LARGEST_RANK}")
        if not 0 < self.lora_layers <= _LARGEST_ADAPTED:
            raise _refuse("lora_layers", f"adapters are in 1 to {_LARGEST_ADAPTED} layers")
        if not 0 < self.lora_alpha <= _LARGEST_ALPHA:  # false for NaN
            raise _refuse("lora_alpha", f"must be above 0 and at most {_LARGEST_ALPHA:g}")
        if self.model is not ModelKind.LORA:
            for field in fields(self):
                if field.name in _ADAPTERS and getattr(self, field.name) != field.default:
                    raise _refuse(field.name, "only a lora model has adapters")

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
        is 2,048 records, 256 for adapters and images, or a quarter of a smaller table. A boosted
        model reads every row at every step. `chosen` overrides any field.

        Raises:
            ConfigError: the result is out of range.
        """
        model = ModelKind(chosen.pop("model", ModelKind.MLP))
        if model is ModelKind.ENSEMBLE:
            return cls(epsilon, delta, features, model, hidden=(), **chosen)
        largest = _LORA_BATCH if model in {ModelKind.LORA, ModelKind.CNN} else 2_048
        batch = chosen.pop("expected_batch", max(1, min(largest, rows // 4)))
        hidden = tuple(chosen.pop("hidden", (64,) if model in _LAYERED else ()))
        if model is ModelKind.EBM:
            chosen = {"max_grad_norm": 1.0, "learning_rate": 0.3, **chosen}
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
        for field in fields(self):
            # Digests of other models, and of runs that ask for neither, are what they were.
            asked = field.name != "search" and (field.name != "twin" or self.twin)
            if asked and not _of_another(field.name, self.model):
                shown[field.name] = _written(getattr(self, field.name))
        if self.search is not None:
            shown["search"] = {
                "candidates": [
                    {name: _written(value) for name, value in sorted(candidate.items())}
                    for candidate in self.search.candidates
                ],
                "trials": self.search.trials,
            }
        return shown

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> Self:
        """Read what a user or `as_dict` wrote; numbers may be numbers or decimal strings.

        Raises:
            ConfigError: an unknown or missing field, or a value of another type or out of range,
            with
                a pointer to it.
        """
        read = read_fields(stored)
        for name in ("epsilon", "delta", "features"):
            if name not in read:
                raise _refuse(name, "is missing")
        return cls(**read)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self.as_dict())


def _written(value: object) -> object:
    """A field's value in canonical JSON."""
    if isinstance(value, float):
        return exact(value)
    if isinstance(value, StrEnum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def read_fields(stored: Mapping[str, object]) -> dict[str, Any]:
    """Some fields of a configuration, as a user or `TrainingConfig.as_dict` wrote them.

    Raises:
        ConfigError: an unknown field, or a value of another type, with a pointer to it.
    """
    for name in stored:
        if name not in _READERS:
            raise ConfigError("the configuration has an unknown field", pointer="")
    read: dict[str, Any] = {}
    for name, parse in _READERS.items():
        if name not in stored:
            continue
        try:
            read[name] = parse(stored[name])
        except (TypeError, ValueError):
            raise _refuse(name, "cannot be read as what this field holds") from None
    return read


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    return float(value)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(value))


def _integer(value: object) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else int(number)


def _list(value: object) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError
    return value


def _widths(value: object) -> tuple[int, ...]:
    return tuple(_integer(item) for item in _list(value))


def _yes(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


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
    "patience": _integer,
    "views": _integer,
    "view_noise": _number,
    "adversary": _number,
    "forms": lambda value: tuple(Form(item) for item in _list(value)),
    "twin": _yes,
    "init_seed": _integer,
    "guarantee": Guarantee,
    "adjacency": _text,
    "unit": Unit,
    "lora_rank": _integer,
    "lora_alpha": _number,
    "lora_layers": _integer,
    "image": _widths,
    "module": _text,
    "replace_layers": _yes,
    "members": _texts,
    "search": lambda value: read_search(value, read_fields),
}
_ADAPTERS: Final = frozenset({"lora_rank", "lora_alpha", "lora_layers"})
_ATTACKED: Final = frozenset({ModelKind.LINEAR, ModelKind.MLP, ModelKind.EMBEDDING, ModelKind.CNN})
_LAYERED: Final = frozenset({ModelKind.MLP, ModelKind.EMBEDDING})
_OF_ONE_KIND: Final = dict.fromkeys(_ADAPTERS, ModelKind.LORA) | {
    "image": ModelKind.CNN,
    "module": ModelKind.MODULE,
    "replace_layers": ModelKind.MODULE,
    "members": ModelKind.ENSEMBLE,
}
_ONE_FORM: Final = frozenset({ModelKind.LORA, ModelKind.MODULE, ModelKind.ENSEMBLE})
# Of an ensemble, where nothing is trained; `hidden` is there, and empty.
_OF_ENSEMBLES: Final = frozenset(
    {"epsilon", "delta", "features", "model", "hidden", "guarantee", "adjacency", "unit", "members"}
)


def _of_another(field: str, model: ModelKind) -> bool:
    """Whether a field means nothing for this kind of model."""
    if model is ModelKind.ENSEMBLE and field not in _OF_ENSEMBLES:
        return True
    return _OF_ONE_KIND.get(field, model) is not model


@dataclass(frozen=True)
class Plan:
    """What runs. Generates the sampler, the noise and the accounting event from the same numbers.

    Without steps (an ensemble) nothing reads the training rows, and σ is that of the one release
    about the held-out rows.

    Attributes:
        rows: public number N of training rows, by which q and the divisor are set.
        sampling: inclusion probability q of a unit, as an integer out of 2**32.
        steps: number of steps T; 0 where nothing is trained.
        noise_multiplier: σ. Zero only where the guarantee is not `dp`.
        max_grad_norm: clipping norm C of one unit's whole vector.
        guarantee, adjacency, unit: as in `TrainingConfig`.
        paid: mechanisms that touched the same rows before training.
        stopping: of a search, the probability with which a trial is the last, out of 2**32; all
            else is of one trial, but `paid`, which is paid once. 0 for no search.
    """

    rows: int
    sampling: int
    steps: int
    noise_multiplier: float
    max_grad_norm: float
    guarantee: Guarantee = Guarantee.DP
    adjacency: str = ADJACENCY
    unit: Unit = Unit.RECORD
    paid: tuple[Mechanism, ...] = ()
    stopping: int = 0

    def __post_init__(self) -> None:
        if self.guarantee is Guarantee.DP:
            self.event()  # refuses what is not noise
        elif self.noise_multiplier != 0:
            raise _refuse("noise_multiplier", "a run without a DP guarantee adds no noise")
        if self.rows < 1 or not 0 < self.sampling <= WHOLE or self.steps < 0:
            raise ConfigError(
                "a plan needs rows, a sampling rate and steps", code="run.plan_invalid"
            )
        if self.stopping and self.guarantee is not Guarantee.DP:
            raise _refuse("search", "without a guarantee nothing is gained by a private search")
        if not math.isfinite(self.max_grad_norm) or self.max_grad_norm <= 0:
            raise _refuse("max_grad_norm", "must be a positive, finite number")
        if not self.steps and (self.paid or self.sampling != WHOLE):
            raise ConfigError("a plan without steps reads no row", code="run.plan_invalid")

    @property
    def sample_rate(self) -> float:
        """q, exact in a double."""
        return self.sampling / WHOLE

    @property
    def trials(self) -> float:
        """How many trials are expected: 1 where nothing is searched."""
        return WHOLE / self.stopping if self.stopping else 1.0

    @property
    def divisor(self) -> float:
        """q·N: the constant by which every noisy sum is divided. Public, whatever was drawn."""
        return self.sample_rate * self.rows

    def sample(self, source: Source, units: int) -> npt.NDArray[np.intp]:
        """Indexes of one Poisson draw over `units` stored units: each is in with probability q."""
        return np.flatnonzero(source.bernoulli(self.sampling, units))

    def noise(self, source: Source, count: int) -> npt.NDArray[np.float64]:
        """`count` independent draws of N(0, (σC)²)."""
        if self.noise_multiplier == 0:
            return np.zeros(count)
        return source.gaussian(count) * (self.noise_multiplier * self.max_grad_norm)

    def event(self, steps: int | None = None) -> Mechanism:
        """What `steps` of this plan (all, if not given) cost, as the ledger records it.

        A search costs what it costs as a whole, however far a trial of it came.

        Raises:
            ConfigError: `run.not_private`, the plan promises nothing that could be accounted.
        """
        if self.guarantee is not Guarantee.DP:
            raise ConfigError("this run has no DP guarantee to account", code="run.not_private")
        return Mechanism(
            self.noise_multiplier,
            self.sampling,
            self.steps if steps is None or self.stopping else steps,
            Purpose.TRAINING,
            self.stopping,
        )

    def mechanisms(self, steps: int | None = None) -> tuple[Mechanism, ...]:
        """Everything that touches the training rows: what was paid before, and `steps` of training.

        Empty where the guarantee is not `dp`, and where nothing is trained.
        """
        if self.guarantee is not Guarantee.DP or not self.steps:
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
            "unit": self.unit.value,
            "paid": [mechanism.as_dict() for mechanism in self.paid],
            **(
                {
                    "search": {
                        "distribution": "geometric",
                        "stopping": self.stopping,
                        "trials": exact(self.trials),
                    }
                }
                if self.stopping
                else {}
            ),
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
                unit=Unit(stored["unit"]),
                paid=tuple(Mechanism.from_dict(item) for item in stored["paid"]),
                stopping=_integer(stored["search"]["stopping"]) if "search" in stored else 0,
            )
        except (KeyError, TypeError, ValueError):
            raise ConfigError("a stored plan cannot be read", code="run.plan_invalid") from None
        if plan.as_dict() != dict(stored):
            raise ConfigError("a stored plan contradicts itself", code="run.plan_invalid")
        return plan

    def trial(self, max_grad_norm: float) -> Self:
        """One trial of a search, as a plan: another clipping norm changes nothing of its cost."""
        return replace(self, max_grad_norm=max_grad_norm)

    def with_steps(self, steps: int) -> Self:
        """The same plan, stopped after `steps`."""
        return replace(self, steps=steps)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self.as_dict())
