"""Differentially private stochastic gradient descent, top to bottom.

Abadi et al., arXiv 1607.00133, with Poisson sampling done as it is accounted.
The records are one tensor in memory. For each of the plan's T steps:

    1. sample    every unit, a record or a person with all of their records, is in the batch with
                 probability q, by its own secure coin (Poisson);
    2. gradient  each sampled record's loss and gradient norm (`training.clipping`);
    3. clip      a record's vector is its gradient and, as three more coordinates, what is watched:
                 its scaled loss, whether its gradient was clipped, and its gradient's norm; the
                 vector has norm at most C; a record whose loss or norm is not finite adds 0;
    4. sum       over the batch; a person's records count as their mean (`training.units`). An empty
                 batch sums to zero and is a step like any other;
    5. noise     N(0, (σC)²) is added to every coordinate, the watched included, from the secure
                 source;
    6. divide    by the public constant q·N, never by the number of records drawn;
    7. step      optimizer, momentum and weight averaging see only the noisy mean: post-processing.

The curves are private without extra cost because what they show are coordinates of the clipped
vector. The loss, clamped to [0, 4], gets r = 0.08 of C; the indicator that the gradient was clipped
c = 0.04; the norm, capped at 2C, n = 0.04; and the gradient √(1 - r² - c² - n²) = 0.995. Each is
clamped to its share by itself, so the whole never passes C (`training.clipping`): the sensitivity,
and with it the noise and the charge, are those of a vector without them. Exact losses and gradient
norms never leave this file.

Before a block of steps runs, `on_block` is told: the ledger writes the block down first, so that a
crash at any point costs at most what was recorded. After it ran, `on_kept` may take a snapshot, and
only then does anything of the block become known. Training goes on from a snapshot as if it had not
stopped: a step's coins and noise follow from the run's secret and the step's number, so that steps
which were paid for, ran, and were lost with a worker come out again as they were.

Several ranks may share the steps (`training.distributed`): each does 2 to 4 for the drawn records
that it holds, the sums are added up, and everything else is done by all of them alike.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from training.adversary import hardest
from training.clipping import WATCHED, LossFunction, clipping_pass, watched_units
from training.config import Guarantee, Optimizer, Plan, TrainingConfig
from training.distributed.group import ALONE, Group, own, records_of
from training.errors import EngineError
from training.lamb import Lamb
from training.mechanisms import exact
from training.randomness import Secret
from training.units import Unit, Units
from training.views import Views

BLOCK: Final = 20  # steps

# Indexes of rows, their shares where persons are drawn, and the noise.
_Drawn = tuple[torch.Tensor, torch.Tensor | None, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Progress:
    """What a curve may show after a block: nothing here depends on data except through the noise.

    Attributes:
        step: steps done so far.
        steps: steps planned.
        loss: mean clipped loss over the block's steps, noised.
        clip_fraction: share of records whose gradient was clipped, noised alike.
        gradient_norm: mean of the records' gradient norms, each capped at 2C, noised alike. None,
            as the one before, where nothing has a gradient (`training.boosting`).
        loss_error, clip_fraction_error, gradient_norm_error: standard deviation of each one's
            noise. Noise may take a figure out of the range that it would have without.
    """

    step: int
    steps: int
    loss: float
    loss_error: float
    clip_fraction: float | None = None
    clip_fraction_error: float | None = None
    gradient_norm: float | None = None
    gradient_norm_error: float | None = None


def to_lists(curve: Sequence[Progress]) -> list[list[object]]:
    """A curve as canonical JSON keeps it: whole numbers, and figures as decimal strings or null."""
    return [[one.step, one.steps, *map(_written, astuple(one)[2:])] for one in curve]


def from_lists(stored: Sequence[Sequence[Any]]) -> tuple[Progress, ...]:
    """Read `to_lists` back.

    Raises:
        TypeError, ValueError: it is not one.
    """
    return tuple(
        Progress(step, steps, *(None if one is None else float(one) for one in figures))  # type: ignore[arg-type]  # as many as were written
        for step, steps, *figures in stored
    )


def stalled(curve: Sequence[Progress], patience: int) -> bool:
    """Whether the last blocks brought no loss that is lower by more than its noise.

    Of noisy losses alone, which are paid for: stopping by them is post-processing. A Rényi filter
    allows it (arXiv 2008.11193): what an attempt does next may depend on what it has released.
    """
    if not patience or len(curve) <= patience:
        return False
    before = min(one.loss for one in curve[:-patience])
    lately = min(one.loss for one in curve[-patience:])
    return lately > before - curve[-1].loss_error


def _written(figure: float | None) -> str | None:
    return None if figure is None else exact(figure)


@dataclass(frozen=True)
class Trained:
    """What a run returns.

    Attributes:
        state: weights by name, on the CPU; the average if averaging was asked for.
        executed: steps that ran, each of them charged.
        stopped: whether the run was cancelled before the plan's last step. One that stalled was
            not: it has its model, and steps that did not run cost nothing.
        curve: progress after each block.
    """

    state: dict[str, torch.Tensor]
    executed: int
    stopped: bool
    curve: tuple[Progress, ...]


@dataclass(frozen=True)
class Snapshot:
    """All that training needs to go on, but the records and the run's secret.

    Attributes:
        step: steps done.
        tensors: weights, optimizer state and running average, by name.
        curve: progress so far.
    """

    step: int
    tensors: Mapping[str, torch.Tensor]
    curve: tuple[Progress, ...]


def binary_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of (B, 1) logits against (B,) labels in {0, 1}: (B,), one loss a record."""
    return nn.functional.binary_cross_entropy_with_logits(
        logits.squeeze(-1), labels, reduction="none"
    )


