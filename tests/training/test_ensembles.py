"""The mean of several models: by formula, by bytes, and what a damaged ensemble is refused for."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch

from audit.canonical import canonical
from audit.explanations import Background, explain_row, verify_record
from training.artifacts import digest_of, ensemble_to_bytes, from_bytes, to_bytes
from training.backgrounds import ORIGIN, synthetic_background
from training.config import Guarantee, ModelKind, Plan, TrainingConfig
from training.ensembles import joint
from training.errors import ArtifactError, ConfigError, FeatureError
from training.evaluation import BINS, EDGES, _auroc
from training.features import Binned, Category, Encoded, FeatureSpec, Hashed, Numeric, Target
from training.inputs import network_of
from training.mechanisms import WHOLE
from training.serving import LoadedModel
from training.units import Unit

TARGET = Target("y", "1")
SPECS = {
    "mlp": FeatureSpec(
        (Numeric("age", 0, 100), Category("work", ("a", "b")), Hashed("note", 8)), TARGET
    ),
    "linear": FeatureSpec((Numeric("age", 20, 80), Numeric("hours", 0, 60)), TARGET),
    "embedding": FeatureSpec(
        (Category("work", ("c", "b", "d", "e", "f")), Numeric("age", 0, 100)), TARGET
    ),
    "ebm": FeatureSpec((Binned("hours", 1, 99), Category("work", ("a", "b"))), TARGET),
}
PLAN = Plan(1_000, WHOLE // 10, 20, 1.5, 1.0)
OURS = Plan(1_000, WHOLE, 0, 9.5, 1.0)
ROWS: dict[str, list[str | None]] = {
    "age": ["30", None, "81", "-4"],
    "work": ["a", "c", None, "z"],
    "note": ["x", "y", None, "x"],
    "hours": ["12", "70", "99", "?"],
}


def member(kind: str, seed: int = 1, *, spec: FeatureSpec | None = None, **plan: Any) -> bytes:
    """A model with drawn weights."""
    spec = spec or SPECS[kind]
    config = TrainingConfig.for_rows(
        1_000, epsilon=1, delta=1e-5, features=spec.digest(), model=kind, init_seed=seed
    )
    network = network_of(config, spec)
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: torch.randn(value.shape, generator=generator)
        for name, value in network.state_dict().items()
    }
    return to_bytes(state, config=config, plan=replace(PLAN, **plan), spec=spec, executed=20)


def together(*stored: bytes, plan: Plan = OURS) -> bytes:
    names = tuple(f"m@{number}" for number in range(len(stored)))
    config = TrainingConfig(1, 1e-5, "", ModelKind.ENSEMBLE, hidden=(), members=names)
    return ensemble_to_bytes(stored, [digest_of(one) for one in stored], config=config, plan=plan)


def scores(stored: bytes, rows: Mapping[str, list[Any]] = ROWS) -> npt.NDArray[np.float64]:
    return LoadedModel(stored)._probabilities(rows)


KINDS = [member(kind) for kind in SPECS]
GOOD = together(*KINDS)


@pytest.mark.parametrize(
    "stored",
    [
        KINDS,
        [member("mlp", 1), member("mlp", 2), member("mlp", 3)],  # one specification
        [member("linear", seed) for seed in range(10)],
        [member("mlp"), member("ebm")],
    ],
    ids=["every kind", "one specification", "ten", "two"],
)
def test_it_says_the_mean_of_what_its_members_say(stored: list[bytes]) -> None:
    alone = np.mean([scores(one) for one in stored], axis=0)
    assert np.abs(scores(together(*stored)) - alone).max() < 1e-6
    # By one row as by many.
    one = {name: cells[:1] for name, cells in ROWS.items()}
    assert abs(scores(together(*stored), one)[0] - alone[0]) < 1e-6


def test_members_of_one_specification_read_one_encoding() -> None:
    same = from_bytes(together(member("mlp", 1), member("mlp", 2)))
    assert same.spec.width == SPECS["mlp"].width
    assert from_bytes(GOOD).spec.width == sum(spec.width for spec in SPECS.values())


def test_certain_members_leave_a_finite_logit() -> None:
    sure = SPECS["linear"]
    config = TrainingConfig.for_rows(
        1_000, epsilon=1, delta=1e-5, features=sure.digest(), model="linear"
    )
    state = {"0.weight": torch.zeros(1, sure.width), "0.bias": torch.tensor([200.0])}
    one = to_bytes(state, config=config, plan=PLAN, spec=sure, executed=20)
    network = from_bytes(together(one, one)).network
    assert network(torch.zeros(3, sure.width)).flatten().tolist() == pytest.approx([200.0] * 3)


def test_the_same_members_give_the_same_bytes_and_each_is_held_whole() -> None:
    assert together(*KINDS) == GOOD
    loaded = from_bytes(GOOD, expected=digest_of(GOOD))
    assert [one.digest for one in loaded.members] == [digest_of(one) for one in KINDS]
    assert (loaded.executed, loaded.plan, loaded.config.features) == (0, OURS, loaded.spec.digest())
    assert not any(p.requires_grad for p in loaded.network.parameters())


def test_readers_see_every_column_once_in_bounds_that_hold_all() -> None:
    spec = joint([*SPECS.values()])
    assert spec.names == ("age", "work", "note", "hours")
    assert spec.features == (
        Numeric("age", 0, 100),
        Category("work", ("a", "b", "c", "d", "e", "f")),
        Hashed("note", 8),
        Numeric("hours", 0, 99),
    )
    row = LoadedModel(GOOD).check_row({"age": 1, "work": "f", "note": None, "hours": "70"})
    assert row == {"age": "1", "work": "f", "note": None, "hours": "70"}


def test_the_order_and_the_bounds_of_each_part_are_in_the_digest() -> None:
    mlp, linear = SPECS["mlp"], SPECS["linear"]
    wider = replace(linear, features=(Numeric("age", 20, 81), Numeric("hours", 0, 60)))
    found = {joint(list(specs)).digest() for specs in [(mlp, linear), (linear, mlp), (mlp, wider)]}
    assert len(found) == 3


@pytest.mark.parametrize(
    ("specs", "code"),
    [
        ((SPECS["mlp"], replace(SPECS["mlp"], target=Target("y", "0"))), "run.member_differs"),
        (
            (SPECS["mlp"], FeatureSpec((Category("age", ("a",)),), TARGET)),
            "run.member_columns",
        ),
    ],
    ids=["target", "kind of a column"],
)
def test_what_does_not_belong_together_is_not_joined(
    specs: tuple[FeatureSpec, ...], code: str
) -> None:
    with pytest.raises(FeatureError) as caught:
        joint(specs)
    assert caught.value.stable_code == code


def test_a_text_is_read_once_for_all_members(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def encode(self: Encoded, cells: Any) -> np.ndarray:
        read.append(len(cells))
        return np.zeros((len(cells), self.width), dtype=np.float32)

    monkeypatch.setattr(Encoded, "encode", encode)
    text = Encoded("letter")
    parts = [FeatureSpec((text, Numeric("age", 0, high)), TARGET) for high in (80, 90, 100)]
    joint(parts).encode({"letter": ["a", "b"], "age": ["1", "2"]})
    assert read == [2]


def test_attributions_through_an_ensemble_add_up() -> None:
    model = LoadedModel(GOOD)
    rows = synthetic_background(model.spec, 16, 0)
    background = Background.from_rows(rows, model.spec.names, ORIGIN)
    record = explain_row(
        model.predict_columns, ["30", "b", "x", "12"], background,
        record_id="1", model_digest=model.digest, input_commitment="c",
    )  # fmt: skip
    assert verify_record(record).failed == ()
    assert abs(float(record["residual"])) < 1e-9
    assert abs(float(record["output"]) - float(record["base_value"])) > 1e-6


def test_errors_that_differ_cancel_in_the_mean() -> None:
    """Members that each see the truth and an error of their own: together they order rows better.

    Rows and weights follow from seeds, so it is the same comparison each time.
    """
    spec = FeatureSpec(tuple(Binned(name, 0, 1) for name in "abcd"), TARGET)
    config = TrainingConfig.for_rows(
        1_000, epsilon=1, delta=1e-5, features=spec.digest(), model="linear"
    )
    generator = np.random.default_rng(0)
    cells = generator.random((4_000, 4))
    labels = generator.random(4_000) < 1 / (1 + np.exp(-8 * (cells.mean(1) - 0.5)))
    truth = np.tile(np.append((np.arange(32) + 0.5) / 32 - 0.5, 0.0), 4) * 2
    table = {name: [str(value) for value in cells[:, place]] for place, name in enumerate("abcd")}
    stored = [
        to_bytes(
            {
                "0.weight": torch.tensor(
                    truth + np.random.default_rng(seed).normal(0, 1, len(truth)),
                    dtype=torch.float32,
                )[None],
                "0.bias": torch.zeros(1),
            },
            config=config, plan=PLAN, spec=spec, executed=20,
        )
        for seed in range(1, 6)
    ]  # fmt: skip

    def auroc(one: bytes) -> float:
        counts = np.zeros((2, BINS))
        places = np.searchsorted(EDGES, scores(one, table), side="right")
        np.add.at(counts, (labels.astype(int), places), 1)
        return float(_auroc(counts))

    alone = [auroc(one) for one in stored]
    assert auroc(together(*stored)) > np.mean(alone) + 0.02


def header_of(stored: bytes) -> dict[str, Any]:
    length = int.from_bytes(stored[:8], "little")
    header: dict[str, Any] = json.loads(
        json.loads(stored[8 : 8 + length])["__metadata__"]["portcullis"]
    )
    return header


def changed(
    header: Callable[[dict[str, Any]], object] = lambda _: None,
    tensors: Callable[[dict[str, torch.Tensor]], object] = lambda _: None,
) -> bytes:
    """A well-formed container with other contents."""
    said, kept = header_of(GOOD), safetensors.torch.load(GOOD)
    header(said)
    tensors(kept)
    return safetensors.torch.save(kept, metadata={"portcullis": canonical(said).decode()})


def _flip(kept: dict[str, torch.Tensor]) -> None:
    kept["member.1"][-1] ^= 1


def _nested(kept: dict[str, torch.Tensor]) -> None:
    kept["member.0"] = torch.frombuffer(bytearray(GOOD), dtype=torch.uint8)


def _nest(header: dict[str, Any]) -> None:
    header["members"][0] = digest_of(GOOD)


@pytest.mark.parametrize(
    ("stored", "code"),
    [
        (changed(tensors=_flip), "artifact.digest"),
        (changed(tensors=lambda kept: kept.pop("member.3")), "artifact.names"),
        (changed(tensors=lambda kept: kept.update(more=torch.ones(1))), "artifact.names"),
        (
            changed(tensors=lambda kept: kept.update({"member.0": kept["member.0"].float()})),
            "artifact.shape",
        ),
        (changed(_nest, _nested), "artifact.invalid"),
        (changed(lambda said: said["members"].reverse()), "artifact.digest"),
        (changed(lambda said: said["members"].pop()), "artifact.invalid"),
        (changed(lambda said: said.update(format="portcullis/model/1")), "artifact.invalid"),
        (changed(lambda said: said.update(format="portcullis/ensemble/2")), "artifact.invalid"),
        (changed(lambda said: said["plan"].update(guarantee="waived")), "artifact.invalid"),
        (
            changed(lambda said: said["config"].update(features="0" * 64)),
            "artifact.features_differ",
        ),
        (changed(lambda said: said["config"].pop("members")), "artifact.invalid"),
        (together(KINDS[0], member("ebm", unit=Unit.SUBJECT)), "artifact.invalid"),
        (together(KINDS[0], KINDS[1], plan=PLAN), "artifact.invalid"),
        (GOOD[:-1], "artifact.invalid"),
        (GOOD[:40], "artifact.invalid"),
    ],
)
def test_a_changed_ensemble_is_refused(stored: bytes, code: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        from_bytes(stored)
    assert caught.value.stable_code == code


@pytest.mark.parametrize("place", [9, len(GOOD) // 2, len(GOOD) - 1])
def test_one_flipped_bit_has_another_digest(place: int) -> None:
    damaged = bytearray(GOOD)
    damaged[place] ^= 1
    with pytest.raises(ArtifactError) as caught:
        from_bytes(bytes(damaged), expected=digest_of(GOOD))
    assert caught.value.stable_code == "artifact.digest"


def test_a_single_model_does_not_call_itself_an_ensemble() -> None:
    said, kept = header_of(KINDS[0]), safetensors.torch.load(KINDS[0])
    said["config"] = header_of(GOOD)["config"]
    with pytest.raises(ArtifactError):
        from_bytes(safetensors.torch.save(kept, metadata={"portcullis": canonical(said).decode()}))


def test_an_ensemble_of_an_ensemble_is_not_made() -> None:
    with pytest.raises(ArtifactError):
        together(GOOD, KINDS[0])


@pytest.mark.parametrize(
    "fields",
    [
        {"members": ()},
        {"members": ("a@1",)},
        {"members": tuple(f"a@{number}" for number in range(11))},
        {"members": ("a@1", "a@1")},
        {"model": ModelKind.MLP, "hidden": (4,)},
        {"forms": ("onnx",)},
        {"hidden": (4,)},
    ],
)
def test_configurations_that_are_no_ensembles(fields: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "epsilon": 1, "delta": 1e-5, "features": "", "model": ModelKind.ENSEMBLE, "hidden": (),
        "members": ("a@1", "b@1"),
    }  # fmt: skip
    config = TrainingConfig(**good)
    assert TrainingConfig.from_dict(config.as_dict()) == config
    assert set(config.as_dict()) == {*good, "guarantee", "adjacency", "unit"}
    assert config.guarantee is Guarantee.DP
    with pytest.raises(ConfigError):
        TrainingConfig(**{**good, **fields})


def test_an_ensemble_has_no_other_forms() -> None:
    from training.compression import compress
    from training.config import Form

    loaded = from_bytes(GOOD)
    for form in Form:
        with pytest.raises(ArtifactError) as caught:
            compress(loaded.network, loaded.spec.width, form)
        assert caught.value.stable_code == "artifact.form_unsupported"
