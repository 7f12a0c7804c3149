"""Records, networks and sums for tests of the engine."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from training.clipping import WATCHED, ClippingPass, LossFunction, clipping_pass
from training.config import CLIP_SHARE, LOSS_CEILING, LOSS_SHARE, NORM_CEILING, NORM_SHARE
from training.dpsgd import binary_loss

CLIP: Final = 0.7
Vector = npt.NDArray[np.float64]


def records(count: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, width) features and (count,) labels in {0, 1}, from a seed."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, width, generator=generator) * 3
    labels = (torch.rand(count, generator=generator) < 0.4).float()
    return features, labels


def vector_of_one(
    network: nn.Module, row: torch.Tensor, label: torch.Tensor, loss: LossFunction = binary_loss
) -> Vector:
    """One record's clipped vector, what is watched first, by autograd on that record alone."""
    value = loss(network(row[None]), label[None]).sum()
    asked = [p for p in network.parameters() if p.requires_grad]
    flat = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, asked)]).double().numpy()
    bound = CLIP * math.sqrt(1 - LOSS_SHARE**2 - CLIP_SHARE**2 - NORM_SHARE**2)
    norm = float(np.linalg.norm(flat))
    flat *= min(1.0, bound / norm)
    watched = [
        min(value.item(), LOSS_CEILING) / LOSS_CEILING * LOSS_SHARE * CLIP,
        float(norm > bound) * CLIP_SHARE * CLIP,
        min(norm, NORM_CEILING * CLIP) / NORM_CEILING * NORM_SHARE,
    ]
    vector: Vector = np.concatenate([watched, flat])
    return vector


def naive_sum(
    network: nn.Module,
    features: torch.Tensor,
    labels: torch.Tensor,
    loss: LossFunction = binary_loss,
) -> Vector:
    """The clipped vectors of all records, one by one."""
    size = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return sum(
        (vector_of_one(network, x, y, loss) for x, y in zip(features, labels, strict=True)),
        np.zeros(WATCHED + size),
    )


def clipped(
    network: nn.Module,
    features: torch.Tensor,
    labels: torch.Tensor,
    *,
    make: Callable[..., ClippingPass] = clipping_pass,
    loss: LossFunction = binary_loss,
) -> Vector:
    """The engine's sum, what is watched first; asked twice: a pass must leave nothing behind."""
    engine = make(network, loss, CLIP)
    try:
        engine.sum(features, labels)
        result = engine.sum(features, labels)
    finally:
        engine.close()
    vector: Vector = np.concatenate([result.watched, result.gradient])
    return vector
