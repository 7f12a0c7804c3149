"""Differentially private stochastic gradient descent, top to bottom.

Abadi et al., arXiv 1607.00133, with Poisson sampling done as it is accounted.
The records are one tensor in memory. For each of the plan's T steps:

    1. sample    every record is in the batch with probability q, by its own secure coin (Poisson);
    2. gradient  each sampled record's loss and gradient norm, by Opacus' ghost clipping;
    3. clip      a record's vector is its gradient and, as one more coordinate, its scaled loss; the
                 vector has norm at most C; a record whose loss or norm is not finite adds 0;
    4. sum       over the batch. An empty batch sums to zero and is a step like any other;
    5. noise     N(0, (σC)²) is added to every coordinate, loss included, from the secure source;
    6. divide    by the public constant q·N, never by the number of records drawn;
    7. step      optimizer, momentum and weight averaging see only the noisy mean: post-processing.

The loss curve is private without extra cost because the loss is a coordinate of the clipped vector:
the gradient gets √(1 - r²)·C and the loss r·C, r = 0.1, of the same sensitivity C. Exact losses and
gradient norms never leave this file.

Before a block of steps runs, `on_block` is told: the ledger writes the block down first, so that a
crash at any point costs at most what was recorded.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.validators import ModuleValidator
from torch import nn

from training.config import LOSS_CEILING, LOSS_SHARE, Guarantee, Optimizer, Plan, TrainingConfig
from training.errors import EngineError
from training.randomness import Source

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

PHYSICAL: Final = 4_096  # records a pass: bounds memory. A sum does not care how it is chunked.


@dataclass(frozen=True)
class Progress:
    """What a curve may show after a block: nothing here depends on data except through the noise.

    Attributes:
        step: steps done so far.
        steps: steps planned.
        loss: mean clipped loss over the block's steps, noised; see `loss_error`.
        loss_error: standard deviation of the noise in `loss`.
    """

    step: int
    steps: int
    loss: float
    loss_error: float


@dataclass(frozen=True)
class Trained:
    """What a run returns.

    Attributes:
        state: weights by name, on the CPU; the average if averaging was asked for.
        executed: steps that ran, each of them charged.
        stopped: whether the run was cancelled before the plan's last step.
        curve: progress after each block.
    """

    state: dict[str, torch.Tensor]
    executed: int
    stopped: bool
    curve: tuple[Progress, ...]


@dataclass(frozen=True)
class ClippedSum:
    """Step 4: sums over a batch, before noise.

    Attributes:
        gradient: (P,) sum of clipped gradients, all parameters end to end, float64.
        loss: sum of clipped, scaled losses.
        refused: how many records contributed zero because something was not finite. Private.
    """

    gradient: npt.NDArray[np.float64]
    loss: float
    refused: int


def binary_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of (B, 1) logits against (B,) labels in {0, 1}: (B,), one loss a record."""
    return nn.functional.binary_cross_entropy_with_logits(
        logits.squeeze(-1), labels, reduction="none"
    )


