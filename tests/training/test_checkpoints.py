"""The bytes of a checkpoint: whole, or refused. What workers do: `test_pipeline_goes_on.py`."""

import json
from typing import Any, Final

import pytest
import safetensors.torch
import torch

from training.checkpoints import Kept, from_bytes, to_bytes
from training.dpsgd import Progress, Snapshot
from training.errors import CheckpointError
from training.features import Category, FeatureSpec, Numeric, Target
from training.randomness import SECURE, Secret

BINDING: Final = {"run": "r", "since": 1, "plan": {"steps": 45}}
SECRET: Final = Secret(bytes(range(32)))
SPEC: Final = FeatureSpec(
    (Numeric("age", 17, 90), Category("city", ("north", "south"))), Target("income", "1", "0")
)
SNAPSHOT: Final = Snapshot(
    20,
    {"network/0.weight": torch.tensor([[0.1, -3e-38]]), "average/count": torch.tensor(3)},
    (Progress(20, 45, 0.6931471805599453, 0.01, 0.25, 0.02, 1 / 3, 0.03),),
)


@pytest.mark.parametrize(
    "kept",
    [Kept(SECRET), Kept(SECRET, SPEC), Kept(SECRET, SPEC, SNAPSHOT)],
    ids=["secret", "features", "snapshot"],
)
def test_what_is_kept_comes_back(kept: Kept) -> None:
    read = from_bytes(to_bytes(kept, BINDING), BINDING)
    assert read.secret.reveal() == SECRET.reveal()
    assert read.secret.name == SECURE
    assert (read.spec, read.step) == (kept.spec, kept.step)
    if kept.snapshot is not None:
        assert read.snapshot is not None
        assert read.snapshot.curve == kept.snapshot.curve
        assert read.snapshot.tensors.keys() == kept.snapshot.tensors.keys()
        for name, value in kept.snapshot.tensors.items():
            assert torch.equal(read.snapshot.tensors[name], value)


def forged(**changes: Any) -> bytes:
    stored = to_bytes(Kept(SECRET, SPEC, SNAPSHOT), BINDING)
    length = int.from_bytes(stored[:8], "little")
    header = json.loads(json.loads(stored[8 : 8 + length])["__metadata__"]["portcullis"])
    text = json.dumps({**header, **changes})
    return safetensors.torch.save(safetensors.torch.load(stored), metadata={"portcullis": text})


WHOLE: Final = to_bytes(Kept(SECRET, SPEC, SNAPSHOT), BINDING)


@pytest.mark.parametrize(
    ("stored", "binding"),
    [
        (b"", BINDING),
        (WHOLE[:50], BINDING),
        (WHOLE[:-1], BINDING),
        (b"\xff" * 100, BINDING),
        (WHOLE, {**BINDING, "run": "another"}),
        (WHOLE, {**BINDING, "since": 2}),
        (WHOLE, {**BINDING, "plan": {"steps": 46}}),
        (forged(format="portcullis/checkpoint/0"), BINDING),
        (forged(secret="00"), BINDING),
        (forged(secret="no hex"), BINDING),
        (forged(spec={"features": "gone"}), BINDING),
        (forged(snapshot={"step": 20}), BINDING),
        (forged(snapshot={"step": 20, "curve": [["x"]]}), BINDING),
        (safetensors.torch.save({"a": torch.ones(1)}), BINDING),
    ],
    ids=[
        "empty", "header cut", "cut", "noise", "another run", "another line", "another plan",
        "format", "secret", "hex", "features", "no curve", "curve", "another file",
    ],
)  # fmt: skip
def test_what_is_damaged_or_of_another_run_is_refused(
    stored: bytes, binding: dict[str, object]
) -> None:
    with pytest.raises(CheckpointError) as caught:
        from_bytes(stored, binding)
    assert caught.value.stable_code == "checkpoint.damaged"
