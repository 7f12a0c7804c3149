"""Adversarial training inside the clipped loss: projected gradient ascent.

A drawn record is replaced by the point near it, within a ball of the encoded features, that the
network of this moment finds hardest (Madry et al., arXiv 1706.06083). That point follows from the
record, its label and public weights alone, so a record's vector is still its own, and the
sensitivity is C as before: no ε.

Steps follow the gradient's direction in Euclidean norm, not its signs, and a short gradient makes a
short step: a sign turns at zero, and there the rounding of a product, which depends on how many
rows are multiplied at once, would let one record's presence move another's point by a whole step.
"""

from typing import Final

import torch
from torch import nn

from training.clipping import LossFunction

STEPS: Final = 3
_FLAT: Final = 0.1  # of a gradient that is shorter, the direction is more and more rounding


def hardest(
    network: nn.Module,
    loss: LossFunction,
    rows: torch.Tensor,
    labels: torch.Tensor,
    radius: float,
) -> torch.Tensor:
    """(B, D) rows moved by at most `radius` in Euclidean norm, towards a larger loss.

    A row that is not finite stays so, and its vector is refused where others' are.
    """
    asked = [parameter for parameter in network.parameters() if parameter.requires_grad]
    size = radius / 2
    moved = rows.detach().clone()
    for parameter in asked:
        parameter.requires_grad = False
    try:
        with torch.enable_grad():
            for _ in range(STEPS):
                moved.requires_grad_()
                losses = loss(network(moved), labels)
                # Each row's loss is its own, so the gradient of the sum is each row's gradient.
                (direction,) = torch.autograd.grad(losses.sum(), moved)
                length = direction.norm(dim=1, keepdim=True) + _FLAT
                off = moved.detach() - rows + torch.nan_to_num(direction / length) * size
                far = off.norm(dim=1, keepdim=True).clamp(min=radius)
                moved = rows + off * (radius / far)
    finally:
        for parameter in asked:
            parameter.requires_grad = True
    return moved
