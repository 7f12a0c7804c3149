"""Draws of each kind of sampler, and what the structural test says of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from training.auditing.participation import participation
from training.config import Plan
from training.errors import ConfigError
from training.mechanisms import WHOLE

STEPS, M = 60, 400
Draw = Callable[[np.random.Generator], Any]


def plan(sampling: int = WHOLE // 4) -> Plan:
    return Plan(rows=M, sampling=sampling, steps=STEPS, noise_multiplier=1.0, max_grad_norm=1.0)


def poisson(draw: np.random.Generator, rate: float = 0.25) -> Any:
    return (draw.random((STEPS, M)) < rate) * 0.99


def shuffled(draw: np.random.Generator) -> Any:
    """15 epochs of 4 batches."""
    turns = [draw.permutation(M) // (M // 4) for _ in range(STEPS // 4)]
    return np.concatenate([np.arange(4)[:, None] == turn for turn in turns]) * 0.99


def fixed_size(draw: np.random.Generator) -> Any:
    """Each batch a fresh set of M/4: records look like coins, batches do not."""
    return np.array([draw.permutation(M) < M // 4 for _ in range(STEPS)]) * 0.99


def same_coins(draw: np.random.Generator) -> Any:
    """Batches look like coins, records do not."""
    return np.repeat(poisson(draw)[:1], STEPS, axis=0)


def favorites(draw: np.random.Generator) -> Any:
    """Half the records have a coin of 0.2, half one of 0.3: batches look as they should."""
    return (draw.random((STEPS, M)) < np.repeat([0.2, 0.3], M // 2)) * 0.99


@pytest.mark.parametrize(
    ("sampler", "weak"),
    [
        (poisson, set()),
        (shuffled, {"records", "batches"}),
        (fixed_size, {"batches"}),
        (same_coins, {"records"}),
        (favorites, {"records"}),
        (lambda draw: poisson(draw, 0.5), {"rate", "records", "batches"}),
        (lambda draw: poisson(draw, 0.27), {"rate"}),
    ],
)
def test_each_sampler_fails_where_it_differs_from_coins(sampler: Draw, weak: set[str]) -> None:
    found = participation(sampler(np.random.default_rng(1)), plan())
    failed = {name for name in ("rate", "records", "batches") if getattr(found, name) < 1e-4}
    assert weak <= failed
    assert failed == weak or sampler is same_coins  # one batch too large is sixty too large
    assert found.poisson is not bool(weak)
    assert found.within_sensitivity


def test_coins_give_even_p_values() -> None:
    """A p-value below 0.1 about once in ten: the χ² approximations hold."""
    low = {"rate": 0, "records": 0, "batches": 0}
    for seed in range(150):
        found = participation(poisson(np.random.default_rng(seed)), plan())
        for name in low:
            low[name] += getattr(found, name) < 0.1
    assert all(5 <= count <= 27 for count in low.values()), low


@pytest.mark.parametrize(("weight", "holds"), [(1.0, True), (1.0001, False), (1.99, False)])
def test_nobody_may_weigh_more_than_c(weight: float, holds: bool) -> None:  # noqa: FBT001
    contributed = poisson(np.random.default_rng(1))
    contributed[3, np.flatnonzero(contributed[3])[0]] = weight
    assert participation(contributed, plan()).within_sensitivity is holds


def test_everybody_always_is_a_plan_too() -> None:
    everybody = np.ones((STEPS, M))
    assert participation(everybody, plan(WHOLE)).poisson
    everybody[0, 0] = 0.0
    assert not participation(everybody, plan(WHOLE)).poisson


def test_another_shape_is_refused() -> None:
    with pytest.raises(ConfigError):
        participation(np.ones((M, STEPS)), plan())
