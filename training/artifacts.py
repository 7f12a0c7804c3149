"""A trained model as one byte string: safetensors, with config, plan and features in its header.

safetensors holds nothing but tensors and text, so loading cannot run code, as unpickling would. The
network is rebuilt from the configuration's allow-listed architecture, and every tensor must have
exactly the name, shape and type that this network has. Of an adapted encoder, adapters and head
alone are stored; the specification names the base by its digest. Bytes are sealed by the caller.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from audit.canonical import canonical
from training.config import Plan, TrainingConfig
from training.errors import ArtifactError, TrainingError
from training.features import FeatureSpec
from training.inputs import network_of

FORMAT: Final = "portcullis/model/1"
_HEADER: Final = "portcullis"
LARGEST: Final = 512 * 1024 * 1024


@dataclass(frozen=True)
class Artifact:
    """A model that was read back and checked.

    Attributes:
        network: rebuilt, in evaluation mode, gradients off.
        config, plan, spec: what was asked, what ran, how cells become numbers.
        executed: steps that ran.
        digest: SHA-256 of the artifact's bytes.
    """

    network: nn.Module
    config: TrainingConfig
    plan: Plan
    spec: FeatureSpec
    executed: int
    digest: str


def digest_of(stored: bytes) -> str:
    """SHA-256 of an artifact's bytes, in hexadecimal: the model's identity everywhere."""
    return hashlib.sha256(stored).hexdigest()


def to_bytes(
    state: Mapping[str, torch.Tensor],
    *,
    config: TrainingConfig,
    plan: Plan,
    spec: FeatureSpec,
    executed: int,
) -> bytes:
    """Serialize a model. The same inputs give the same bytes.

    Raises:
        ArtifactError: the weights are not those of the configured network, or not finite, or the
            configuration names another feature specification.
    """
    _check_state(state, config, spec)
    header = {
        "format": FORMAT,
        "config": config.as_dict(),
        "plan": plan.as_dict(),
        "features": spec.as_dict(),
        "executed": executed,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    return safetensors.torch.save(tensors, metadata={_HEADER: canonical(header).decode()})


def from_bytes(stored: bytes, *, expected: str | None = None) -> Artifact:
    """Check and load a model.

    1. the digest is the expected one;
    2. the container is well-formed and its header canonical;
    3. config, plan and features are valid and agree with each other;
    4. names, shapes and types are those of the network that the config describes;
    5. every weight is finite.

    Raises:
        ArtifactError: any of these fails.
    """
    found = digest_of(stored)
    if expected is not None and not hmac.compare_digest(found, expected):  # 1.
        raise ArtifactError("the model's bytes have another digest", code="artifact.digest")
    if len(stored) > LARGEST:
        raise ArtifactError("the model is too large to load", code="artifact.too_large")
    try:
        header = _header(stored)  # 2.
        config = TrainingConfig.from_dict(header["config"])  # 3.
        plan = Plan.from_dict(header["plan"])
        spec = FeatureSpec.from_dict(header["features"])
        executed = header["executed"]
        state = safetensors.torch.load(stored)
    except (SafetensorError, KeyError, TypeError, ValueError, TrainingError):
        raise ArtifactError("the model's bytes cannot be read") from None
    if not isinstance(executed, int) or not 0 <= executed <= plan.steps:
        raise ArtifactError("the model claims more steps than its plan has")
    network = _check_state(state, config, spec)  # 4. 5.
    network.load_state_dict(state, strict=True)
    network.eval().requires_grad_(False)
    return Artifact(network, config, plan, spec, executed, found)


def _header(stored: bytes) -> dict[str, Any]:
    length = int.from_bytes(stored[:8], "little")
    if not 0 < length <= len(stored) - 8:
        raise ValueError
    text = json.loads(stored[8 : 8 + length])["__metadata__"][_HEADER]
    header = json.loads(text)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError
    if canonical(header).decode() != text:
        raise ValueError
    return header


def _check_state(
    state: Mapping[str, torch.Tensor], config: TrainingConfig, spec: FeatureSpec
) -> nn.Module:
    """The freshly built network that `state` fits exactly."""
    if config.features != spec.digest():
        raise ArtifactError(
            "the configuration was made for another feature specification",
            code="artifact.features_differ",
        )
    network = network_of(config, spec)
    wanted = network.state_dict()
    if set(state) != set(wanted):
        raise ArtifactError("the weights are not those of this network", code="artifact.names")
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape or state[name].dtype != tensor.dtype:
            raise ArtifactError(
                "a weight has another shape or type than this network's", code="artifact.shape"
            )
        if not bool(torch.isfinite(state[name]).all()):
            raise ArtifactError("a weight is not finite", code="artifact.not_finite")
    return network
