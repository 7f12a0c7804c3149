"""Boosted additive models: sensitivity, accounting, going on, and what they learn."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from governance.scoping import tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import make_version, trained
from training import ledger
from training.accounting import calibrate
from training.boosting import _State, boost
from training.config import LOSS_CEILING, LOSS_SHARE, ModelKind, Plan, TrainingConfig
from training.dpsgd import Snapshot, Trained
from training.errors import EngineError
from training.features import Binned, Category, Hashed
from training.mechanisms import WHOLE, Purpose
from training.models import Budget
from training.randomness import seeded_secret
from training.recomputation import recompute
from training.units import Units

BLOCKS = (Binned("x", 0, 1), Category("c", ("a", "b")), Hashed("h", 4))
WIDTH = 33 + 3 + 4
ROWS = 400


def rows(count: int = ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(2)
    x, c = generator.random(count), generator.integers(0, 2, count)
    table: dict[str, list[str | None]] = {
        "x": [str(value) if i % 9 else "" for i, value in enumerate(x)],
        "c": ["ab"[value] for value in c],
        "h": [None if i % 5 == 0 else f"v{i % 7}" for i in range(count)],
    }
    encoded = np.concatenate([block.encode(table[block.name]) for block in BLOCKS], axis=1)
    labels = (x + c + generator.normal(0, 0.3, count) > 1).astype(np.float32)
    return torch.from_numpy(encoded), torch.from_numpy(labels)


def plan(**changed: Any) -> Plan:
    given = {"rows": ROWS, "sampling": WHOLE, "steps": 90, "noise_multiplier": 2.0}
    return Plan(**{**given, "max_grad_norm": 1.0, **changed})


def config(**changed: Any) -> TrainingConfig:
    return TrainingConfig.for_rows(
        ROWS, epsilon=1, delta=1e-5, features="", model=ModelKind.EBM, **changed
    )


def run(made: Plan, **given: Any) -> tuple[nn.Sequential, Trained]:
    network = nn.Sequential(nn.Linear(WIDTH, 1))
    features, labels = given.pop("rows", rows())
    done = boost(
        network,
        features,
        labels,
        **{
            "blocks": BLOCKS,
            "plan": made,
            "config": config(),
            "secret": seeded_secret(4, allow_seeded=True),
            "histogram_noise": 1.0,
            "on_block": lambda _: None,
            **given,
        },
    )
    return network, done


def table_of(network: nn.Sequential) -> torch.Tensor:
    weight: torch.Tensor = network.state_dict()["0.weight"]
    return weight.squeeze()


def vectors(features: torch.Tensor, labels: torch.Tensor, units: Units | None = None) -> Any:
    """What each step sums before noise, after some tables were filled."""
    state = _State(nn.Sequential(nn.Linear(WIDTH, 1)), features, labels, BLOCKS, units)
    state.restore(np.random.default_rng(1).normal(0, 3, WIDTH))
    state.settle()
    found = []
    for place in range(len(BLOCKS)):
        sums, loss = state.sums(place)
        found.append(np.append(sums, loss))
    return found


@pytest.mark.parametrize("whose", [None, "one person"])
def test_a_unit_moves_each_sum_by_at_most_c(whose: str | None) -> None:
    """A record, or a person with forty: blanked, the labels turned to have the largest residual."""
    features, labels = rows()
    for wrong in (0.0, 1.0):
        labels[:40] = wrong
        gone = 40 if whose else 1
        units = Units.of(np.r_[np.zeros(40), np.arange(1, ROWS - 39)]) if whose else None
        rest = Units.of(np.arange(ROWS - gone)) if whose else None
        with_it = vectors(features, labels, units)
        without = vectors(features[gone:], labels[gone:], rest)
        for a, b in zip(with_it, without, strict=True):
            assert 0 < np.linalg.norm(a - b) <= 1


def test_without_noise_the_shape_is_learned() -> None:
    network, done = run(plan(noise_multiplier=1e-6, steps=600), histogram_noise=1e-6)
    features, labels = rows()
    with torch.no_grad():
        right = ((network(features).squeeze() > 0).float() == labels).float().mean()
    assert right > 0.88
    assert (done.executed, done.stopped) == (600, False)
    assert done.curve[-1].loss < done.curve[0].loss < math.log(2) + 0.1
    weights = table_of(network)
    assert weights[:8].mean() < weights[24:32].mean()  # of x, from low to high


def test_the_curve_is_the_loss_and_its_noise_is_told() -> None:
    """With noise the first block's loss differs by noise of the stated size."""
    _, quiet = run(plan(noise_multiplier=1e-6), histogram_noise=1e-6)
    features, labels = rows()
    first = float(np.logaddexp(0, 0))
    assert quiet.curve[0].loss == pytest.approx(first, abs=0.1)
    steps = quiet.curve[0].step
    unit = ROWS * LOSS_SHARE / LOSS_CEILING
    errors = [
        run(plan(), secret=seeded_secret(seed, allow_seeded=True), rows=(features, labels))[1]
        for seed in range(12)
    ]
    assert errors[0].curve[0].loss_error == pytest.approx(2.0 / unit / math.sqrt(steps))
    spread = np.std([one.curve[0].loss for one in errors])
    assert 0.4 < spread / errors[0].curve[0].loss_error < 1.8


