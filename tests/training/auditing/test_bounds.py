"""Formulas against other people's code, and bounds against mechanisms whose ε is known."""

import math
from typing import Any

import dp_accounting
import numpy as np
import pytest
from scipy import stats

from training.auditing.bounds import (
    Guesses,
    _curve_refuted,
    _largest,
    clopper_pearson,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_fit,
    guess,
    one_run,
    one_run_curve,
    one_run_p_value,
)
from training.errors import ConfigError

DELTA = 1e-5


def gaussian_scores(mu: float, canaries: int, seed: int) -> tuple[Any, Any]:
    """What a μ-GDP mechanism tells of each canary."""
    draw = np.random.default_rng(seed)
    included = draw.random(canaries) < 0.5
    return draw.standard_normal(canaries) + mu * included, included


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 30), (3, 30), (15, 30), (29, 30), (30, 30)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_clopper_pearson_is_scipy_s_exact_interval(k: int, n: int, confidence: float) -> None:
    found = clopper_pearson(k, n, confidence)
    exact = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_clopper_pearson_says_nothing_without_a_trial() -> None:
    found = clopper_pearson(0, 0)
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("epsilon", "mu", "delta"),
    # δ(1) at μ = 1 and δ(0) at μ = 2 from the definition: 2Φ(μ/2) - 1 is the latter.
    [(1.0, 1.0, 0.126936737507), (0.0, 2.0, 0.682689492137), (3.0, 0.0, 0.0)],
)
def test_gaussian_delta_has_known_values(epsilon: float, mu: float, delta: float) -> None:
    assert gaussian_delta(epsilon, mu) == pytest.approx(delta, abs=1e-9)


@pytest.mark.parametrize("mu", [0.05, 0.3, 1.0, 3.0, 12.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-5, 1e-9])
def test_gaussian_epsilon_is_that_of_dp_accounting(mu: float, delta: float) -> None:
    assert gaussian_epsilon(mu, delta) == pytest.approx(
        dp_accounting.get_epsilon_gaussian(1 / mu, delta), abs=1e-6
    )


def test_no_distance_is_no_epsilon() -> None:
    assert gaussian_epsilon(-0.5, DELTA) == gaussian_epsilon(0.0, DELTA) == 0.0


def test_guesses_are_the_two_ends() -> None:
    scores = np.array([5.0, -3.0, 0.1, 4.0, -2.0, 0.0, 0.2, 0.3, 0.4, 0.5])
    included = scores > 3.0
    included[4] = True  # a wrong one: it looks excluded
    assert guess(scores, included, 0.2) == Guesses(10, 2, 2)
    assert guess(scores, included, 0.4) == Guesses(10, 4, 3)
    assert guess(scores, included, 0.05) == Guesses(10, 0, 0)


@pytest.mark.parametrize("right", [0, 11, 25, 40])
@pytest.mark.parametrize("epsilon", [0.0, 0.7, 3.0])
def test_without_delta_the_p_value_is_a_binomial_tail(right: int, epsilon: float) -> None:
    accuracy = math.exp(epsilon) / (1 + math.exp(epsilon))
    found = one_run_p_value(Guesses(100, 40, right), epsilon, 1e-300)
    tail = sum(
        math.comb(40, k) * accuracy**k * (1 - accuracy) ** (40 - k) for k in range(right, 41)
    )
    assert found == pytest.approx(tail, rel=1e-9)


@pytest.mark.parametrize(("right", "delta"), [(30, 1e-3), (38, 1e-5), (40, 1e-2)])
def test_delta_adds_what_the_theorem_adds(right: int, delta: float) -> None:
    law = stats.binom(40, 1 / (1 + math.exp(-1.0)))
    steepest = max(
        sum(law.pmf(k) for k in range(right - i, right)) / i for i in range(1, right + 1)
    )
    found = one_run_p_value(Guesses(100, 40, right), 1.0, delta)
    assert found == pytest.approx(min(1.0, law.sf(right - 1) + 200 * delta * steepest), rel=1e-9)


def test_one_run_bound_by_hand() -> None:
    """All of r = 20 guesses right at a risk of 1 %: (e^ε/(1 + e^ε))^20 = 0.01."""
    scores, included = np.arange(40.0), np.arange(40) >= 20
    accuracy = 0.01 ** (1 / 20)
    found = one_run(scores, included, 1e-15)
    assert found.guesses == Guesses(40, 20, 20)
    assert found.epsilon == pytest.approx(math.log(accuracy / (1 - accuracy)), abs=1e-4)


