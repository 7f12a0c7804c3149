"""What was asked and what will run: validated, frozen, and the same after JSON."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from audit.canonical import canonical
from training.config import Guarantee, ModelKind, Optimizer, Plan, TrainingConfig
from training.errors import ConfigError
from training.mechanisms import WHOLE, Mechanism
from training.randomness import seeded_source

ASKED: dict[str, Any] = {"epsilon": 1.0, "delta": 1e-5, "features": "f" * 64}
PLAN = Plan(rows=1_000, sampling=WHOLE // 10, steps=20, noise_multiplier=2.5, max_grad_norm=1.5)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("epsilon", 0.0, "run.epsilon_invalid"),
        ("epsilon", -1.0, "run.epsilon_invalid"),
        ("epsilon", math.nan, "run.epsilon_invalid"),
        ("epsilon", math.inf, "run.epsilon_invalid"),
        ("epsilon", "much", "run.epsilon_invalid"),
        ("epsilon", True, "run.epsilon_invalid"),
        ("delta", 0, "run.delta_invalid"),
        ("delta", 1, "run.delta_invalid"),
        ("delta", math.nan, "run.delta_invalid"),
        ("model", "transformer", "run.model_invalid"),
        ("optimizer", "newton", "run.optimizer_invalid"),
        ("guarantee", "trust me", "run.guarantee_invalid"),
        ("hidden", [], "run.hidden_invalid"),
        ("hidden", [0], "run.hidden_invalid"),
        ("hidden", [1] * 9, "run.hidden_invalid"),
        ("hidden", "64", "run.hidden_invalid"),
        ("expected_batch", 0, "run.expected_batch_invalid"),
        ("expected_batch", 10.5, "run.expected_batch_invalid"),
        ("steps", 0, "run.steps_invalid"),
        ("steps", 2_000_000, "run.steps_invalid"),
        ("max_grad_norm", 0, "run.max_grad_norm_invalid"),
        ("learning_rate", math.inf, "run.learning_rate_invalid"),
        ("momentum", 1, "run.momentum_invalid"),
        ("average_last", 1.1, "run.average_last_invalid"),
        ("init_seed", -1, "run.init_seed_invalid"),
        ("adjacency", "replace-one", "run.adjacency_invalid"),
        ("views", 0, "run.views_invalid"),
        ("views", 17, "run.views_invalid"),
        ("view_noise", 0, "run.view_noise_invalid"),
        ("view_noise", "nan", "run.view_noise_invalid"),
        ("adversary", -1, "run.adversary_invalid"),
        ("adversary", "nan", "run.adversary_invalid"),
        ("patience", -1, "run.patience_invalid"),
        ("patience", 1_001, "run.patience_invalid"),
        ("unit", "household", "run.unit_invalid"),
        ("features", 7, "run.features_invalid"),
        ("lora_rank", 5, "run.lora_rank_invalid"),  # of an MLP
        ("lora_layers", "many", "run.lora_layers_invalid"),
    ],
)
def test_refused_with_a_pointer(field: str, value: object, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig.from_dict({**ASKED, field: value})
    assert caught.value.stable_code == code
    assert caught.value.pointer == f"/{field}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lora_rank", 0), ("lora_rank", 65), ("lora_layers", 0), ("lora_layers", 7),
        ("lora_alpha", 0), ("lora_alpha", math.nan), ("lora_alpha", math.inf), ("hidden", [4]),
    ],
)  # fmt: skip
def test_adapters_have_a_size(field: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig.from_dict({**ASKED, "model": "lora", "hidden": [], field: value})
    assert (caught.value.stable_code, caught.value.pointer) == (
        f"run.{field}_invalid", f"/{field}",
    )  # fmt: skip


def test_other_models_keep_their_digests() -> None:
    """What was stored before there were adapters reads, and is named, as it was."""
    assert not any(name.startswith("lora") for name in TrainingConfig(**ASKED).as_dict())


@pytest.mark.parametrize("missing", ["epsilon", "delta", "features"])
def test_missing(missing: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig.from_dict({name: ASKED[name] for name in ASKED if name != missing})
    assert caught.value.pointer == f"/{missing}"


def test_unknown_field_is_not_echoed() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig.from_dict({**ASKED, "11010518991231004X": 1})
    assert "11010518991231004X" not in json.dumps(caught.value.as_dict())


@pytest.mark.parametrize(
    "config",
    [
        TrainingConfig(**ASKED),
        TrainingConfig(**{**ASKED, "epsilon": 0.1, "delta": 1e-9}),
        TrainingConfig(**ASKED, model=ModelKind.LINEAR, hidden=(), optimizer=Optimizer.ADAMW),
        TrainingConfig(**ASKED, hidden=(128, 64), learning_rate=1 / 3),
        TrainingConfig(**ASKED, model=ModelKind.LORA, hidden=(), lora_rank=2, lora_alpha=1.5),
    ],
)
def test_round_trip(config: TrainingConfig) -> None:
    stored = json.loads(canonical(config.as_dict()))
    assert TrainingConfig.from_dict(stored) == config
    assert TrainingConfig.from_dict(stored).digest() == config.digest()


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAN.steps = 1  # type: ignore[misc] # that is the point


def test_defaults_know_only_the_row_count() -> None:
    large = TrainingConfig.for_rows(1_000_000, **ASKED)
    small = TrainingConfig.for_rows(400, **ASKED)
    linear = TrainingConfig.for_rows(400, **ASKED, model="linear", steps=7)
    assert (large.expected_batch, small.expected_batch) == (2_048, 100)
    assert (linear.model, linear.hidden, linear.steps) == (ModelKind.LINEAR, (), 7)
    adapted = TrainingConfig.for_rows(1_000_000, **ASKED, model="lora")
    assert (adapted.hidden, adapted.expected_batch) == ((), 256)


def test_plan_round_trip() -> None:
    plan = dataclasses.replace(PLAN, paid=(Mechanism(12.5),))
    assert Plan.from_dict(json.loads(canonical(plan.as_dict()))) == plan


@pytest.mark.parametrize(
    "change",
    [
        {"divisor": "1"},
        {"sample_rate": "0.5"},
        {"noise_multiplier": "0"},
        {"noise_multiplier": "NaN"},
        {"rows": 0},
        {"steps": "many"},
        {"guarantee": "none"},
        {"paid": [{}]},
    ],
)
def test_a_changed_plan_is_not_read(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Plan.from_dict({**PLAN.as_dict(), **change})


def test_one_plan_makes_sampler_noise_and_event() -> None:
    source = seeded_source(1, allow_seeded=True)
    draws = [len(PLAN.sample(source, PLAN.rows)) for _ in range(400)]
    assert np.mean(draws) == pytest.approx(PLAN.divisor, rel=0.02)
    # Poisson, not fixed size: the batch size varies like a binomial's.
    assert np.std(draws) == pytest.approx(math.sqrt(1_000 * 0.1 * 0.9), rel=0.2)
    assert np.std(PLAN.noise(source, 100_000)) == pytest.approx(2.5 * 1.5, rel=0.02)
    assert PLAN.event() == Mechanism(2.5, WHOLE // 10, 20)
    assert PLAN.event(3).steps == 3
    assert PLAN.with_steps(3).event() == PLAN.event(3)


def test_a_plan_without_guarantee_has_no_noise() -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(PLAN, guarantee=Guarantee.WAIVED)
    plain = dataclasses.replace(PLAN, guarantee=Guarantee.WAIVED, noise_multiplier=0.0)
    assert not plain.noise(seeded_source(1, allow_seeded=True), 5).any()