def test_it_goes_on_as_if_it_had_not_stopped() -> None:
    """Killed after any block: the same tables to the last bit, and each step paid for once."""
    kept: list[Snapshot] = []
    paid: list[int] = []
    whole, _ = run(plan(), on_kept=lambda take: kept.append(take()), on_block=paid.append)
    assert sum(paid) == 90
    for snapshot in (kept[0], kept[7], kept[-1]):
        again: list[int] = []
        network, done = run(plan(), after=snapshot, paid=snapshot.step, on_block=again.append)
        assert torch.equal(table_of(network), table_of(whole))
        assert (done.executed, sum(again)) == (90, 90 - snapshot.step)
        assert [point.step for point in done.curve] == [3 * n for n in range(1, 31)]


def test_a_wish_to_stop_is_asked_before_each_block() -> None:
    answers = iter([False, False, True])
    _, done = run(plan(), cancelled=lambda: next(answers))
    assert (done.executed, done.stopped) == (6, True)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"plan": plan(sampling=WHOLE // 2)}, "engine.plan"),
        ({"plan": plan(max_grad_norm=2.0)}, "engine.plan"),
        ({"blocks": BLOCKS[:2]}, "engine.shape"),
        ({"units": Units.of(np.zeros(3, np.int64))}, "engine.shape"),
        (
            {"after": Snapshot(3, dict.fromkeys(("tables", "average"), torch.zeros(3)), ())},
            "engine.snapshot_differs",
        ),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], code: str) -> None:
    if "after" in given:
        given["after"].tensors["count"] = torch.tensor(0)
    with pytest.raises(EngineError) as caught:
        run(given.pop("plan", plan()), **given)
    assert caught.value.stable_code == code


@pytest.mark.django_db
def test_a_run_of_it_is_a_run_like_any_other() -> None:
    house: House = make_house()
    version = trained(house, make_version(house), model="ebm", config={})
    kinds = {one["name"]: one["kind"] for one in version.card["preprocessing"]["features"]}
    assert kinds == {"age": "binned", "hours": "binned", "city": "category"}
    told = version.card["training"]
    assert told["plan"]["sample_rate"] == "1.0"
    assert told["plan"]["steps"] == 180 == told["executed_steps"]
    assert [paid["purpose"] for paid in told["plan"]["paid"]] == ["histogram"]
    sigma = calibrate(
        1.0, 1e-5, sampling=WHOLE, steps=180, before=Plan.from_dict(told["plan"]).paid
    )
    assert float(told["plan"]["noise_multiplier"]) == sigma
    assert 0.9 < float(version.card["privacy"]["epsilon_spent"]) <= 1.0
    with tenant_scope(house.id):
        assert version.run is not None
        ahead = ledger.line(version.run).ahead
        assert [one.mechanism.purpose for one in ahead].count(Purpose.HISTOGRAM) == 1
        budget = Budget.objects.get()
        said = ledger.statement(budget)
        assert recompute(budget).agrees(said.spent, said.spent + said.reserved)
