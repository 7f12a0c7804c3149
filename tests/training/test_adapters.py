"""Adapters: on any module, clipped record by record, and nothing trained but themselves."""

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from tests.factories.engine import CLIP, clipped, naive_sum
from tests.factories.sentences import reviews
from training.accounting import make_plan
from training.adapters import Adapted, LoraConfig, TextClassifier, apply_lora, text_classifier
from training.artifacts import from_bytes, to_bytes
from training.backgrounds import synthetic_background
from training.clipping import WATCHED, Hooked
from training.config import ModelKind, Optimizer, Plan, TrainingConfig
from training.dpsgd import Snapshot, Trained, binary_loss, train
from training.encoder import Encoder, encoder
from training.errors import ArtifactError, ConfigError, EngineError, FeatureError
from training.features import Encoded, Feature, FeatureSpec, Hashed, Numeric, Target
from training.inputs import ahead_of, inputs_of, network_of
from training.mechanisms import WHOLE
from training.randomness import Secret
from training.serving import LoadedModel

SPEC = FeatureSpec((Encoded("review"),), Target("label", "good", "bad"))
CONFIG = TrainingConfig(
    epsilon=8, delta=1e-5, features=SPEC.digest(), model=ModelKind.LORA, hidden=(),
    expected_batch=16, steps=4, optimizer=Optimizer.ADAMW, learning_rate=0.02, lora_layers=1,
)  # fmt: skip


def tiny(layers: int = 3) -> Encoder:
    """An encoder of nobody's, 16 wide."""
    torch.manual_seed(3)
    made = Encoder(width=16, layers=layers, heads=2, words=40, places=16)
    return made.eval().requires_grad_(requires_grad=False)


def moved(network: nn.Module) -> nn.Module:
    """Adapters as they are after some steps: B is no longer zero."""
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return network


def texts(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, 12) ids of texts of 0 to 12 words, and labels."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 40, (count, 12), generator=generator, dtype=torch.int32)
    lengths = torch.randint(0, 13, (count, 1), generator=generator)
    ids[torch.arange(12) >= lengths] = 0
    return ids, (torch.rand(count, generator=generator) < 0.5).float()


def frozen_digest(network: nn.Module) -> str:
    """SHA-256 of every tensor that is not trained."""
    state = hashlib.sha256()
    for name, tensor in network.named_parameters():
        if not tensor.requires_grad:
            state.update(name.encode() + tensor.detach().numpy().tobytes())
    return state.hexdigest()


@pytest.fixture
def small() -> TextClassifier:
    made = moved(text_classifier(tiny(), rank=2, alpha=4.0, layers=2, seed=0))
    assert isinstance(made, TextClassifier)
    return made


def test_training_begins_at_the_frozen_encoder() -> None:
    base = tiny()
    ids, _ = texts(9)
    network = text_classifier(base, rank=2, alpha=4.0, layers=2, seed=0)
    with torch.inference_mode():
        wanted = network.head(4 * base(ids))
        torch.testing.assert_close(network(ids), wanted)
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert trained == set(network.state_dict()) == {
        *(
            f"encoder.layers.{n}.attention.{part}.{matrix}.weight"
            for n in (1, 2) for part in ("query", "value") for matrix in "ab"
        ),
        "head.weight", "head.bias",
    }  # fmt: skip
    # The frozen tensors are the encoder's own, not a copy of them.
    assert network.encoder.words.weight is base.words.weight
    again = text_classifier(base, rank=2, alpha=4.0, layers=2, seed=0).state_dict()
    other = text_classifier(base, rank=2, alpha=4.0, layers=2, seed=1).state_dict()
    state = network.state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)
    first = "encoder.layers.1.attention.query.a.weight"
    assert not torch.equal(state[first], other[first])


@pytest.mark.parametrize("count", [0, 1, 40])
def test_norms_and_sums_are_those_of_each_record_alone(small: TextClassifier, count: int) -> None:
    ids, labels = texts(count)
    alone = []
    asked = [p for p in small.parameters() if p.requires_grad]
    for row, label in zip(ids, labels, strict=True):
        value = binary_loss(small(row[None]), label[None]).sum()
        found = torch.autograd.grad(value, asked)
        alone.append(float(torch.cat([g.reshape(-1) for g in found]).double().norm()))
    engine = Hooked(small, binary_loss, CLIP)
    norms = np.zeros(count)
    for chosen in small.chunks(ids):
        leaf = small.stem(ids[chosen]).requires_grad_()
        norms[chosen.numpy()] = engine._norms(leaf, labels[chosen])[1].numpy()
    engine.close()
    np.testing.assert_allclose(norms, alone, rtol=1e-5)
    # The engine shrinks its bound by 1e-5 so that float32 rounding stays below C.
    np.testing.assert_allclose(
        clipped(small, ids, labels), naive_sum(small, ids, labels), rtol=3e-5, atol=1e-5
    )


