"""What a network reads of a table, and the network that reads it: both by the configured kind.

lora           (n, T) int32: word pieces of the one text, for the encoder is part of the network
ensemble       (n, D) float32: the encodings of its members' specifications, side by side
all others     (n, D) float32: the specification's encoding
"""

import math
from collections.abc import Sequence

import torch
from torch import nn

from training import modules
from training.config import ModelKind, TrainingConfig
from training.errors import ConfigError, FeatureError
from training.features import (
    Category,
    Encoded,
    Feature,
    FeatureSpec,
    Hashed,
    Pixel,
    Table,
    column_of,
    only_text,
)
from training.networks import Stemmed, build, convolutional, embedding


def network_of(config: TrainingConfig, spec: FeatureSpec) -> nn.Module:
    """The network of a configuration, its weights drawn from the public seed.

    Raises:
        FeatureError: `feature.one_text`, adapters are asked for, and there is not one text alone.
        ConfigError: an ensemble has none of its own.
        EncoderError: the encoder's files are not what they must be.
    """
    match config.model:
        case ModelKind.LINEAR | ModelKind.MLP | ModelKind.EBM:
            return build(config, spec.width)
        case ModelKind.EMBEDDING:
            widths = [one.width for one in spec.features]
            return embedding(
                config, widths, [isinstance(one, Category | Hashed) for one in spec.features]
            )
        case ModelKind.CNN:
            check_pixels(config, spec.features)
            return convolutional(config)
        case ModelKind.MODULE:
            return modules.made(
                config.module, spec.width, config.init_seed, replaced=config.replace_layers
            )
        case ModelKind.LORA:
            return _adapted(config, spec)
        case ModelKind.ENSEMBLE:
            raise ConfigError(
                "the networks of an ensemble are its members', and come with these",
                code="run.model_invalid",
                pointer="/model",
            )


def check_kind(config: TrainingConfig, features: Sequence[Feature]) -> None:
    """Refuse, before anything is read, features that this kind of model cannot read.

    Raises:
        FeatureError: `feature.one_text`, `feature.pixels`, `feature.not_binned`.
        ConfigError: `run.module_not_allowed`.
    """
    match config.model:
        case ModelKind.LORA:
            only_text(features)
        case ModelKind.CNN:
            check_pixels(config, features)
        case ModelKind.MODULE:
            modules.check(config.module)
        case ModelKind.EBM if any(isinstance(one, Encoded) for one in features):
            raise FeatureError(
                "a boosted model has a table for each feature, and an encoded text has no bins",
                code="feature.not_binned",
                pointer="/model",
            )
        case _:
            pass


def check_pixels(config: TrainingConfig, features: Sequence[Feature]) -> None:
    """Refuse features that are not exactly an image's pixels.

    Raises:
        FeatureError: `feature.pixels`.
    """
    if not all(isinstance(one, Pixel) for one in features) or len(features) != math.prod(
        config.image
    ):
        raise FeatureError(
            "a cnn model reads as many pixel columns as the image has, and nothing else",
            code="feature.pixels",
            pointer="/image",
        )


def _adapted(config: TrainingConfig, spec: FeatureSpec) -> nn.Module:
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
