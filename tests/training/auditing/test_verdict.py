"""The engine passes its audit; each way of breaking it fails, in the figure that should see it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from audit.canonical import canonical
from training.accounting import epsilon, make_plan, rdp_of
from training.auditing.canaries import Path
from training.auditing.verdict import Verdict, audit_engine
from training.clipping.sums import Bounds
from training.config import Plan, TrainingConfig
from training.dpsgd import train
from training.errors import ConfigError
from training.mechanisms import WHOLE
from training.randomness import Secret, seeded_secret

DELTA, STEPS = 1e-5, 50
Break = Callable[[pytest.MonkeyPatch], None]
both = pytest.mark.parametrize("path", Path)


def a_plan(asked: float) -> Plan:
    config = TrainingConfig(
        epsilon=asked,
        delta=DELTA,
        features="canaries",
        steps=STEPS,
        expected_batch=125,
        max_grad_norm=0.7,
    )
    return make_plan(config, 500)


def audited(
    asked: float, path: Path = Path.CLOSED, *, charged: int = STEPS, runs: int = 3
) -> Verdict:
    plan = a_plan(asked)
    claimed = epsilon(rdp_of(plan.with_steps(charged)), DELTA)
    secrets = [seeded_secret(seed, allow_seeded=True) for seed in range(runs)]
    return audit_engine(plan, claimed, DELTA, secrets, path)


def failed(verdict: Verdict) -> set[str]:
    return {name for name, holds in verdict.checks.items() if not holds}


@both
@pytest.mark.parametrize("asked", [1.0, 8.0])
def test_the_engine_passes(asked: float, path: Path) -> None:
    found = audited(asked, path, runs=6)
    assert found.passes
    assert failed(found) == set()
    # The bounds are worth passing: each says more than the one before it.
    bounds = (found.one_run.epsilon, found.one_run_curve.epsilon, found.gaussian_fit.epsilon)
    assert 0.1 * asked < bounds[0] < bounds[1] < bounds[2] < asked
    assert found.gaussian_fit.epsilon > 0.45 * asked


def half_the_noise(patch: pytest.MonkeyPatch) -> None:
    real = Plan.noise
    patch.setattr(Plan, "noise", lambda self, source, count: real(self, source, count) / 2)


def no_clipping(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Bounds, "weights", lambda _, norms, *__: torch.ones_like(norms))


def drawn_twice(patch: pytest.MonkeyPatch) -> None:
    """A record that is in a batch is in it two times, each clipped to C."""
    real = Plan.sample
    patch.setattr(Plan, "sample", lambda self, source, rows: np.repeat(real(self, source, rows), 2))


def doubled_probability(patch: pytest.MonkeyPatch) -> None:
    def sample(self: Plan, source: Any, rows: int) -> Any:
        return np.flatnonzero(source.bernoulli(min(WHOLE, 2 * self.sampling), rows))

    patch.setattr(Plan, "sample", sample)


def shuffled(patch: pytest.MonkeyPatch) -> None:
    """Batches of a permutation, a new one when it is used up; the plan still says Poisson."""
    left: dict[int, list[int]] = {}

    def sample(self: Plan, source: Any, rows: int) -> Any:
        size = round(rows * self.sample_rate)
        if len(left.get(rows, [])) < size:
            left[rows] = np.argsort(source.gaussian(rows)).tolist()
        batch, left[rows] = left[rows][:size], left[rows][size:]
        return np.array(batch)

    patch.setattr(Plan, "sample", sample)


def the_same_coins(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Secret, "step", lambda self, _: self.stream("step 1"))


def nothing_paid(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("training.auditing.canaries.train", partial(train, paid=STEPS))


BOUNDS = {"one_run", "one_run_curve", "gaussian_fit"}


@pytest.mark.slow
@both
@pytest.mark.parametrize(
    ("broken", "seen", "missed"),
    [
        (half_the_noise, {"gaussian_fit"}, {"one_run", "sensitivity", "poisson", "paid"}),
        (no_clipping, {*BOUNDS, "sensitivity"}, {"poisson", "paid"}),
        (drawn_twice, {"gaussian_fit", "sensitivity"}, {"one_run", "poisson", "paid"}),
        (doubled_probability, {"gaussian_fit", "poisson"}, {"one_run", "sensitivity", "paid"}),
        # No bound on ε sees these: final weights hardly change. The draws tell, and the ledger.
        (shuffled, {"poisson"}, {*BOUNDS, "sensitivity", "paid"}),
        (the_same_coins, {"poisson"}, {*BOUNDS, "sensitivity", "paid"}),
        (nothing_paid, {"paid"}, {*BOUNDS, "sensitivity", "poisson"}),
    ],
)
def test_a_broken_engine_fails_where_it_is_broken(
    broken: Break, seen: set[str], missed: set[str], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a check misses is as much part of what it can show as what it sees."""
    broken(monkeypatch)
    found = audited(1.0, path, runs=6)  # in which the right engine has no false alarm
    assert seen <= failed(found)
    assert not missed & failed(found)
    assert not found.passes


@pytest.mark.parametrize("broken", [half_the_noise, drawn_twice, doubled_probability])
def test_the_fit_sees_a_doubled_signal_at_a_large_claim_too(
    broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch)
    found = audited(8.0)
    assert found.gaussian_fit.epsilon > found.claimed > found.one_run.epsilon


def test_an_accountant_that_forgets_steps_is_caught() -> None:
    assert "gaussian_fit" in failed(audited(4.0, charged=STEPS // 4))


def test_a_verdict_is_canonical_json() -> None:
    shown = audited(1.0, runs=1).as_dict()
    assert canonical(shown)
    assert 0.999 < float(str(shown["epsilon_claimed"])) <= 1.0
    assert (shown["canaries"], shown["runs"], shown["pass"]) == (500, 1, "closed")
    assert (shown["delta"], shown["confidence"]) == ("0.00001", "0.95")


@pytest.mark.parametrize(
    ("claimed", "delta", "runs", "code"),
    [
        (0.0, DELTA, 1, "run.epsilon_invalid"),
        (1.0, 1.0, 1, "run.delta_invalid"),
        (1.0, DELTA, 0, "auditing.runs_invalid"),
    ],
)
def test_what_makes_no_sense_is_refused(claimed: float, delta: float, runs: int, code: str) -> None:
    secrets = [seeded_secret(seed, allow_seeded=True) for seed in range(runs)]
    with pytest.raises(ConfigError) as refused:
        audit_engine(a_plan(1.0), claimed, delta, secrets)
    assert refused.value.stable_code == code