class ClippingPass:
    """Steps 2 to 4 for one network: ghost clipping through Opacus' hooks.

    Opacus computes every record's gradient norm from activations and backpropagated signals without
    building per-record gradients; a second backward pass of the re-weighted losses gives the sum.
    """

    def __init__(self, network: nn.Module, loss: LossFunction, max_grad_norm: float) -> None:
        if ModuleValidator.validate(network, strict=False):
            raise EngineError(
                "a layer couples records or keeps statistics of them (batch normalization does)",
                code="engine.layer_unsupported",
            )
        self._hooked = GradSampleModuleFastGradientClipping(
            network.train(),
            loss_reduction="sum",
            max_grad_norm=max_grad_norm,
            use_ghost_clipping=True,
        )
        self._network = network
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self._loss = loss
        # Norms and sums are float32: the last factor keeps their rounding below the sensitivity C.
        self._gradient_bound = max_grad_norm * math.sqrt(1 - LOSS_SHARE**2) * (1 - 1e-5)
        self._loss_scale = max_grad_norm * LOSS_SHARE / LOSS_CEILING

    def close(self) -> None:
        """Remove the hooks: the network is a plain module again."""
        self._hooked.to_standard_module()

    def sum(self, features: torch.Tensor, labels: torch.Tensor) -> ClippedSum:
        """Clipped sums over (B, D) features and (B,) labels; B may be 0.

        Raises:
            EngineError: `engine.loss_shape`, the loss is not (B,). With (B, 1) Opacus' coefficients
                would broadcast to (B, B) and clip nothing.
        """
        size = sum(p.numel() for p in self._parameters)
        total, loss_total, refused = np.zeros(size), 0.0, 0
        for start in range(0, len(features), PHYSICAL):
            # Opacus' hooks expect inputs that require gradients, and warn otherwise.
            rows = features[start : start + PHYSICAL].detach().requires_grad_()
            targets = labels[start : start + PHYSICAL]
            losses, norms = self._norms(rows, targets)
            self._hooked.disable_hooks()  # what follows must leave no activations behind
            finite = torch.isfinite(losses) & torch.isfinite(norms)
            if not bool(finite.all()):
                # 0 · ∞ is NaN, so such records must leave the batch, not only get weight zero.
                refused += int((~finite).sum())
                rows, targets, losses, norms = (
                    part[finite] for part in (rows, targets, losses.detach(), norms)
                )
                if not len(rows):
                    continue
                losses = self._losses(rows, targets)
            weights = (self._gradient_bound / norms.clamp(min=1e-12)).clamp(max=1.0)
            gradients = torch.autograd.grad((losses * weights).sum(), self._parameters)
            total += torch.cat([g.reshape(-1) for g in gradients]).double().numpy()
            bounded = losses.detach().double().clamp(min=0.0, max=LOSS_CEILING)
            loss_total += float(bounded.sum()) * self._loss_scale
        return ClippedSum(total, loss_total, refused)

    def _losses(self, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        losses = self._loss(self._network(rows), targets)
        if losses.shape != (len(rows),):
            raise EngineError("a loss must be one number a record", code="engine.loss_shape")
        return losses

    def _norms(
        self, rows: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) losses, still attached to the graph, and (B,) gradient norms."""
        self._hooked.enable_hooks()
        losses = self._losses(rows, targets)
        # Asking for the inputs' gradients alone drives the signals back through every layer, where
        # the hooks read them, without forming a weight gradient that nobody needs.
        torch.autograd.grad(losses.sum(), rows, retain_graph=True)
        return losses, self._hooked.get_norm_sample().detach()


def train(  # noqa: PLR0913 - the parts of one run, each named at the call
    network: nn.Module,
    features: torch.Tensor,
    labels: torch.Tensor,
    *,
    plan: Plan,
    config: TrainingConfig,
    source: Source,
    on_block: Callable[[int], None],
    on_progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    block: int = 20,
    loss: LossFunction = binary_loss,
) -> Trained:
    """Train `network` in place by the plan.

    Args:
        network: a plain module whose layers Opacus supports; left without hooks.
        features: (n, D) float32, n at most the plan's public N (rows without a usable label are
        left
            out; N still counts them).
        labels: (n,) float32.
        plan: q, T, σ, C and the divisor.
        config: optimizer and averaging; neither can weaken the plan.
        source: secure bits for the coins and the noise.
        on_block: called with the number of steps about to run, before they run. If it raises, they
            do not run.
        on_progress: called after each block.
        cancelled: asked before each block.
        block: steps a block.
        loss: one loss a record, shape (B,).

    Returns:
        The weights and the number of steps that ran.

    Raises:
        EngineError: shapes do not fit, or the weights became non-finite.
    """
    _check(features, labels, plan)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = _optimizer(parameters, config)
    average = _TailAverage(parameters, after=round(plan.steps * (1 - config.average_last)))
    clipping = ClippingPass(network, loss, plan.max_grad_norm)
    loss_unit = plan.divisor * plan.max_grad_norm * LOSS_SHARE / LOSS_CEILING
    curve: list[Progress] = []
    done = 0
    try:
        while done < plan.steps and not cancelled():
            ahead = min(block, plan.steps - done)
            on_block(ahead)
            noisy_loss = 0.0
            for _ in range(ahead):
                drawn = torch.from_numpy(plan.sample(source, len(features)))  # 1. (b,) indexes
                clipped = clipping.sum(features[drawn], labels[drawn])  # 2. 3. 4.
                noise = plan.noise(source, len(clipped.gradient) + 1)  # 5. (P + 1,)
                mean = (clipped.gradient + noise[1:]) / plan.divisor  # 6. float64 until here
                noisy_loss += (clipped.loss + float(noise[0])) / loss_unit
                _assign(parameters, mean)
                optimizer.step()  # 7.
                done += 1
                average.see(done)
            if not all(bool(torch.isfinite(p).all()) for p in parameters):
                raise EngineError(
                    "the weights became non-finite: lower the learning rate",
                    code="engine.diverged",
                )
            sigma = plan.noise_multiplier * plan.max_grad_norm / loss_unit / math.sqrt(ahead)
            curve.append(Progress(done, plan.steps, noisy_loss / ahead, sigma))
            on_progress(curve[-1])
    finally:
        clipping.close()
    average.apply()
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return Trained(state, done, done < plan.steps, tuple(curve))


def _check(features: torch.Tensor, labels: torch.Tensor, plan: Plan) -> None:
    if features.ndim != 2 or labels.shape != (len(features),):  # noqa: PLR2004 - a table
        raise EngineError("features must be (n, D) and labels (n,)", code="engine.shape")
    if len(features) > plan.rows:
        raise EngineError("there are more rows than the plan's public count", code="engine.shape")
    if plan.guarantee is Guarantee.DP and plan.noise_multiplier <= 0:
        raise EngineError("a DP plan without noise", code="engine.no_noise")


def _optimizer(parameters: list[nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    match config.optimizer:
        case Optimizer.SGD:
            return torch.optim.SGD(parameters, lr=config.learning_rate, momentum=config.momentum)
        case Optimizer.ADAMW:
            return torch.optim.AdamW(
                parameters, lr=config.learning_rate, betas=(config.momentum, 0.999)
            )


def _assign(parameters: list[nn.Parameter], mean: npt.NDArray[np.float64]) -> None:
    """Write the noisy mean gradient, (P,) end to end, into each parameter's `grad`."""
    start = 0
    for parameter in parameters:
        part = torch.from_numpy(mean[start : start + parameter.numel()])
        parameter.grad = part.to(parameter.dtype).reshape(parameter.shape)
        start += parameter.numel()


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

    def apply(self) -> None:
        if self._count:
            with torch.no_grad():
                for total, parameter in zip(self._sums, self._parameters, strict=True):
                    parameter.copy_(total / self._count)
