"""Golden figures, a second implementation as an oracle, calibration and the filter."""

import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting.rdp import RdpAccountant

from audit.errors import DomainError, Kind
from training import renyi
from training.accounting import (
    admits,
    apart,
    calibrate,
    epsilon,
    evaluation_mechanism,
    gaussian_share,
    make_plan,
    pld_epsilon,
    rdp_of,
    together,
)
from training.config import Guarantee, TrainingConfig
from training.errors import BudgetError, ConfigError
from training.mechanisms import WHOLE, Mechanism, Purpose

ADULT = Mechanism(2.0, round(256 / 32_561 * WHOLE), 2_540)


def rate(q: float) -> int:
    return round(q * WHOLE)


def test_golden_rdp_of_the_design() -> None:
    # TRAINING measurement: q = 256/32561, sigma = 2, T = 2540, delta = 1e-5.
    assert epsilon(rdp_of(ADULT), 1e-5) == pytest.approx(0.8636439804, rel=1e-8)


def test_golden_rdp_of_opacus() -> None:
    # Opacus, tests/accountants_test.py. Its orders include fractional ones, which only tighten.
    ours = epsilon(rdp_of(Mechanism(1.5, rate(0.04), 2_250)), 1e-5)
    assert 7.32911117143 <= ours <= 7.32911117143 * 1.0002


def test_divergence_by_quadrature() -> None:
    """Order 4 at q = 0.04, sigma = 1.5 against the definition, integrated numerically."""
    q, sigma, order = 0.04, 1.5, 4
    z = np.linspace(-40, 60, 2_000_001)
    log_ratio = np.logaddexp(math.log(1 - q), math.log(q) + (2 * z - 1) / (2 * sigma**2))
    density = np.exp(-(z**2) / (2 * sigma**2) + order * log_ratio)
    moment = np.trapezoid(density, z) / (sigma * math.sqrt(2 * math.pi))
    ours = rdp_of(Mechanism(sigma, rate(q)))[renyi.ORDERS.index(order)]
    assert ours == pytest.approx(math.log(moment) / (order - 1), rel=1e-7)


def test_moments_accountant_of_the_dpsgd_paper_is_an_upper_bound() -> None:
    # Abadi et al. §3.2: q = 0.01, sigma = 4, T = 10,000 gives epsilon = 1.26 at delta = 1e-5.
    assert 1.0 < epsilon(rdp_of(Mechanism(4.0, rate(0.01), 10_000)), 1e-5) <= 1.26


def test_ten_runs_compose() -> None:
    ten = epsilon(together([rdp_of(ADULT)] * 10), 1e-5)
    assert ten == pytest.approx(3.02033, abs=1e-4)  # 3.0129 with fractional orders
    assert ten < 10 * epsilon(rdp_of(ADULT), 1e-5)


def test_golden_pld_is_tighter() -> None:
    figure = pld_epsilon([ADULT], 1e-5)
    assert figure == pytest.approx(0.786, abs=5e-4)
    assert figure < epsilon(rdp_of(ADULT), 1e-5)
    assert pld_epsilon([], 1e-5) == 0
    assert pld_epsilon([Mechanism(3.0), ADULT], 1e-5) > figure


@pytest.mark.parametrize("q", [0.001, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("sigma", [0.7, 2.0, 9.0])
@pytest.mark.parametrize("steps", [1, 400])
def test_agrees_with_dp_accounting(q: float, sigma: float, steps: int) -> None:
    mechanism = Mechanism(sigma, rate(q), steps)
    event = dp_accounting.GaussianDpEvent(sigma)
    if mechanism.sampling != WHOLE:
        event = dp_accounting.PoissonSampledDpEvent(mechanism.sample_rate, event)
    oracle = RdpAccountant(
        list(renyi.ORDERS), dp_accounting.NeighboringRelation.REPLACE_SPECIAL
    ).compose(dp_accounting.SelfComposedDpEvent(event, steps))
    theirs = oracle.get_epsilon(1e-5)
    assert epsilon(rdp_of(mechanism), 1e-5) == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "delta", "q", "steps"),
    [(0.1, 1e-6, 0.01, 50), (0.5, 1e-5, 0.08, 150), (1, 1e-5, 0.08, 150), (8, 1e-5, 1.0, 20)],
)
def test_calibration_keeps_the_promise_and_wastes_nothing(
    asked: float, delta: float, q: float, steps: int
) -> None:
    sigma = calibrate(asked, delta, sampling=rate(q), steps=steps)
    assert epsilon(rdp_of(Mechanism(sigma, rate(q), steps)), delta) <= asked
    less = round(sigma - 1e-4, 4)
    assert epsilon(rdp_of(Mechanism(less, rate(q), steps)), delta) > asked
    assert sigma == round(sigma, 4)


def test_what_was_paid_before_leaves_less_for_training() -> None:
    bought = Mechanism(gaussian_share(1.0, 1e-5, 0.1), purpose=Purpose.BOUNDS)
    alone = calibrate(1.0, 1e-5, sampling=rate(0.08), steps=150)
    after = calibrate(1.0, 1e-5, sampling=rate(0.08), steps=150, before=[bought])
    assert after > alone
    both = [bought, Mechanism(after, rate(0.08), 150)]
    assert epsilon(rdp_of(both), 1e-5) <= 1.0


