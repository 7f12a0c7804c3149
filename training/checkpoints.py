"""What a worker keeps of an attempt, so that another can go on where it died.

One sealed object an attempt, replaced as training goes on: the secret that all draws follow from,
the bounds that were bought, and the engine's snapshot. The first is written before anything is
written ahead to the ledger, so that whatever was paid for can be drawn again as it was, and is paid
for once. safetensors holds nothing but tensors and text: reading a checkpoint runs no code.

The secret would let its holder subtract the noise. It exists in the worker's memory and here alone,
under the tenant's key, and is gone with the checkpoint when the run has its model, ends for good,
or was stopped too long ago (`training.keeper`).
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import safetensors.torch
import torch
from django.db import transaction
from safetensors import SafetensorError

from audit.canonical import canonical
from audit.errors import DomainError
from governance.leases import Lease
from governance.models import StoredObject
from governance.vault import ObjectWriter, discard, open_object
from training.dpsgd import Snapshot, Trained, from_lists, to_lists
from training.errors import CheckpointError, TrainingError
from training.features import FeatureSpec
from training.models import Checkpoint, Run
from training.randomness import Secret
from training.searching import Best, Searched

# 2: three figures are watched where there was one, so the same noise falls on other coordinates; an
# attempt that an older engine began must not be drawn again by this one.
FORMAT: Final = "portcullis/checkpoint/2"
_HEADER: Final = "portcullis"
_BEST: Final = "best/"  # before the names of the best trial's weights


@dataclass(frozen=True)
class Kept:
    """What is kept.

    Attributes:
        secret: what coins and noise follow from.
        spec: the features, once their bounds are known.
        snapshot: the engine's state, once a block has run.
        search: of a search, the trials that are over; the snapshot is of the next one.
    """

    secret: Secret
    spec: FeatureSpec | None = None
    snapshot: Snapshot | None = None
    search: Searched | None = None

    @property
    def step(self) -> int:
        """Steps that need not be run again; of a search nobody may know how far it is."""
        return 0 if self.snapshot is None or self.search is not None else self.snapshot.step


def to_bytes(kept: Kept, binding: Mapping[str, object]) -> bytes:
    """A checkpoint as it is sealed; `binding` names the attempt and the plan it belongs to."""
    snapshot = kept.snapshot
    header = {
        "format": FORMAT,
        "of": dict(binding),
        "secret": kept.secret.reveal().hex(),
        "provider": kept.secret.name,
        "spec": None if kept.spec is None else kept.spec.as_dict(),
        "snapshot": None
        if snapshot is None
        else {
            "step": snapshot.step,
            "curve": to_lists(snapshot.curve),
        },
        **({} if kept.search is None else {"search": _search_header(kept.search)}),
    }
    tensors = {} if snapshot is None else dict(snapshot.tensors)
    if kept.search is not None and (best := kept.search.best) is not None and best.trained:
        tensors |= {_BEST + name: value for name, value in best.trained.state.items()}
    # A tensor at least: the format gives nothing back for a file without one.
    tensors["format"] = torch.ones(1)
    return safetensors.torch.save(tensors, metadata={_HEADER: canonical(header).decode()})


def from_bytes(stored: bytes, binding: Mapping[str, object]) -> Kept:
    """Read `to_bytes` back.

    Raises:
        CheckpointError: `checkpoint.damaged`, it cannot be read or belongs to another attempt.
    """
    try:
        length = int.from_bytes(stored[:8], "little")
        header = json.loads(json.loads(stored[8 : 8 + length])["__metadata__"][_HEADER])
        tensors = safetensors.torch.load(stored)
        del tensors["format"]
        if header["format"] != FORMAT or header["of"] != dict(binding):
            raise ValueError  # noqa: TRY301 - said once, below
        return Kept(
            Secret(bytes.fromhex(header["secret"]), header["provider"]),
            None if header["spec"] is None else FeatureSpec.from_dict(header["spec"]),
            _snapshot(
                header["snapshot"],
                {name: one for name, one in tensors.items() if not name.startswith(_BEST)},
            ),
            _search(header.get("search"), tensors),
        )
    except (SafetensorError, KeyError, TypeError, ValueError, TrainingError):
        raise CheckpointError("the checkpoint of this attempt cannot be read") from None


def _snapshot(header: Any, tensors: Mapping[str, torch.Tensor]) -> Snapshot | None:
    if header is None:
        return None
    return Snapshot(header["step"], tensors, from_lists(header["curve"]))


def _search_header(search: Searched) -> dict[str, object]:
    best = search.best
    trained = None if best is None else best.trained
    return {
        "done": search.done,
        "best": None if best is None else [best.candidate, repr(best.score)],
        "trained": None if trained is None else [trained.executed, to_lists(trained.curve)],
    }


def _search(header: Any, tensors: Mapping[str, torch.Tensor]) -> Searched | None:
    if header is None:
        return None
    if header["best"] is None:
        return Searched(header["done"])
    trained = None
    if header["trained"] is not None:
        executed, curve = header["trained"]
        state = {
            name.removeprefix(_BEST): one for name, one in tensors.items() if name.startswith(_BEST)
        }
        trained = Trained(state, executed, stopped=False, curve=from_lists(curve))
    candidate, score = header["best"]
    return Searched(header["done"], Best(candidate, float(score), trained))


def binding(run: Run) -> dict[str, object]:
    """What a checkpoint of the run's newest attempt is bound to."""
    return {"run": str(run.id), "since": run.since, "plan": run.plan}


