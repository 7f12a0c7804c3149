"""The clipping pass for every module that Opacus supports."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from training.clipping.sums import (
    PHYSICAL,
    WATCHED,
    Bounds,
    ClippedSum,
    LossFunction,
    one_a_record,
)
from training.errors import EngineError
from training.networks import Stemmed


class Hooked:
    """The pass for any module that Opacus supports.

    Opacus computes every record's gradient norm from activations and backpropagated signals; a
    second backward pass of the re-weighted losses gives the sum.
    """

    def __init__(self, network: nn.Module, loss: LossFunction, max_grad_norm: float) -> None:
        # Loaded here: ranks that train by the closed form need not wait two seconds for it.
        from opacus.grad_sample import (  # noqa: PLC0415
            GradSampleModuleFastGradientClipping,
        )
        from opacus.validators import ModuleValidator  # noqa: PLC0415

        if ModuleValidator.validate(network.train(), strict=False):
            raise EngineError(
                "a layer couples records or keeps statistics of them (batch normalization does); "
                "replace_layers puts group normalization in its place",
                code="engine.layer_unsupported",
            )
        self._hooked = GradSampleModuleFastGradientClipping(
            network.train(),
            loss_reduction="sum",
            max_grad_norm=max_grad_norm,
            # Beside frozen layers stand adapters: one record's gradient by them is smaller than
            # the products of its words, which ghost clipping would form instead.
            use_ghost_clipping=not isinstance(network, Stemmed),
        )
        self._network = network
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self._loss = loss
        self._bounds = Bounds(max_grad_norm)

    def light(self, records: float) -> bool:  # noqa: ARG002 - the protocol's
        """See `ClippingPass`."""
        return False

    def close(self) -> None:
        """See `ClippingPass`."""
        self._hooked.to_standard_module()

    def sum(
        self, features: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor | None = None
    ) -> ClippedSum:
        """See `ClippingPass`."""
        size = sum(p.numel() for p in self._parameters)
        total, watched, refused = np.zeros(size), np.zeros(WATCHED), 0
        for chunk in self._chunks(features, labels, shares):
            rows, targets, of_whom = chunk
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
                of_whom = None if of_whom is None else of_whom[finite]
            weights = self._bounds.weights(norms, of_whom)
            gradients = torch.autograd.grad((losses * weights).sum(), self._parameters)
            total += torch.cat([g.reshape(-1) for g in gradients]).double().cpu().numpy()
            watched += self._bounds.watched(losses, norms, of_whom)
        return ClippedSum(total, watched, refused)

    def _chunks(
        self, features: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor | None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
        """What the first trained layer reads, labels and shares: a leaf, some records at a time.

        Opacus' hooks expect inputs that require gradients, and warn otherwise.
        """
        if isinstance(self._network, Stemmed):
            for chosen in self._network.chunks(features):
                stem = self._network.stem(features[chosen])
                of_whom = None if shares is None else shares[chosen]
                yield stem.detach().requires_grad_(), labels[chosen], of_whom
            return
        for start in range(0, len(features), PHYSICAL):
            part = slice(start, start + PHYSICAL)
            of_whom = None if shares is None else shares[part]
            yield features[part].detach().requires_grad_(), labels[part], of_whom

    def _losses(self, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return one_a_record(self._loss(self._network(rows), targets), len(rows))

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
