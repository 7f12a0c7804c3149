"""The engine against a naive loop, its sensitivity, its bad records, and the order of its calls."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from training.config import LOSS_CEILING, LOSS_SHARE, Guarantee, ModelKind, Plan, TrainingConfig
from training.dpsgd import ClippingPass, Progress, Trained, binary_loss, train
from training.errors import EngineError
from training.mechanisms import WHOLE
from training.networks import build
from training.randomness import Source, seeded_source

CLIP = 0.7


def config(**chosen: Any) -> TrainingConfig:
    return TrainingConfig(epsilon=1, delta=1e-5, features="f", **chosen)


def records(count: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, width, generator=generator) * 3
    labels = (torch.rand(count, generator=generator) < 0.4).float()
    return features, labels


def vector_of_one(network: nn.Module, row: torch.Tensor, label: torch.Tensor) -> np.ndarray:
    """One record's clipped vector, loss first, by autograd on that record alone."""
    loss = binary_loss(network(row[None]), label[None]).sum()
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    flat = torch.cat([g.reshape(-1) for g in gradients]).double().numpy()
    bound = CLIP * math.sqrt(1 - LOSS_SHARE**2)
    flat *= min(1.0, bound / float(np.linalg.norm(flat)))
    scaled = min(loss.item(), LOSS_CEILING) / LOSS_CEILING * LOSS_SHARE * CLIP
    return np.concatenate([[scaled], flat])


def clipped(network: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    engine = ClippingPass(network, binary_loss, CLIP)
    try:
        engine.sum(features, labels)
        result = engine.sum(features, labels)  # a pass leaves nothing behind for the next
    finally:
        engine.close()
    return np.concatenate([[result.loss], result.gradient])


@pytest.mark.parametrize("hidden", [(), (5,), (9, 4)])
@pytest.mark.parametrize("count", [0, 1, 33])
def test_same_sum_as_a_naive_loop(hidden: tuple[int, ...], count: int) -> None:
    chosen = config(model=ModelKind.MLP if hidden else ModelKind.LINEAR, hidden=hidden)
    network = build(chosen, 6)
    features, labels = records(count, 6)
    naive = sum(
        (vector_of_one(network, row, label) for row, label in zip(features, labels, strict=True)),
        np.zeros(1 + sum(p.numel() for p in network.parameters())),
    )
    # The engine shrinks its bound by 1e-5 so that float32 rounding stays below C.
    np.testing.assert_allclose(clipped(network, features, labels), naive, rtol=3e-5, atol=1e-5)


def test_physical_chunks_do_not_change_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(config(), 6)
    features, labels = records(50, 6)
    whole = clipped(network, features, labels)
    monkeypatch.setattr("training.dpsgd.PHYSICAL", 7)
    np.testing.assert_allclose(clipped(network, features, labels), whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e4])
def test_one_record_moves_the_sum_by_at_most_c(scale: float) -> None:
    """Trap T1: with (B, 1) losses plain ghost clipping let one record move it 43 C."""
    network = build(config(hidden=(8,)), 6)
    features, labels = records(64, 6)
    features[-1] *= scale
    without = clipped(network, features[:-1], labels[:-1])
    moved = np.linalg.norm(clipped(network, features, labels) - without)
    assert 0 < moved <= CLIP * (1 + 1e-6)


def test_a_loss_of_another_shape_is_refused() -> None:
    def column(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.binary_cross_entropy_with_logits(
            logits, labels[:, None], reduction="none"
        )

    engine = ClippingPass(build(config(), 6), column, CLIP)
    with pytest.raises(EngineError) as caught:
        engine.sum(*records(4, 6))
    assert caught.value.stable_code == "engine.loss_shape"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 3e38])
def test_a_non_finite_record_contributes_zero(bad: float) -> None:
    network = build(config(hidden=(8,)), 6)
    features, labels = records(20, 6)
    clean = clipped(network, features[1:], labels[1:])
    features[0, 2] = bad
    poisoned = clipped(network, features, labels)
    assert np.isfinite(poisoned).all()
    if math.isfinite(bad):
        # Huge but finite: its activations saturate, so it is an ordinary, clipped record.
        assert np.linalg.norm(poisoned - clean) <= CLIP * (1 + 1e-6)
    else:
        np.testing.assert_allclose(poisoned, clean, rtol=1e-5, atol=1e-7)


def test_a_nan_label_contributes_zero() -> None:
    network = build(config(), 6)
    features, labels = records(5, 6)
    labels[:] = math.nan
    assert not clipped(network, features, labels).any()


def test_batch_normalization_is_refused() -> None:
    network = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with pytest.raises(EngineError) as caught:
        ClippingPass(network, binary_loss, CLIP)
    assert caught.value.stable_code == "engine.layer_unsupported"


def run(
    *,
    plan: Plan,
    chosen: TrainingConfig | None = None,
    rows: int = 200,
    source: Source | None = None,
    **calls: Any,
) -> tuple[Trained, list[int]]:
    chosen = chosen or config(hidden=(4,))
    blocks: list[int] = []
    calls.setdefault("on_block", blocks.append)
    features, labels = records(rows, 6)
    trained = train(
        build(chosen, 6),
        features,
        labels,
        plan=plan,
        config=chosen,
        source=source or seeded_source(3, allow_seeded=True),
        **calls,
    )
    return trained, blocks


def a_plan(**chosen: Any) -> Plan:
    fields: dict[str, Any] = {
        "rows": 200,
        "sampling": WHOLE // 10,
        "steps": 50,
        "noise_multiplier": 1.0,
        "max_grad_norm": CLIP,
    }
    return Plan(**{**fields, **chosen})


