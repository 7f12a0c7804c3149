"""A trained model as one byte string: safetensors, with config, plan and features in its header.

safetensors holds nothing but tensors and text, so loading cannot run code, as unpickling would. The
network is rebuilt from the configuration's allow-listed architecture, and every tensor must have
exactly the name, shape and type that this network has. Of an adapted encoder, adapters and head
alone are stored; the specification names the base by its digest. Bytes are sealed by the caller.

An ensemble holds its members' artifacts whole, byte for byte, each under the digest that it was
registered with: it needs none of them any more, and every check of a member is made again.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from audit.canonical import canonical
from training.config import ModelKind, Plan, TrainingConfig
from training.ensembles import Mean, joint
from training.errors import ArtifactError, TrainingError
from training.features import FeatureSpec
from training.inputs import network_of

FORMAT: Final = "portcullis/model/1"
ENSEMBLE: Final = "portcullis/ensemble/1"
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
        members: of an ensemble, in order.
    """

    network: nn.Module
    config: TrainingConfig
    plan: Plan
    spec: FeatureSpec
    executed: int
    digest: str
    members: tuple["Artifact", ...] = ()


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


def ensemble_to_bytes(
    stored: Sequence[bytes], expected: Sequence[str], *, config: TrainingConfig, plan: Plan
) -> bytes:
    """Serialize an ensemble of stored models. The same inputs give the same bytes.

    Args:
        stored: the members' artifacts, in the order of `config.members`.
        expected: the digests that they were registered with.
        config: of the ensemble; its `features` become those of the members together.
        plan: of the ensemble.

    Raises:
        ArtifactError: a member's bytes are not a valid model, or have another digest.
        FeatureError: they do not belong together.
    """
    members = [
        _single(one, _checked(one, digest)) for one, digest in zip(stored, expected, strict=True)
    ]
    spec = joint([one.spec for one in members])
    header = {
        "format": ENSEMBLE,
        "config": replace(config, features=spec.digest()).as_dict(),
        "plan": plan.as_dict(),
        "members": [one.digest for one in members],
    }
    tensors = {
        _member(place): torch.frombuffer(bytearray(one), dtype=torch.uint8)
        for place, one in enumerate(stored)
    }
    return safetensors.torch.save(tensors, metadata={_HEADER: canonical(header).decode()})


def _member(place: int) -> str:
    return f"member.{place}"


def from_bytes(stored: bytes, *, expected: str | None = None) -> Artifact:
    """Check and load a model.

    1. the digest is the expected one;
    2. the container is well-formed and its header canonical;
    3. config, plan and features are valid and agree with each other;
    4. names, shapes and types are those of the network that the config describes;
    5. every weight is finite.

    Of an ensemble: 1 and 2; then 1 to 5 of each member, and that these belong together.

    Raises:
        ArtifactError: any of these fails.
    """
    found = _checked(stored, expected)  # 1.
    if len(stored) > LARGEST:
        raise ArtifactError("the model is too large to load", code="artifact.too_large")
    if _header(stored)["format"] == ENSEMBLE:  # 2.
        return _ensemble(stored, found)
    return _single(stored, found)


def _single(stored: bytes, found: str) -> Artifact:
    """One trained model; `found` is its digest."""
    try:
        header = _header(stored)
        config = TrainingConfig.from_dict(header["config"])  # 3.
        plan = Plan.from_dict(header["plan"])
        spec = FeatureSpec.from_dict(header["features"])
        executed = header["executed"]
        state = safetensors.torch.load(stored)
    except (SafetensorError, KeyError, TypeError, ValueError, TrainingError):
        raise ArtifactError("the model's bytes cannot be read") from None
    if header["format"] != FORMAT or config.model is ModelKind.ENSEMBLE or not plan.steps:
        raise ArtifactError("the model's bytes are those of another kind of model")
    if not isinstance(executed, int) or not 0 <= executed <= plan.steps:
        raise ArtifactError("the model claims more steps than its plan has")
    network = _check_state(state, config, spec)  # 4. 5.
    network.load_state_dict(state, strict=True)
    network.eval().requires_grad_(False)
    return Artifact(network, config, plan, spec, executed, found)


def _ensemble(stored: bytes, found: str) -> Artifact:
    """Models that were combined; `found` is the digest of them together."""
    try:
        header = _header(stored)
        config = TrainingConfig.from_dict(header["config"])
        plan = Plan.from_dict(header["plan"])
        digests = list(header["members"])
        kept = safetensors.torch.load(stored)
    except (SafetensorError, KeyError, TypeError, ValueError, TrainingError):
        raise ArtifactError("the model's bytes cannot be read") from None
    if config.model is not ModelKind.ENSEMBLE or plan.steps or len(digests) != len(config.members):
        raise ArtifactError("the model's bytes are those of another kind of model")
    if set(kept) != {_member(place) for place in range(len(digests))}:
        raise ArtifactError("the weights are not those of this network", code="artifact.names")
    members = tuple(_held(kept[_member(place)], one) for place, one in enumerate(digests))
    try:
        spec = joint([one.spec for one in members])
    except TrainingError:
        raise ArtifactError("the members of the ensemble do not belong together") from None
    if config.features != spec.digest():
        raise ArtifactError(
            "the configuration was made for another feature specification",
            code="artifact.features_differ",
        )
    if {(one.plan.guarantee, one.plan.unit) for one in members} != {(plan.guarantee, plan.unit)}:
        raise ArtifactError("the members of the ensemble do not belong together")
    network = Mean([one.network for one in members], [one.spec for one in members], spec)
    network.eval().requires_grad_(False)
    return Artifact(network, config, plan, spec, 0, found, members)


def _held(kept: torch.Tensor, digest: object) -> Artifact:
    """A member, whose bytes must be those of its digest."""
    if kept.dtype != torch.uint8 or kept.ndim != 1:
        raise ArtifactError(
            "a weight has another shape or type than this network's", code="artifact.shape"
        )
    member = kept.numpy().tobytes()
    return _single(member, _checked(member, str(digest)))


def _checked(stored: bytes, expected: str | None) -> str:
    """The digest of bytes, if it is the expected one."""
    found = digest_of(stored)
    if expected is not None and not hmac.compare_digest(found.encode(), expected.encode()):
        raise ArtifactError("the model's bytes have another digest", code="artifact.digest")
    return found


def _header(stored: bytes) -> dict[str, Any]:
    """What a model says of itself.

    Raises:
        ArtifactError: it cannot be read, or is not canonical.
    """
    try:
        length = int.from_bytes(stored[:8], "little")
        if not 0 < length <= len(stored) - 8:
            raise ValueError  # noqa: TRY301 - said once, below
        text = json.loads(stored[8 : 8 + length])["__metadata__"][_HEADER]
        header = json.loads(text)
        if not isinstance(header, dict) or header.get("format") not in {FORMAT, ENSEMBLE}:
            raise ValueError  # noqa: TRY301 - as above
        if canonical(header).decode() != text:
            raise ValueError  # noqa: TRY301 - as above
    except (KeyError, TypeError, ValueError, TrainingError):
        raise ArtifactError("the model's bytes cannot be read") from None
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
