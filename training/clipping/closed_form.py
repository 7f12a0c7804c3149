"""The clipping pass without per-record gradients where their norms have a formula.

The gradient of one record's loss by a Linear layer's weight is the product of two vectors, its
signal g and its input a, so that its norm is ‖a‖·‖g‖ (Goodfellow, arXiv 1510.01799) and a clipped
sum is one matrix product, (c⊙g)ᵀa: book-keeping (Bu et al., arXiv 2210.00038). No per-record
gradient exists, and nothing is run twice. By a small convolution's weight it is a sum of such
products over places, which is small enough to be made for each record (`convolutions`).
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from training.clipping import layers
from training.clipping.gradients import Gradients
from training.clipping.layers import KNOWN, Step
from training.clipping.sums import (
    PHYSICAL,
    WATCHED,
    Bounds,
    ClippedSum,
    LossFunction,
    even,
    one_a_record,
)
from training.networks import Embeddings

# As `PHYSICAL`, where places are unfolded: numbers that a chunk may keep.
NUMBERS: Final = 1 << 24
_LIGHT: Final = 1e8  # multiplications


class ClosedForm:
    """The pass for a Sequential of Linear and Conv2d layers, activations, pooling and flattening.

    On (B, D) features, or (B, C, H, W) where it begins with a convolution.
    """

    def __init__(self, network: nn.Module, loss: LossFunction, max_grad_norm: float) -> None:
        self._layers = tuple((layer, _trained(layer)) for layer in network.train().children())
        self._first = next((at for at, (_, trained) in enumerate(self._layers) if trained), 0)
        self._loss = loss
        self._bounds = Bounds(max_grad_norm)
        self._size = sum(p.numel() for p in network.parameters() if p.requires_grad)
        self._images = any(isinstance(layer, nn.Conv2d) for layer, _ in self._layers)
        self._fitting: dict[torch.Size, int] = {}  # records a chunk, by their shape

    @staticmethod
    def takes(network: nn.Module) -> bool:
        """Whether the network is nothing but what the formula holds for.

        Types are compared exactly: a subclass, a hook or a parametrization may do anything. A
        weight that two layers share has a gradient of two products, and is left to the hooks.
        """
        children = tuple(network.children())
        tensors = [id(p) for layer in children for p in layer.parameters()]
        return (
            type(network) is nn.Sequential
            and any(type(layer) is nn.Linear for layer in children)
            and all(type(layer) in KNOWN and _plain(layer) for layer in children)
            and not any(type(layer) is Embeddings for layer in children[1:])  # have no way back
            and not any(True for _ in network.parameters(recurse=False))
            and not any(_hooked(module) for module in (network, *children))
            and len(set(tensors)) == len(tensors)
        )

    def light(self, records: float) -> bool:
        """See `ClippingPass`. Measured: threads take longer to meet than such products take."""
        return not self._images and records * self._size < _LIGHT

    def close(self) -> None:
        """See `ClippingPass`. There is nothing to remove."""

    def sum(
        self, features: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor | None = None
    ) -> ClippedSum:
        """See `ClippingPass`."""
        total = torch.zeros(self._size, dtype=torch.float64, device=features.device)
        watched, refused = np.zeros(WATCHED), 0
        with torch.no_grad():
            chunk = even(len(features), self._most(features))
            for start in range(0, len(features), chunk):
                rows, targets = features[start : start + chunk], labels[start : start + chunk]
                of_whom = None if shares is None else shares[start : start + chunk]
                of_these, bad = self._add(rows, targets, of_whom, total)
                watched += of_these
                refused += bad
        return ClippedSum(total.cpu().numpy(), watched, refused)

    def _most(self, features: torch.Tensor) -> int:
        """How many records a chunk may have: public, by their shape alone."""
        if not self._images:
            return PHYSICAL
        shape = features.shape[1:]
        if shape not in self._fitting:
            steps = self._forward(features.new_zeros(1, *shape))
            kept = sum(step.kept for step in steps)
            self._fitting[shape] = min(PHYSICAL, max(1, NUMBERS // max(1, kept)))
        return self._fitting[shape]

    def _forward(self, rows: torch.Tensor) -> list[Step]:
        steps: list[Step] = []
        for layer, trained in self._layers:
            steps.append(layers.forward(layer, trained, rows))
            rows = steps[-1].made
        return steps

    def _back(self, steps: list[Step], signal: torch.Tensor) -> list[Gradients]:
        """Of the layers that have weights in training, the first one first.

        Below the first of them nobody asks for a signal.
        """
        found: list[Gradients] = []
        for place in range(len(steps) - 1, self._first - 1, -1):
            gradients = steps[place].gradients(signal)
            if gradients is not None:
                found.append(gradients)
            if place > self._first:
                signal = steps[place].below(signal)
        return found[::-1]

    def _add(
        self,
        rows: torch.Tensor,
        targets: torch.Tensor,
        shares: torch.Tensor | None,
        total: torch.Tensor,
    ) -> tuple[npt.NDArray[np.float64], int]:
        """Add a chunk's clipped gradients to `total`; what is watched, how many were refused."""
        steps = self._forward(rows)
        losses, signal = self._loss_and_signal(steps[-1].made, targets)
        gradients = self._back(steps, signal)
        squares = torch.stack([part.squares() for part in gradients]).sum(0)
        finite = torch.isfinite(losses) & torch.isfinite(squares)
        refused = 0
        if not bool(finite.all()):
            # 0 · ∞ is NaN, so such records must leave the sums, not only get weight zero.
            refused = int((~finite).sum())
            losses, squares = losses[finite], squares[finite]
            gradients = [part.only(finite) for part in gradients]
            shares = None if shares is None else shares[finite]
        norms = squares.sqrt()
        weights = self._bounds.weights(norms, shares)
        start = 0
        for part in gradients:
            for found in part.sums(weights):
                total[start : start + found.numel()] += found.reshape(-1)
                start += found.numel()
        return self._bounds.watched(losses, norms, shares), refused

    def _loss_and_signal(
        self, logits: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) losses and (B, K) derivatives of each record's loss by its own logits."""
        with torch.enable_grad():
            asked = logits.detach().requires_grad_()
            losses = one_a_record(self._loss(asked, targets), len(logits))
            (signal,) = torch.autograd.grad(losses.sum(), asked)
        return losses.detach(), signal


def _hooked(module: nn.Module) -> bool:
    """Whether something was hung onto a module that changes what it computes."""
    return bool(
        module._forward_hooks  # noqa: SLF001  # torch has no public question for it
        or module._forward_pre_hooks  # noqa: SLF001
        or module._backward_hooks  # noqa: SLF001
        or module._backward_pre_hooks  # noqa: SLF001
        or hasattr(module, "parametrizations")
    )


def _trained(layer: nn.Module) -> tuple[str, ...]:
    """Which of a layer's weight and bias are trained, in that order."""
    return tuple(name for name, value in layer.named_parameters() if value.requires_grad)


def _plain(layer: nn.Module) -> bool:
    """Whether a layer is set up as the formula takes it to be."""
    if isinstance(layer, nn.Conv2d):
        padding: object = layer.padding
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(padding, str)
    if isinstance(layer, nn.Flatten):
        return layer.start_dim > 0  # from 0 it would join records
    if isinstance(layer, nn.Unflatten):
        return layer.dim == 1  # as above
    # In place, it would overwrite what the backward way needs.
    return not getattr(layer, "inplace", False) and not getattr(layer, "return_indices", False)