def train(  # noqa: PLR0913 - the parts of one run, each named at the call
    network: nn.Module,
    features: torch.Tensor,
    labels: torch.Tensor,
    *,
    plan: Plan,
    config: TrainingConfig,
    secret: Secret,
    on_block: Callable[[int], None],
    on_kept: Callable[[Callable[[], Snapshot]], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    block: int = BLOCK,
    loss: LossFunction = binary_loss,
    units: Units | None = None,
    after: Snapshot | None = None,
    paid: int = 0,
    group: Group = ALONE,
) -> Trained:
    """Train `network` in place by the plan.

    Args:
        network: a plain module whose layers Opacus supports; left without hooks. The arithmetic is
            done on its device.
        features: (n, …) float32 (rows without a usable label are left out; the plan's public N
            still counts them). Where every record is a unit, n is at most N. In a group: the rows
            that this rank holds.
        labels: (n,) float32.
        plan: q, T, σ, C and the divisor.
        config: optimizer and averaging; neither can weaken the plan.
        secret: what the coins and the noise follow from.
        on_block: called with the number of steps about to run that were not paid for, before they
            run. If it raises, they do not run.
        on_kept: called after each block with a function that takes a snapshot.
        on_progress: called after that: from here on others know of the block.
        cancelled: asked before each block.
        block: steps a block.
        loss: one loss a record, shape (B,).
        units: whose the n rows are; None where every record is a unit.
        after: where an earlier worker stopped, with the same plan, config, secret and records.
        paid: steps that the ledger holds already; those after the snapshot are run again as they
            were.
        group: who trains with this process. All are called alike, with the same secret; `on_block`
            and `cancelled` must agree in all of them.

    Returns:
        The weights and the number of steps that ran.

    Raises:
        EngineError: shapes do not fit, or the weights became non-finite.
    """
    records = records_of(group, len(features))
    _check(features, labels, plan, units, records)
    state = _State(network, plan, config)
    curve: list[Progress] = []
    done = 0
    if after is not None:
        state.restore(after.tensors)
        done, curve = after.step, list(after.curve)
    clipping = clipping_pass(network, loss, plan.max_grad_norm)
    of_whom = records if units is None else units
    draws = _Draws(plan, secret, group, of_whom, size=state.size + WATCHED)
    views = Views(config.views, config.view_noise, config.image, config.init_seed)
    figures = watched_units(plan.max_grad_norm) * plan.divisor
    stopped = False
    threads = torch.get_num_threads()
    if clipping.light(plan.divisor / group.size):
        torch.set_num_threads(max(1, threads - 1))  # one of them draws
    try:
        while done < plan.steps and not stalled(curve, config.patience):
            if stopped := cancelled():
                break
            ahead = min(block, plan.steps - done)
            if (unpaid := done + ahead - max(done, paid)) > 0:
                on_block(unpaid)
            noisy = np.zeros(WATCHED)
            for number in range(done + 1, done + ahead + 1):
                drawn, shares, noise = draws.of(number)  # 1. (b,) places; and for 5. (P + 3,)
                rows, targets = state.batch(features, drawn), state.batch(labels, drawn)
                if views.count > 1:
                    # By each record's number among all: not by who else was drawn.
                    numbers = drawn * group.size + group.rank
                    rows, targets, shares = views.all(rows, targets, shares, numbers, number)
                if config.adversary:
                    rows = hardest(network, loss, rows, targets, config.adversary)
                clipped = clipping.sum(rows, targets, state.moved(shares))
                summed = group.sum(np.append(clipped.watched, clipped.gradient))  # 2. 3. 4. of all
                summed += noise  # 5. float64 until 7.
                noisy += summed[:WATCHED]
                mean = summed[WATCHED:] / plan.divisor  # 6.
                state.step(number, mean)  # 7.
            done += ahead
            state.check()
            sigma = plan.noise_multiplier * plan.max_grad_norm / math.sqrt(ahead)
            curve.append(_progress(done, plan.steps, noisy / ahead / figures, sigma / figures))
            on_kept(partial(state.snapshot, tuple(curve)))
            on_progress(curve[-1])
    finally:
        torch.set_num_threads(threads)
        draws.close()
        clipping.close()
    return Trained(state.result(), done, stopped, tuple(curve))


def _progress(
    step: int, steps: int, means: npt.NDArray[np.float64], errors: npt.NDArray[np.float64]
) -> Progress:
    """A point of the curves from (3,) noisy means and the deviations of their noise."""
    loss, clip_fraction, gradient_norm = means.tolist()
    loss_error, clip_fraction_error, gradient_norm_error = errors.tolist()
    return Progress(
        step,
        steps,
        loss,
        loss_error,
        clip_fraction,
        clip_fraction_error,
        gradient_norm,
        gradient_norm_error,
    )


def _check(
    features: torch.Tensor, labels: torch.Tensor, plan: Plan, units: Units | None, records: int
) -> None:
    if features.ndim < 2 or labels.shape != (len(features),):  # noqa: PLR2004 - a table, images
        raise EngineError("features must be (n, …) and labels (n,)", code="engine.shape")
    if (units is None) is (plan.unit is Unit.SUBJECT):
        raise EngineError("the plan's unit and the rows' are not the same", code="engine.unit")
    if units is not None and len(units.rows) != records:
        raise EngineError("every row must be somebody's", code="engine.shape")
    if units is None and records > plan.rows:
        raise EngineError("there are more rows than the plan's public count", code="engine.shape")
    if plan.guarantee is Guarantee.DP and plan.noise_multiplier <= 0:
        raise EngineError("a DP plan without noise", code="engine.no_noise")


class _Draws:
    """Coins and noise of each step, made by another thread while the step before is computed."""

    def __init__(
        self, plan: Plan, secret: Secret, group: Group, of: int | Units, *, size: int
    ) -> None:
        self._plan, self._secret, self._group = plan, secret, group
        self._of, self._size = of, size
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="draws")
        self._next: tuple[int, Future[_Drawn]] | None = None

    def of(self, number: int) -> _Drawn:
        """Places of this rank's records that are in step `number`, shares; the step's noise."""
        if self._next is not None and self._next[0] == number:
            drawn = self._next[1].result()
        else:
            drawn = self._make(number)
        if number < self._plan.steps:
            self._next = number + 1, self._thread.submit(self._make, number + 1)
        return drawn

    def close(self) -> None:
        """Forget what was drawn and not used."""
        self._thread.shutdown(cancel_futures=True)

    def _make(self, number: int) -> _Drawn:
        source = self._secret.step(number)
        shares: npt.NDArray[np.float32] | None = None
        if isinstance(self._of, Units):
            indexes, shares = self._of.expand(self._plan.sample(source, len(self._of)))
        else:
            indexes = self._plan.sample(source, self._of)
        indexes, mine = own(indexes, self._group)
        if shares is not None and mine is not None:
            shares = shares[mine]
        return (
            torch.from_numpy(indexes),
            None if shares is None else torch.from_numpy(shares),
            self._plan.noise(source, self._size),
        )