def find(run: Run) -> Checkpoint | None:
    """The row of the newest attempt's checkpoint."""
    found: Checkpoint | None = (
        Checkpoint.objects.select_related("stored").filter(run=run, since=run.since).first()
    )
    return found


def read(run: Run, row: Checkpoint) -> Kept:
    """Open a checkpoint.

    Raises:
        CheckpointError: `checkpoint.damaged`, whatever is wrong with it.
    """
    try:
        with open_object(row.stored) as file:
            stored = file.read()
    except (OSError, DomainError):
        raise CheckpointError("the checkpoint of this attempt cannot be read") from None
    return from_bytes(stored, binding(run))


def keep(run: Run, kept: Kept, lease: Lease) -> None:
    """Replace the checkpoint, durably: afterwards the new one is there, before that the old one.

    Raises:
        CheckpointError: `checkpoint.not_written`, the storage refused (a full disk).
        LostLeaseError: another worker holds the run's job; the old one stays.
    """
    try:
        with ObjectWriter(run.tenant, "checkpoint") as writer:
            writer.write(to_bytes(kept, binding(run)))
            stored = writer.finish()
    except OSError:
        raise CheckpointError(
            "the checkpoint could not be written: is the disk full?", code="checkpoint.not_written"
        ) from None
    try:
        with transaction.atomic(durable=True):
            lease.check()
            old = Checkpoint.objects.select_for_update().filter(run=run).first()
            stored.save(force_insert=True)
            replaced = _replace(run, old, stored, kept, lease)
    except BaseException:
        discard(stored)
        raise
    if replaced is not None:
        with suppress(OSError):  # its key is gone: the vault's sweep removes the bytes
            discard(replaced)


def _replace(
    run: Run, old: Checkpoint | None, stored: StoredObject, kept: Kept, lease: Lease
) -> StoredObject | None:
    said = {
        "since": run.since,
        "step": kept.step,
        "stored": stored,
        "job": lease.job_id,
        "fence": lease.fence,
    }
    if old is None:
        Checkpoint.objects.create(tenant_id=run.tenant_id, run=run, **said)
        return None
    replaced: StoredObject = StoredObject.objects.get(pk=old.stored_id)
    for name, value in said.items():
        setattr(old, name, value)
    old.save()
    StoredObject.objects.filter(pk=replaced.pk).delete()
    return replaced
