"""Which loop trains which kind of model: one place to ask, for runs and for shadow models."""

from typing import Any, Final

import torch
from torch import nn

from training.boosting import boost
from training.config import ModelKind, TrainingConfig
from training.dpsgd import Trained, train
from training.features import FeatureSpec

# Kinds whose steps several processes can share; the others train in one.
SHARED: Final = frozenset({ModelKind.LINEAR, ModelKind.MLP, ModelKind.EMBEDDING, ModelKind.CNN})


def learn(
    network: nn.Module,
    features: torch.Tensor,
    labels: torch.Tensor,
    *,
    config: TrainingConfig,
    spec: FeatureSpec,
    histogram_noise: float | None,
    **rest: Any,
) -> Trained:
    """Train a network in place.

    Args:
        network: of this configuration.
        features: what it reads of n rows.
        labels: (n,).
        config: what was asked for.
        spec: how cells became numbers.
        histogram_noise: of a boosted model, what its numbers of rows were bought with.
        rest: see `dpsgd.train`, and `boosting.boost`.

    Raises:
        EngineError: see there.
    """
    if config.model is ModelKind.EBM and isinstance(network, nn.Sequential):
        if histogram_noise is None:
            raise ValueError
        return boost(
            network,
            features,
            labels,
            blocks=spec.features,
            histogram_noise=histogram_noise,
            config=config,
            **rest,
        )
    return train(network, features, labels, config=config, **rest)
