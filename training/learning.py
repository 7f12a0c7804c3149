"""Which loop trains which kind of model: one place to ask, for runs and for shadow models."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from training.boosting import boost
from training.config import ModelKind, Plan, TrainingConfig
from training.distributed.jobs import Job
from training.distributed.supervisor import Calls, Ranks, train_in_ranks
from training.dpsgd import Snapshot, Trained, train
from training.features import FeatureSpec
from training.inputs import ahead_of, network_of
from training.randomness import Secret
from training.units import Units

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
    histogram_secret: Secret | None = None,
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
        histogram_secret: see `boosting.boost`.
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
            histogram_secret=histogram_secret,
            config=config,
            **rest,
        )
    return train(network, features, labels, config=config, **rest)


@dataclass(frozen=True)
class Material:
    """What a run trains on.

    Attributes:
        spec: how cells became numbers.
        features: what a network reads of the n training rows that have a usable label.
        labels: (n,).
        units: whose they are; None where every record is a unit.
        histogram_noise, histogram_secret: of a boosted model, see `learn`.
    """

    spec: FeatureSpec
    features: torch.Tensor
    labels: torch.Tensor
    units: Units | None
    histogram_noise: float | None
    histogram_secret: Secret


def fit(
    material: Material,
    *,
    config: TrainingConfig,
    plan: Plan,
    secret: Secret,
    ranks: Ranks | None,
    calls: Calls,
    after: Snapshot | None,
    paid: int,
) -> Trained:
    """Train a configuration's network: in this process, or in those of `ranks` where they can.

    Args:
        material: the rows.
        config: see `dpsgd.train`, as for what follows.
        plan: of all steps.
        secret: what coins and noise follow from.
        after: where an earlier worker stopped.
        paid: steps that the ledger holds already.
        ranks: which processes; None for this one.
        calls: who pays, keeps, shows and cancels.

    Raises:
        EngineError: see `learn`, and `supervisor.train_in_ranks`.
    """
    network = network_of(config, material.spec)
    features = ahead_of(network, material.features)
    if ranks is not None and config.model in SHARED:
        job = Job(
            plan=plan,
            config=config,
            secret=secret,
            spec=material.spec,
            features=features,
            labels=material.labels,
            units=material.units,
            after=after,
            paid=paid,
        )
        return train_in_ranks(job, ranks, calls)
    return learn(
        network,
        features,
        material.labels,
        plan=plan,
        config=config,
        spec=material.spec,
        histogram_noise=material.histogram_noise,
        histogram_secret=material.histogram_secret,
        secret=secret,
        units=material.units,
        on_block=calls.on_block,
        on_kept=calls.on_kept,
        on_progress=calls.on_progress,
        cancelled=calls.cancelled,
        after=after,
        paid=paid,
    )


def probabilities(network: nn.Module, rows: torch.Tensor) -> npt.NDArray[np.float64]:
    """(n,) scores of what the network reads of n rows."""
    with torch.inference_mode():
        logits = network(rows).squeeze(-1)
        scores: npt.NDArray[np.float64] = torch.sigmoid(logits.double()).numpy()
    return scores
