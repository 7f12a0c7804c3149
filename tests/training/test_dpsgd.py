"""The engine against a naive loop, its sensitivity, its bad records, and the order of its calls."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.factories.engine import CLIP, clipped, records, vector_of_one
from training.clipping import WATCHED, watched_units
from training.config import Guarantee, ModelKind, Optimizer, Plan, TrainingConfig
from training.dpsgd import Progress, Snapshot, Trained, stalled, train
from training.errors import EngineError
from training.mechanisms import WHOLE
from training.networks import build
from training.randomness import Secret, seeded_secret


def config(**chosen: Any) -> TrainingConfig:
    return TrainingConfig(epsilon=1, delta=1e-5, features="f", **chosen)


def run(
    *,
    plan: Plan,
    chosen: TrainingConfig | None = None,
    rows: int = 200,
    secret: Secret | None = None,
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
        secret=secret or seeded_secret(3, allow_seeded=True),
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


def test_a_run_that_stalls_ends_with_its_model_and_pays_no_more() -> None:
    """Nothing is learned at such a rate; the losses that decide are those that were released."""
    chosen = config(hidden=(4,), learning_rate=1e-9, patience=2)
    trained, blocks = run(plan=a_plan(), chosen=chosen, block=5)
    assert (trained.executed, trained.stopped) == (5 * len(trained.curve), False)
    assert trained.executed < 50
    assert sum(blocks) == trained.executed
    assert stalled(trained.curve, 2)
    assert not stalled(trained.curve[:-1], 2)
    kept: list[Snapshot] = []
    run(plan=a_plan(), chosen=chosen, block=5, on_kept=lambda take: kept.append(take()))
    again, more = run(plan=a_plan(), chosen=chosen, block=5, after=kept[-1], paid=trained.executed)
    assert (again.executed, more) == (trained.executed, [])


@pytest.mark.parametrize(
    ("losses", "patience", "said"),
    [
        ([0.7, 0.7, 0.7, 0.7], 0, False),
        ([0.7, 0.7], 2, False),
        ([0.7, 0.7, 0.7], 2, True),
        ([0.7, 0.69, 0.68], 2, True),  # within the noise
        ([0.7, 0.6, 0.5], 2, False),
        ([0.7, 0.5, 0.6, 0.6], 2, True),
        ([0.7, 0.5, 0.6, 0.3], 2, False),
    ],
)
def test_a_loss_is_lower_only_by_more_than_its_noise(
    losses: list[float], patience: int, *, said: bool
) -> None:
    curve = [Progress(n, 9, loss, 0.05) for n, loss in enumerate(losses)]
    assert stalled(curve, patience) is said


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
    total = clipped(start, features, labels)[WATCHED:]
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


def test_the_curves_are_noisy_and_say_how_much() -> None:
    plan = a_plan(sampling=WHOLE, noise_multiplier=0.5, steps=40)
    still = config(hidden=(4,), learning_rate=1e-9, average_last=0.0)
    features, labels = records(200, 6)
    ones = np.array(
        [
            vector_of_one(build(still, 6), x, y)[:WATCHED]
            for x, y in zip(features, labels, strict=True)
        ]
    )
    exact = (ones / watched_units(CLIP)).mean(axis=0)
    trained, _ = run(plan=plan, chosen=still, block=1)
    assert 0 < exact[1] < 1  # some are clipped, some are not
    for true, figure in zip(exact, ("loss", "clip_fraction", "gradient_norm"), strict=True):
        shown = np.array([getattr(point, figure) for point in trained.curve])
        error = getattr(trained.curve[0], f"{figure}_error")
        assert shown.std() == pytest.approx(error, rel=0.4), figure
        assert shown.mean() == pytest.approx(true, abs=5 * error / 6), figure


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
        secret=seeded_secret(1, allow_seeded=True),
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


@pytest.mark.parametrize("optimizer", list(Optimizer))
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_what_goes_on_from_a_snapshot_ends_as_if_it_had_not_stopped(
    optimizer: Optimizer, stop: int
) -> None:
    chosen = config(hidden=(4,), optimizer=optimizer, learning_rate=0.01, average_last=0.5)
    secret = Secret(b"s" * 32)
    whole, charged = run(plan=a_plan(), chosen=chosen, secret=secret)
    kept: list[Snapshot] = []
    answers = iter([False] * stop + [True])
    run(
        plan=a_plan(), chosen=chosen, secret=secret, cancelled=lambda: next(answers),
        on_kept=lambda take: kept.append(take()),
    )  # fmt: skip
    # The dead worker had paid for one more block than it kept.
    paid = min(kept[-1].step + 20, 50)
    again, more = run(plan=a_plan(), chosen=chosen, secret=secret, after=kept[-1], paid=paid)
    assert again.executed == whole.executed == 50
    assert paid + sum(more) == sum(charged)
    assert again.curve == whole.curve
    for name, value in whole.state.items():
        assert torch.equal(value, again.state[name]), name


def test_another_secret_is_another_run() -> None:
    one, other = (run(plan=a_plan(), secret=Secret(bytes([n]) * 32))[0] for n in range(2))
    assert not torch.equal(one.state["0.weight"], other.state["0.weight"])


def test_a_snapshot_of_another_network_is_refused() -> None:
    kept: list[Snapshot] = []
    run(plan=a_plan(), on_kept=lambda take: kept.append(take()))
    with pytest.raises(EngineError) as caught:
        run(plan=a_plan(), chosen=config(hidden=(5,)), after=kept[0])
    assert caught.value.stable_code == "engine.snapshot_differs"


def test_nothing_is_shown_before_it_is_kept() -> None:
    order: list[str] = []
    run(
        plan=a_plan(steps=20),
        on_block=lambda _: order.append("paid"),
        on_kept=lambda _: order.append("kept"),
        on_progress=lambda _: order.append("shown"),
    )
    assert order == ["paid", "kept", "shown"]