def test_blocks_are_announced_before_they_run() -> None:
    order: list[tuple[str, int]] = []
    trained, _ = run(
        plan=a_plan(),
        on_block=lambda steps: order.append(("write-ahead", steps)),
        on_progress=lambda point: order.append(("done", point.step)),
        block=20,
    )
    assert order == [
        ("write-ahead", 20),
        ("done", 20),
        ("write-ahead", 20),
        ("done", 40),
        ("write-ahead", 10),
        ("done", 50),
    ]
    assert (trained.executed, trained.stopped) == (50, False)


def test_a_refused_block_does_not_run() -> None:
    seen: list[Progress] = []

    def ledger(steps: int) -> None:
        if seen:
            raise RuntimeError(f"no lease for {steps}")

    with pytest.raises(RuntimeError, match="no lease"):
        run(plan=a_plan(), on_block=ledger, on_progress=seen.append, block=20)
    assert [point.step for point in seen] == [20]


def test_cancel_stops_between_blocks() -> None:
    answers = iter([False, False, True])
    trained, blocks = run(plan=a_plan(), cancelled=lambda: next(answers), block=20)
    assert (trained.executed, trained.stopped, blocks) == (40, True, [20, 20])


def test_empty_batches_are_steps() -> None:
    trained, blocks = run(plan=a_plan(sampling=1, steps=5, noise_multiplier=0.01), block=5)
    assert (trained.executed, blocks) == (5, [5])
    assert all(bool(torch.isfinite(value).all()) for value in trained.state.values())


def test_the_divisor_is_public() -> None:
    """The same draws over fewer stored rows are divided by the same constant (trap T7)."""
    plan = a_plan(sampling=WHOLE, noise_multiplier=0.0, guarantee=Guarantee.PUBLIC_DATA, steps=1)
    chosen = config(
        model=ModelKind.LINEAR, hidden=(), learning_rate=1.0, momentum=0.0, average_last=0.0
    )
    start = build(chosen, 6)
    features, labels = records(120, 6)
    total = clipped(start, features, labels)[1:]
    trained, _ = run(plan=plan, chosen=chosen, rows=120)
    before = torch.cat([p.detach().reshape(-1) for p in start.parameters()])
    after = torch.cat([value.reshape(-1) for value in trained.state.values()])
    np.testing.assert_allclose((before - after).numpy(), total / 200, rtol=1e-3, atol=1e-6)


def test_noise_has_the_planned_size() -> None:
    plan = a_plan(sampling=1, noise_multiplier=3.0, steps=1)
    chosen = config(hidden=(400,), learning_rate=1.0, momentum=0.0, average_last=0.0)
    trained, _ = run(plan=plan, chosen=chosen)
    start = build(chosen, 6).state_dict()
    moved = torch.cat([(trained.state[name] - start[name]).reshape(-1) for name in start])
    assert float(moved.std()) == pytest.approx(3.0 * CLIP / plan.divisor, rel=0.05)


def test_the_loss_curve_is_noisy_and_says_how_much() -> None:
    plan = a_plan(sampling=WHOLE, noise_multiplier=0.5, steps=40)
    still = config(hidden=(4,), learning_rate=1e-9, average_last=0.0)
    features, labels = records(200, 6)
    losses_of_all = binary_loss(build(still, 6)(features), labels).detach()
    exact = float(losses_of_all.clamp(max=LOSS_CEILING).mean())
    trained, _ = run(plan=plan, chosen=still, block=1)
    losses = np.array([point.loss for point in trained.curve])
    assert losses.std() == pytest.approx(trained.curve[0].loss_error, rel=0.4)
    assert losses.mean() == pytest.approx(exact, abs=5 * trained.curve[0].loss_error / 6)


def test_averaging_is_the_mean_of_the_last_weights() -> None:
    last, _ = run(plan=a_plan(steps=8), chosen=config(hidden=(4,), average_last=0.0))
    mean, _ = run(plan=a_plan(steps=8), chosen=config(hidden=(4,), average_last=0.5))
    assert any(not torch.equal(last.state[name], mean.state[name]) for name in last.state)
    one, _ = run(plan=a_plan(steps=8), chosen=config(hidden=(4,), average_last=1 / 8))
    for name in last.state:
        torch.testing.assert_close(one.state[name], last.state[name])


def test_the_network_is_left_plain() -> None:
    chosen = config(hidden=(4,))
    network = build(chosen, 6)
    features, labels = records(50, 6)
    train(
        network,
        features,
        labels,
        plan=a_plan(steps=2),
        config=chosen,
        source=seeded_source(1, allow_seeded=True),
        on_block=lambda _: None,
    )
    assert set(network.state_dict()) == set(build(chosen, 6).state_dict())
    assert not any(module._forward_hooks for module in network.modules())


def test_divergence_is_an_error() -> None:
    with pytest.raises(EngineError) as caught:
        run(plan=a_plan(), chosen=config(hidden=(4,), learning_rate=1e38))
    assert caught.value.stable_code == "engine.diverged"


@pytest.mark.parametrize("rows", [201, 400])
def test_more_rows_than_the_plan_knows(rows: int) -> None:
    with pytest.raises(EngineError) as caught:
        run(plan=a_plan(), rows=rows)
    assert caught.value.stable_code == "engine.shape"


def test_initial_weights_follow_the_public_seed_alone() -> None:
    torch.manual_seed(5)
    first = build(config(init_seed=1), 6).state_dict()
    untouched = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), untouched)
    again, other = build(config(init_seed=1), 6), build(config(init_seed=2), 6)
    assert all(torch.equal(first[name], value) for name, value in again.state_dict().items())
    assert not torch.equal(first["0.weight"], other.state_dict()["0.weight"])