def test_a_promise_that_no_noise_keeps() -> None:
    spent_all = [Mechanism(gaussian_share(1.0, 1e-5, 0.999))] * 2
    with pytest.raises(BudgetError) as caught:
        calibrate(1.0, 1e-5, sampling=rate(0.1), steps=10, before=spent_all)
    assert caught.value.stable_code == "budget.unreachable"
    assert caught.value.kind is Kind.REFUSED


@pytest.mark.parametrize(
    ("spent_runs", "cap", "admitted"), [(0, 1.0, True), (9, 3.021, True), (9, 3.020, False)]
)
def test_filter(spent_runs: int, cap: float, *, admitted: bool) -> None:
    one = rdp_of(ADULT)
    assert admits(together([one] * spent_runs), one, cap, 1e-5) is admitted


def test_filter_never_walks_past_its_cap() -> None:
    spent, one, runs = renyi.NOTHING, rdp_of(ADULT), 0
    while admits(spent, one, 2.0, 1e-5):
        spent, runs = together((spent, one)), runs + 1
    assert epsilon(spent, 1e-5) <= 2.0 < epsilon(together((spent, one)), 1e-5)
    assert runs > 3


def test_disjoint_parts_cost_the_larger() -> None:
    training = rdp_of(ADULT)
    hidden = evaluation_mechanism(training)
    assert apart((training, rdp_of(hidden))) == training
    assert hidden.purpose is Purpose.EVALUATION
    louder = rdp_of(Mechanism(hidden.noise_multiplier * 0.99))
    assert apart((training, louder)) != training


def test_spend_survives_json() -> None:
    spend = rdp_of(ADULT)
    assert renyi.from_strings(renyi.as_strings(spend)) == spend
    assert rdp_of(Mechanism.from_dict(ADULT.as_dict())) == spend


@pytest.mark.parametrize("bad", [["1"], ["x"] * len(renyi.ORDERS), ["-1"] * len(renyi.ORDERS)])
def test_malformed_spend(bad: list[str]) -> None:
    with pytest.raises(BudgetError) as caught:
        renyi.from_strings(bad)
    assert caught.value.stable_code == "budget.spend_invalid"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"noise_multiplier": 0.0}, "run.noise_invalid"),
        ({"noise_multiplier": -1.0}, "run.noise_invalid"),
        ({"noise_multiplier": math.nan}, "run.noise_invalid"),
        ({"noise_multiplier": math.inf}, "run.noise_invalid"),
        ({"sampling": 0}, "run.sample_rate_invalid"),
        ({"sampling": WHOLE + 1}, "run.sample_rate_invalid"),
        ({"steps": -1}, "run.steps_invalid"),
    ],
)
def test_no_mechanism_without_noise(fields: dict[str, float], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Mechanism(**{"noise_multiplier": 1.0, **fields})  # type: ignore[arg-type] # bad on purpose
    assert caught.value.stable_code == code


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_no_promise_without_a_number(bad: float) -> None:
    with pytest.raises(ConfigError, match="ε must be"):
        calibrate(bad, 1e-5, sampling=WHOLE, steps=1)
    with pytest.raises(DomainError):
        admits(renyi.NOTHING, renyi.NOTHING, bad, 1e-5)
    with pytest.raises(ConfigError, match="δ must be"):
        epsilon(renyi.NOTHING, bad)


def test_nothing_spent_is_nothing() -> None:
    assert epsilon(rdp_of(()), 1e-5) == 0
    assert epsilon(rdp_of(Mechanism(1.0, WHOLE, 0)), 1e-5) == 0
    with pytest.raises(BudgetError):
        evaluation_mechanism(renyi.NOTHING)


def test_plan_is_made_from_public_numbers() -> None:
    config = TrainingConfig.for_rows(26_049, epsilon=1, delta=1e-5, features="f")
    plan = make_plan(config, 26_049)
    assert plan.divisor == pytest.approx(2_048, rel=1e-6)
    assert plan.sample_rate * 26_049 <= 2_048
    assert epsilon(rdp_of(plan), 1e-5) <= 1.0
    assert rdp_of(plan) == rdp_of(plan.event())
    small = make_plan(TrainingConfig.for_rows(10, epsilon=1, delta=1e-3, features="f"), 10)
    assert small.divisor == pytest.approx(2, rel=1e-6)


@pytest.mark.parametrize(
    ("rows", "delta", "code"), [(1, 1e-5, "run.too_few_rows"), (100, 0.01, "run.delta_invalid")]
)
def test_plan_refuses(rows: int, delta: float, code: str) -> None:
    config = TrainingConfig(epsilon=1, delta=delta, features="f")
    with pytest.raises(ConfigError) as caught:
        make_plan(config, rows)
    assert caught.value.stable_code == code


def test_public_data_needs_no_noise_and_claims_nothing() -> None:
    config = TrainingConfig(
        epsilon=1, delta=1e-5, features="f", guarantee=Guarantee.PUBLIC_DATA, expected_batch=100
    )
    plan = make_plan(config, 1_000)
    assert plan.noise_multiplier == 0
    assert plan.mechanisms() == ()
    with pytest.raises(ConfigError) as caught:
        plan.event()
    assert caught.value.stable_code == "run.not_private"
