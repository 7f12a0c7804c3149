"""The networks a run may build: linear layers with elementwise activations, nothing else.

Batch statistics would couple records, and with them per-record clipping would bound nothing; layers
without them also allow ghost clipping and, later, norms in closed form.
"""

from collections.abc import Iterator

import torch
from torch import nn

from training.config import ModelKind, TrainingConfig


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


def build(config: TrainingConfig, inputs: int) -> nn.Sequential:
    """A network from (B, inputs) features to (B, 1) logits, its weights drawn from the public seed.

    The architecture is read from `config` alone, so that an artifact can name it and nothing else
    can be instantiated. The global generator is left as it was.
    """
    layers: list[nn.Module] = []
    width = inputs
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.init_seed)
        for following in config.hidden if config.model is ModelKind.MLP else ():
            # Tanh bounds activations, and with them gradients (arXiv 2007.14191).
            layers += [nn.Linear(width, following), nn.Tanh()]
            width = following
        layers.append(nn.Linear(width, 1))
    return nn.Sequential(*layers)