def test_the_one_run_bound_holds_for_randomized_response() -> None:
    """The worst ε-DP mechanism: scores are coins flipped with probability 1/(1 + e^ε)."""
    above, bounds = 0, []
    for seed in range(30):
        draw = np.random.default_rng(seed)
        included = draw.random(1_000) < 0.5
        lies = draw.random(1_000) < 1 / (1 + math.e)
        said = (included ^ lies) + draw.random(1_000) / 2  # ties broken by chance
        bounds.append(one_run(said, included, 1e-15).epsilon)
        above += bounds[-1] > 1.0
    assert above <= 4  # 5 % of 30 is 1.5; more than 4 has a probability below 2 %
    assert np.median(bounds) > 0.75  # and it is a bound worth having


def test_the_curve_bound_holds_for_a_gaussian_and_is_the_stronger_one() -> None:
    known = gaussian_epsilon(1.0, DELTA)
    found = []
    for seed in range(12):
        scores, included = gaussian_scores(1.0, 2_000, seed)
        curve = one_run_curve(scores, included, DELTA).epsilon
        assert curve > one_run(scores, included, DELTA).epsilon
        found.append(curve)
    assert sum(one > known for one in found) <= 2
    assert np.median(found) > 0.5 * known


@pytest.mark.parametrize(
    ("guesses", "risk", "epsilon"),
    [
        ((1_000, 1_000, 600), 0.05, 0.5835),
        ((1_000, 100, 80), 0.05, 1.4022),
        ((1_000, 100, 80), 0.01, 1.0746),
        ((1_000, 100, 100), 0.05, 5.5490),
        ((2_000, 200, 150), 0.01, 0.9337),
        ((400, 400, 395), 0.05, 7.3655),
        ((500, 50, 26), 0.05, 0.0),
    ],
)
def test_the_curve_bound_is_that_of_jax_privacy(
    guesses: tuple[int, int, int], risk: float, epsilon: float
) -> None:
    """Figures of its `_epsilon_one_run_fdp` (m, guesses, correct) at δ = 1e-5."""
    mu = _largest(lambda mu: _curve_refuted(Guesses(*guesses), mu, risk))
    assert gaussian_epsilon(mu, DELTA) == pytest.approx(epsilon, abs=5e-4)


def test_the_fit_accuses_an_exact_claim_once_in_twenty() -> None:
    known = gaussian_epsilon(1.0, DELTA)
    above = sum(
        gaussian_fit(*gaussian_scores(1.0, 500, seed), DELTA).epsilon > known
        for seed in range(1_000)
    )
    assert 30 <= above <= 75  # 50 expected, standard deviation 7


def test_the_fit_finds_mu() -> None:
    found = gaussian_fit(*gaussian_scores(2.0, 20_000, 3), DELTA)
    assert found.mu == pytest.approx(2.0, abs=0.05)
    assert found.mu - found.mu_low == pytest.approx(1.645 * math.sqrt(6 / 20_000), rel=0.03)
    assert found.epsilon == pytest.approx(gaussian_epsilon(found.mu_low, DELTA))


def test_scores_without_noise_are_as_bad_as_can_be_told() -> None:
    included = np.arange(1_000) % 2 == 0
    scores = included.astype(float)
    assert gaussian_fit(scores, included, DELTA).epsilon > 1_000
    assert one_run(scores, included, DELTA).epsilon > 4
    assert one_run_curve(scores, included, DELTA).epsilon > 6


def test_scores_that_say_nothing_bound_nothing() -> None:
    scores, included = gaussian_scores(0.0, 1_000, 5)
    assert one_run(scores, included, DELTA).epsilon < 0.2
    assert one_run_curve(scores, included, DELTA).epsilon < 0.3
    assert gaussian_fit(scores, included, DELTA).epsilon < 0.4


SCORES, COINS = np.arange(4.0), np.array([True, False, True, False])


@pytest.mark.parametrize(
    "refused",
    [
        lambda: clopper_pearson(3, 2),
        lambda: clopper_pearson(-1, 2),
        lambda: clopper_pearson(1, 2, 1.0),
        lambda: Guesses(10, 11, 1),
        lambda: Guesses(10, 5, 6),
        lambda: guess(SCORES, COINS[:3], 0.5),
        lambda: guess(SCORES[:0], COINS[:0], 0.5),
        lambda: guess(SCORES, COINS, 0.0),
        lambda: guess(SCORES, COINS, 1.1),
        lambda: one_run(SCORES, COINS, 0.0),
        lambda: one_run_curve(SCORES, COINS, 1.0),
        lambda: gaussian_fit(SCORES, COINS, math.nan),
        lambda: gaussian_fit(SCORES, SCORES > 2.0, DELTA),
    ],
)
def test_what_makes_no_sense_is_refused(refused: Any) -> None:
    with pytest.raises(ConfigError):
        refused()
