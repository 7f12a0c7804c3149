"""Sums of clipped per-record vectors: steps 2 to 4 of `training.dpsgd`, in two ways.

    ClosedForm  Linear layers with elementwise activations, the tabular default, and convolutions
                with pooling: one pass forward and one back, without Opacus (`closed_form`).
    Hooked      every other module that Opacus knows, through its hooks: ghost clipping where a
                layer allows it, per-record gradients where it does not (`hooked`).

Both give the same sums. A record whose loss or norm is not finite adds zero.
"""

from torch import nn

from training.clipping.closed_form import ClosedForm
from training.clipping.hooked import Hooked
from training.clipping.sums import (
    WATCHED,
    ClippedSum,
    ClippingPass,
    LossFunction,
    watched_units,
)

__all__ = [
    "WATCHED",
    "ClippedSum",
    "ClippingPass",
    "ClosedForm",
    "Hooked",
    "LossFunction",
    "clipping_pass",
    "watched_units",
]


def clipping_pass(network: nn.Module, loss: LossFunction, max_grad_norm: float) -> ClippingPass:
    """The fastest pass that is exact for this network.

    Raises:
        EngineError: `engine.layer_unsupported`, a layer couples records or keeps statistics.
    """
    if ClosedForm.takes(network):
        return ClosedForm(network, loss, max_grad_norm)
    return Hooked(network, loss, max_grad_norm)
