"""What a network reads of a table, and the network that reads it: both by the configured kind.

linear, mlp    (n, D) float32: the specification's encoding
lora           (n, T) int32: word pieces of the one text, for the encoder is part of the network
"""

import torch
from torch import nn

from training.config import ModelKind, TrainingConfig
from training.features import FeatureSpec, Table, column_of, only_text
from training.networks import Stemmed, build


def network_of(config: TrainingConfig, spec: FeatureSpec) -> nn.Module:
    """The network of a configuration, its weights drawn from the public seed.

    Raises:
        FeatureError: `feature.one_text`, adapters are asked for, and there is not one text alone.
        EncoderError: the encoder's files are not what they must be.
    """
    if config.model is not ModelKind.LORA:
        return build(config, spec.width)
    from training.adapters import text_classifier  # noqa: PLC0415  # only where there is a text
    from training.encoder import encoder  # noqa: PLC0415  # as above

    return text_classifier(
        encoder(only_text(spec.features).encoder).network,
        rank=config.lora_rank,
        alpha=config.lora_alpha,
        layers=config.lora_layers,
        seed=config.init_seed,
    )


def ahead_of(network: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """What training reads of a run's rows: what is frozen is computed once, not at every step."""
    return network.ahead(rows) if isinstance(network, Stemmed) else rows


def inputs_of(config: TrainingConfig, spec: FeatureSpec, table: Table) -> torch.Tensor:
    """(n, …): what that network reads of n rows.

    Raises:
        FeatureError: `feature.column_missing`, `feature.ragged`, `feature.one_text`.
        EncoderError: the encoder's files are not what they must be.
    """
    if config.model is not ModelKind.LORA:
        return torch.from_numpy(spec.encode(table))
    from training.encoder import encoder  # noqa: PLC0415  # only where there is a text

    text = only_text(spec.features)
    cells = column_of(table, text.name)
    return torch.from_numpy(encoder(text.encoder).tokens(text.texts(cells)).ids)
