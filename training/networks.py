"""The networks a run may build: linear layers with elementwise activations, nothing else.

Batch statistics would couple records, and with them per-record clipping would bound nothing; layers
without them also allow ghost clipping and, later, norms in closed form.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import nn

from training.config import TrainingConfig


class Stemmed(nn.Module):
    """A network whose first layers are frozen, and read what has no gradient: numbers of words.

    Calling it on rows is calling it on what `stem` makes of them.
    """

    def stem(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, …) rows through the frozen layers: what the first trained layer reads.

        What went through them before, and is floating, stays as it is.
        """
        raise NotImplementedError

    def ahead(self, rows: torch.Tensor) -> torch.Tensor:
        """All rows of a run through the frozen layers, once for all steps.

        Where memory does not allow that, the rows as they are.
        """
        raise NotImplementedError

    def chunks(self, rows: torch.Tensor) -> Iterator[torch.Tensor]:
        """Places of rows that go well together, no more at a time than memory allows."""
        raise NotImplementedError


class Embeddings(nn.Module):
    """(B, D) indicators, each list of values through a matrix of its own; the rest as it is.

    A matrix of W values and d numbers is what a lookup of W vectors of length d would be; as a
    product, a record's gradient by it has the norm of two vectors (`training.clipping`).
    """

    def __init__(self, widths: Sequence[int], embedded: Sequence[bool]) -> None:
        """Blocks of columns in order, and which of them are embedded."""
        super().__init__()
        self.widths = tuple(widths)
        self.embedded = tuple(embedded)
        self.weights = nn.ParameterList(
            nn.Linear(width, embedding_width(width), bias=False).weight
            for width, chosen in zip(widths, embedded, strict=True)
            if chosen
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, D) to (B, outputs)."""
        weights = iter(self.weights)
        parts = [
            part @ next(weights).T if chosen else part
            for part, chosen in zip(self.split(rows), self.embedded, strict=True)
        ]
        return torch.cat(parts, dim=1)

    def split(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The blocks of what comes in."""
        return torch.split(rows, [*self.widths], dim=1)

    @property
    def outputs(self) -> tuple[int, ...]:
        """The widths of what comes out, block by block."""
        return tuple(
            embedding_width(width) if chosen else width
            for width, chosen in zip(self.widths, self.embedded, strict=True)
        )


def embedding_width(values: int) -> int:
    """How many numbers stand for one of so many values: 1.6 · n^0.56, at most 64 (fastai)."""
    return min(64, max(2, round(1.6 * math.pow(values, 0.56))))


def embedding(
    config: TrainingConfig, widths: Sequence[int], listed: Sequence[bool]
) -> nn.Sequential:
    """An MLP behind embeddings of the blocks that are lists of more than a few values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.init_seed)
        first = Embeddings(
            widths, [chosen and width > _FEW for width, chosen in zip(widths, listed, strict=True)]
        )
    return nn.Sequential(first, *build(config, sum(first.outputs)))


def convolutional(config: TrainingConfig) -> nn.Sequential:
    """A small CNN from (B, C·H·W) numbers to (B, 1) logits, after Tramèr and Boneh (2011.11660).

    Wide first kernels and few channels: under DP-SGD noise grows with the number of weights.
    """
    channels, high, wide = config.image
    kernel, stride = (8, 2) if min(high, wide) >= _LARGE else (3, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.init_seed)
        layers: list[nn.Module] = [
            nn.Unflatten(1, (channels, high, wide)),
            nn.Conv2d(channels, 16, kernel, stride, padding=kernel // 2 - 1 + kernel % 2),
            nn.Tanh(),
            nn.MaxPool2d(2, 1),
            nn.Conv2d(16, 32, 4, 2),
            nn.Tanh(),
            nn.MaxPool2d(2, 1),
            nn.Flatten(),
        ]
        with torch.no_grad():
            width = nn.Sequential(*layers)(torch.zeros(1, channels * high * wide)).shape[1]
        layers += [nn.Linear(width, 32), nn.Tanh(), nn.Linear(32, 1)]
    return nn.Sequential(*layers)


_FEW: Final = 4  # values: a matrix would be no smaller than the layer that follows
_LARGE: Final = 20  # pixels


def build(config: TrainingConfig, inputs: int) -> nn.Sequential:
    """A network from (B, inputs) features to (B, 1) logits, its weights drawn from the public seed.

    The architecture is read from `config` alone, so that an artifact can name it and nothing else
    can be instantiated. The global generator is left as it was.
    """
    layers: list[nn.Module] = []
    width = inputs
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.init_seed)
        for following in config.hidden or ():
            # Tanh bounds activations, and with them gradients (arXiv 2007.14191).
            layers += [nn.Linear(width, following), nn.Tanh()]
            width = following
        layers.append(nn.Linear(width, 1))
    return nn.Sequential(*layers)