class _State:
    """What a step changes: weights, the optimizer's memory, the running average."""

    def __init__(self, network: nn.Module, plan: Plan, config: TrainingConfig) -> None:
        self._network = network
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self.size = sum(p.numel() for p in self._parameters)
        self._device = self._parameters[0].device
        self._gradient = torch.zeros(self.size, device=self._device)
        parts = torch.split(self._gradient, [p.numel() for p in self._parameters])
        for parameter, part in zip(self._parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        self._optimizer = _optimizer(self._parameters, config)
        self._average = _TailAverage(
            self._parameters, after=round(plan.steps * (1 - config.average_last))
        )

    def batch(self, rows: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Some of the rows, where the weights are; from pinned memory, while the CPU goes on."""
        taken = rows[drawn]
        if self._device.type == "cpu":
            return taken
        return taken.pin_memory().to(self._device, non_blocking=True)

    def moved(self, shares: torch.Tensor | None) -> torch.Tensor | None:
        """Shares, where the weights are."""
        return None if shares is None else shares.to(self._device)

    def step(self, number: int, mean: npt.NDArray[np.float64]) -> None:
        """Step `number` with the noisy mean gradient, (P,) end to end."""
        self._gradient.copy_(torch.from_numpy(mean))  # every parameter's `grad` is a part of it
        self._optimizer.step()
        self._average.see(number)

    def check(self) -> None:
        """Refuse weights that are not finite."""
        if not all(bool(torch.isfinite(p).all()) for p in self._parameters):
            raise EngineError(
                "the weights became non-finite: lower the learning rate", code="engine.diverged"
            )

    def snapshot(self, curve: tuple[Progress, ...]) -> Snapshot:
        """Copies of everything, by name, after the curve's last step."""
        found = {f"network/{name}": value for name, value in self._network.state_dict().items()}
        for place, kept in self._optimizer.state_dict()["state"].items():
            found |= {
                f"optimizer/{place}/{name}": torch.as_tensor(value)
                for name, value in kept.items()
                if value is not None
            }
        found |= self._average.tensors()
        copies = {name: value.detach().cpu().clone().contiguous() for name, value in found.items()}
        return Snapshot(curve[-1].step, copies, curve)

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put a snapshot's tensors back.

        Raises:
            EngineError: `engine.snapshot_differs`, they are not this network's or optimizer's.
        """
        parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "optimizer": {}, "average": {}}
        try:
            for name, value in tensors.items():
                part, _, rest = name.partition("/")
                parts[part][rest] = value
            self._network.load_state_dict(parts["network"], strict=True)
            kept: dict[int, dict[str, Any]] = {}
            for name, value in parts["optimizer"].items():
                place, _, field = name.partition("/")
                kept.setdefault(int(place), {})[field] = value
            whole = self._optimizer.state_dict()
            self._optimizer.load_state_dict({**whole, "state": kept})
            self._average.restore(parts["average"])
        except (KeyError, ValueError, RuntimeError):
            raise EngineError(
                "this snapshot is of another network", code="engine.snapshot_differs"
            ) from None

    def result(self) -> dict[str, torch.Tensor]:
        """The weights by name, averaged if that was asked for."""
        self._average.apply()
        found = self._network.state_dict()
        return {name: value.detach().cpu().clone() for name, value in found.items()}


def _optimizer(parameters: list[nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    match config.optimizer:
        case Optimizer.SGD:
            return torch.optim.SGD(parameters, lr=config.learning_rate, momentum=config.momentum)
        case Optimizer.ADAMW:
            return torch.optim.AdamW(
                parameters, lr=config.learning_rate, betas=(config.momentum, 0.999)
            )
        case Optimizer.LAMB:
            return Lamb(parameters, lr=config.learning_rate, betas=(config.momentum, 0.999))


class _TailAverage:
    """Mean of the weights after each of the last steps: less noise in the result, no ε."""

    def __init__(self, parameters: list[nn.Parameter], after: int) -> None:
        self._parameters = parameters
        self._after = after
        self._count = 0
        self._sums = [torch.zeros_like(p, dtype=torch.float64) for p in parameters]

    def see(self, step: int) -> None:
        if step > self._after:
            self._count += 1
            for total, parameter in zip(self._sums, self._parameters, strict=True):
                total.add_(parameter.detach())

    def tensors(self) -> dict[str, torch.Tensor]:
        found = {f"average/{place}": total for place, total in enumerate(self._sums)}
        return {**found, "average/count": torch.tensor(self._count)}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._count = int(tensors["count"])
        for place, total in enumerate(self._sums):
            total.copy_(tensors[str(place)])

    def apply(self) -> None:
        if self._count:
            with torch.no_grad():
                for total, parameter in zip(self._sums, self._parameters, strict=True):
                    parameter.copy_(total / self._count)