def test_a_record_that_is_not_finite_adds_nothing(small: TextClassifier) -> None:
    ids, labels = texts(12)

    def loss(logits: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        return binary_loss(logits, asked.clamp(max=1)) / (asked < 2).float()

    spoiled = labels.clone()
    spoiled[3] = 2
    engine = Hooked(small, loss, CLIP)
    found = engine.sum(ids, spoiled)
    engine.close()
    kept = torch.arange(12) != 3
    assert found.refused == 1
    np.testing.assert_allclose(
        found.gradient, naive_sum(small, ids[kept], labels[kept])[WATCHED:], rtol=3e-5, atol=1e-5
    )


def test_chunks_and_batches_change_nothing(
    small: TextClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, labels = texts(40)
    whole = clipped(small, ids, labels)
    with torch.inference_mode():
        at_once = small(ids)
    monkeypatch.setattr("training.adapters._CHUNK", 30)
    monkeypatch.setattr("training.encoder._BATCH", 30)
    chunks = [*small.chunks(ids)]
    assert len(chunks) > 5
    assert sorted(torch.cat(chunks).tolist()) == list(range(40))
    np.testing.assert_allclose(clipped(small, ids, labels), whole, rtol=1e-5, atol=1e-6)
    with torch.inference_mode():
        torch.testing.assert_close(small(ids), at_once)
        torch.testing.assert_close(small(ids[:0]), torch.zeros(0, 1))
    torch.testing.assert_close(small(ids).detach(), at_once)


@pytest.mark.parametrize("room", [0, 2**30])
def test_frozen_layers_computed_once_change_nothing(
    small: TextClassifier, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr("training.adapters._CHUNK", 30)
    monkeypatch.setattr("training.adapters._AHEAD", room)
    ids, labels = texts(40)
    once = small.ahead(ids)
    assert once.is_floating_point() is (room > 0)
    assert not once.requires_grad
    np.testing.assert_allclose(
        clipped(small, once, labels), clipped(small, ids, labels), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(small(once), small(ids))


class Causal(nn.Module):
    """A causal language model of two blocks, whose losses are one a text."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(12)
            self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(12, 12) for _ in "qkvo")

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            given = self.norm(states)
            query, key, value = (
                part(given).unflatten(-1, (3, 4)).transpose(1, 2)
                for part in (self.q_proj, self.k_proj, self.v_proj)
            )
            seen = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            made: torch.Tensor = states + self.o_proj(seen.transpose(1, 2).flatten(2))
            return made

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 12)
        self.blocks = nn.ModuleList(self.Block() for _ in range(2))
        self.out = nn.Linear(12, 20)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            states = block(states)
        made: torch.Tensor = self.out(states)
        return made


def next_word(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """(B, T, V) logits and (B, T) ids to (B,) mean losses of each next word."""
    losses = nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), ids[:, 1:].long().flatten(), reduction="none"
    )
    return losses.view(len(ids), -1).mean(1)


def test_a_causal_model_takes_the_same_configuration() -> None:
    torch.manual_seed(0)
    model = Causal()
    names = apply_lora(model, LoraConfig((r"blocks\.\d\.[qv]_proj",), rank=3, alpha=6.0, seed=5))
    assert names == [f"blocks.{n}.{part}_proj" for n in (0, 1) for part in "qv"]
    frozen = frozen_digest(model)
    moved(model)
    assert {type(model.get_submodule(name)) for name in names} == {Adapted}
    ids = torch.randint(0, 20, (14, 7), generator=torch.Generator().manual_seed(1))
    states = model.words(ids)

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return next_word(logits, ids[labels.long()])

    labels = torch.arange(14.0)
    found = clipped(model, states, labels, loss=loss)
    wanted = naive_sum(model, states, labels, loss)
    np.testing.assert_allclose(found, wanted, rtol=3e-5, atol=1e-5)
    assert frozen_digest(model) == frozen


@pytest.mark.parametrize("targets", [("nothing",), (r"layers\.0\.attention",), ("norm",)])
def test_adapters_stand_beside_linear_layers_alone(targets: tuple[str, ...]) -> None:
    with pytest.raises(EngineError) as caught:
        apply_lora(tiny(), LoraConfig(targets))
    assert caught.value.stable_code == "engine.no_target"


@pytest.mark.parametrize(
    "wrong",
    [{"targets": ()}, {"targets": ("(",)}, {"rank": 0}, {"alpha": 0.0}, {"alpha": float("nan")}],
)
def test_a_configuration_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LoraConfig(**{"targets": ("x",), **wrong})


def test_a_run_goes_on_from_a_snapshot_of_the_adapters_alone() -> None:
    ids, labels = texts(40)
    config = TrainingConfig(
        epsilon=8, delta=1e-5, features="f" * 64, model=ModelKind.LORA, hidden=(), steps=6
    )
    plan = Plan(40, WHOLE // 4, 6, 0.7, 1.0)
    taken: list[Snapshot] = []

    def carried(after: Snapshot | None, **more: Any) -> Trained:
        return train(
            text_classifier(tiny(), rank=2, alpha=4.0, layers=1, seed=0), ids, labels, plan=plan,
            config=config, secret=Secret(b"s" * 32, "test"), on_block=lambda _: None, block=3,
            after=after, **more,
        )  # fmt: skip

    whole = carried(None, on_kept=lambda take: taken.append(take()))
    assert not any("words" in name for name in taken[0].tensors)
    resumed = carried(taken[0])
    for name, value in whole.state.items():
        assert torch.equal(value, resumed.state[name])


@pytest.fixture(scope="module")
def real() -> tuple[TextClassifier, dict[str, list[str]], Trained, str]:
    """Four steps on 64 reviews through the packaged encoder."""
    table = reviews(64, seed=1)
    network = network_of(CONFIG, SPEC)
    assert isinstance(network, TextClassifier)
    before = frozen_digest(network)
    trained = train(
        network, ahead_of(network, inputs_of(CONFIG, SPEC, table)),
        torch.from_numpy(SPEC.encode_target(table)), plan=make_plan(CONFIG, 64), config=CONFIG,
        secret=Secret(b"t" * 32, "test"), on_block=lambda _: None,
    )  # fmt: skip
    return network, table, trained, before


def test_the_base_is_what_it_was_and_the_artifact_is_small(real: Any) -> None:
    network, table, trained, before = real
    assert frozen_digest(network) == before
    assert before == frozen_digest(network_of(CONFIG, SPEC))
    plan = make_plan(CONFIG, 64)
    stored = to_bytes(trained.state, config=CONFIG, plan=plan, spec=SPEC, executed=4)
    assert len(stored) < 100_000
    assert SPEC.features[0].as_dict()["weights"].encode() in stored  # type: ignore[attr-defined]
    artifact = from_bytes(stored)
    read = inputs_of(CONFIG, SPEC, table)
    network.eval()
    with torch.inference_mode():
        assert torch.equal(network(read), artifact.network(read))
    model, again = LoadedModel(stored), LoadedModel(stored)
    rows = [model.check_row({"review": text}) for text in ("a lovely meal", "", "n/a")]
    scores = model.predict_proba(rows)
    np.testing.assert_array_equal(scores, again.predict_proba(rows))
    assert scores[1] == scores[2] != scores[0]
    assert isinstance(artifact.network, TextClassifier)
    assert encoder("minilm-l6").network.words.weight is artifact.network.encoder.words.weight
    for wrong in ({}, {**trained.state, "encoder.words.weight": torch.zeros(1)}):
        with pytest.raises(ArtifactError) as caught:
            to_bytes(wrong, config=CONFIG, plan=plan, spec=SPEC, executed=4)
        assert caught.value.stable_code == "artifact.names"


def test_held_out_reviews_are_told_apart_better_than_before_training(real: Any) -> None:
    _, _, trained, _ = real
    held_out = reviews(60, seed=2, held_out=True)
    truth = SPEC.encode_target(held_out)
    read = inputs_of(CONFIG, SPEC, held_out)
    untrained = network_of(CONFIG, SPEC)
    after = network_of(CONFIG, SPEC)
    after.load_state_dict(trained.state)
    with torch.inference_mode():
        scores = [roc_auc_score(truth, n(read).squeeze(-1).numpy()) for n in (untrained, after)]
    assert scores[1] > scores[0] + 0.1


@pytest.mark.parametrize(
    "features",
    [(Hashed("review"),), (Encoded("review"), Numeric("age", 0, 9)), (Encoded("a"), Encoded("b"))],
)
def test_adapters_read_one_text(features: tuple[Feature, ...]) -> None:
    spec = FeatureSpec(features, SPEC.target)
    for ask in (lambda: network_of(CONFIG, spec), lambda: inputs_of(CONFIG, spec, {})):
        with pytest.raises(FeatureError) as caught:
            ask()
        assert (caught.value.stable_code, caught.value.pointer) == ("feature.one_text", "/model")


def test_a_background_of_texts_says_little() -> None:
    rows = synthetic_background(SPEC, 16, 0)
    assert len({row["review"] for row in rows}) == 8
