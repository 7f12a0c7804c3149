"""LAMB: Adam's direction with each layer's step as long as its weights (You et al., 1904.00962).

Post-processing of the noisy mean gradient, as every optimizer here: it costs no ε.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import nn

_LARGEST_TRUST: Final = 10.0  # as the paper clips the norm of a layer's weights
_EPSILON: Final = 1e-6


class Lamb(torch.optim.Optimizer):
    """Algorithm 2, without weight decay; biases take Adam's step as it is."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float]
    ) -> None:
        """`betas` are the decays of the first and the second moment."""
        super().__init__(parameters, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step with the gradients that the parameters hold."""
        del closure  # nothing here is evaluated again
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state, (first, second) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        count = float(state["step"])
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        mean = state["mean"] / (1 - first**count)
        square = state["square"] / (1 - second**count)
        direction = mean / (square.sqrt() + _EPSILON)
        parameter.sub_(direction, alpha=group["lr"] * _trust(parameter, direction))


def _trust(weights: torch.Tensor, direction: torch.Tensor) -> float:
    """‖w‖/‖direction‖ for a matrix; 1 for a bias, and where either is nothing."""
    if weights.ndim < 2:  # noqa: PLR2004 - biases are vectors
        return 1.0
    long, wide = float(weights.norm().clamp(max=_LARGEST_TRUST)), float(direction.norm())
    return long / wide if long > 0 and wide > 0 else 1.0
