"""What the ranks are given and what they give back, as bytes of safetensors: no code is read.

The job is an anonymous memory file: records in the clear and the run's secret are in memory as in a
single process, on no disk and in nobody's arguments. It is sealed against writing before anybody
gets it, so that no rank can change what another reads; a rank keeps its own records only.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from audit.canonical import canonical
from training.config import Plan, TrainingConfig
from training.distributed.group import held
from training.dpsgd import BLOCK, Progress, Snapshot, Trained, from_lists, to_lists
from training.errors import EngineError, TrainingError
from training.features import FeatureSpec
from training.randomness import Secret
from training.units import Units

_HEADER: Final = "portcullis"
_MARK: Final = "format"
_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_KINDS: Final = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}
FIGURES: Final = tuple(field.name for field in fields(Progress)[2:])  # after step and steps
_Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Job:
    """One training, as each rank takes part in it.

    Attributes:
        plan, config, secret: as `training.dpsgd.train` takes them.
        spec: how cells became numbers: the network follows from it.
        features, labels: (n, …) and (n,): all records, or those that a rank holds.
        units: whose all n records are; None where every record is a unit.
        after, paid, block: as `train` takes them.
    """

    plan: Plan
    config: TrainingConfig
    secret: Secret
    spec: FeatureSpec
    features: torch.Tensor
    labels: torch.Tensor
    units: Units | None = None
    block: int = BLOCK
    after: Snapshot | None = None
    paid: int = 0


def share(job: Job) -> int:
    """A job as a sealed memory file: its descriptor, which the caller closes.

    Raises:
        OSError: there is not memory enough.
    """
    header = {
        "plan": job.plan.as_dict(),
        "config": job.config.as_dict(),
        "secret": job.secret.reveal().hex(),
        "provider": job.secret.name,
        "spec": job.spec.as_dict(),
        "block": job.block,
        "paid": job.paid,
        "curve": None if job.after is None else to_lists(job.after.curve),
    }
    tensors = {"features": job.features.contiguous(), "labels": job.labels.contiguous()}
    if job.units is not None:
        # Views: numpy and torch share these numbers.
        tensors["units"] = torch.from_numpy(job.units.rows)
        tensors["starts"] = torch.from_numpy(job.units.starts)
    if job.after is not None:
        tensors |= {f"after/{name}": value for name, value in job.after.tensors.items()}
    descriptor = os.memfd_create("job", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        _write(descriptor, tensors, header)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write(descriptor: int, tensors: _Tensors, header: Mapping[str, object]) -> None:
    """The safetensors format, tensor by tensor: the library would copy all of them first."""
    layout: dict[str, object] = {"__metadata__": _said(header)}
    offset = 0
    for name, value in tensors.items():
        end = offset + value.nbytes
        layout[name] = {
            "dtype": _KINDS[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    said = json.dumps(layout).encode()
    said += b" " * (-len(said) % 8)  # what follows is aligned
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(len(said).to_bytes(8, "little") + said)
        for value in tensors.values():
            file.write(value.numpy().data)


def take(descriptor: int, rank: int, size: int) -> Job:
    """Read `share` back, with the records that one rank holds.

    Raises:
        EngineError: `engine.job_damaged`, this is no job.
    """
    try:
        with safe_open(_path(descriptor), framework="pt") as file:
            said = json.loads(file.metadata()[_HEADER])
            whole = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        mine = held(len(whole["features"]), rank, size)
        features, labels = (
            whole.pop(name)[mine.start :: mine.step].clone() for name in ("features", "labels")
        )
        units = None
        if "units" in whole:
            rows, starts = (whole.pop(name).numpy().copy() for name in ("units", "starts"))
            units = Units(rows, starts)
        after = {name.removeprefix("after/"): value.clone() for name, value in whole.items()}
        return Job(
            plan=Plan.from_dict(said["plan"]),
            config=TrainingConfig.from_dict(said["config"]),
            secret=Secret(bytes.fromhex(said["secret"]), said["provider"]),
            spec=FeatureSpec.from_dict(said["spec"]),
            features=features,
            labels=labels,
            units=units,
            block=said["block"],
            after=None if said["curve"] is None else _snapshot(said["curve"], after),
            paid=said["paid"],
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, TrainingError):
        raise EngineError(
            "what the ranks were given is no job", code="engine.job_damaged"
        ) from None


def snapshot_bytes(snapshot: Snapshot) -> bytes:
    """A snapshot, on its way from rank 0 to the supervisor."""
    return _packed(snapshot.tensors, {"curve": to_lists(snapshot.curve)})


def snapshot_of(stored: bytes) -> Snapshot:
    """Read `snapshot_bytes` back.

    Raises:
        EngineError: `engine.protocol`.
    """
    said, tensors = _unpacked(stored)
    try:
        return _snapshot(said["curve"], tensors)
    except (KeyError, IndexError, TypeError, ValueError):
        raise _unreadable() from None


def trained_bytes(trained: Trained) -> bytes:
    """What training came to, on its way from rank 0 to the supervisor."""
    said = {
        "executed": trained.executed,
        "stopped": trained.stopped,
        "curve": to_lists(trained.curve),
    }
    return _packed(trained.state, said)


def trained_of(stored: bytes) -> Trained:
    """Read `trained_bytes` back.

    Raises:
        EngineError: `engine.protocol`.
    """
    said, tensors = _unpacked(stored)
    try:
        curve = from_lists(said["curve"])
        return Trained(tensors, int(said["executed"]), bool(said["stopped"]), curve)
    except (KeyError, TypeError, ValueError):
        raise _unreadable() from None


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _said(header: Mapping[str, object]) -> dict[str, str]:
    return {_HEADER: canonical(header).decode()}


def _packed(tensors: _Tensors, header: Mapping[str, object]) -> bytes:
    # A tensor at least: the format gives nothing back for a file without one.
    marked = {**tensors, _MARK: torch.ones(1)}
    return safetensors.torch.save(marked, metadata=_said(header))


def _unpacked(stored: bytes) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        length = int.from_bytes(stored[:8], "little")
        said: dict[str, Any] = json.loads(
            json.loads(stored[8 : 8 + length])["__metadata__"][_HEADER]
        )
        tensors: dict[str, torch.Tensor] = safetensors.torch.load(stored)
        del tensors[_MARK]
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise _unreadable() from None
    return said, tensors


def _unreadable() -> EngineError:
    return EngineError("what a rank sent cannot be read", code="engine.protocol")


def _snapshot(said: list[Any], tensors: _Tensors) -> Snapshot:
    curve = from_lists(said)
    return Snapshot(curve[-1].step, tensors, curve)
