"""How much privacy a list of mechanisms costs, and how much noise a promise needs.

One analysis decides everything: the Rényi accountant of Mironov, Talwar and Zhang (arXiv
1908.10530) as Opacus implements it. It calibrates the noise, admits the run (the filter in
`training.renyi`) and gives the figures "asked", "spent" and "left". The tighter
privacy-loss-distribution figure of one run is computed by dp-accounting and shown beside them,
labeled, never added up: it assumes that all parameters were fixed beforehand, which is untrue
across runs (arXiv 2209.15596).

Adjacency is zero-out: two tables are neighbors if one has a record blanked, so the number of rows
is public and the sampling rate and the divisor may depend on it.

Imports torch through Opacus (seconds): web code that only adds and compares uses `training.renyi`.
"""

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from dp_accounting import (
    GaussianDpEvent,
    NeighboringRelation,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
)
from dp_accounting.pld import PLDAccountant
from opacus.accountants.analysis.rdp import compute_rdp

from training.config import Guarantee, ModelKind, Plan, TrainingConfig
from training.errors import BudgetError, ConfigError
from training.mechanisms import WHOLE, Mechanism, Purpose
from training.renyi import (
    ORDERS,
    admits,
    apart,
    check_delta,
    check_epsilon,
    epsilon,
    gaussian,
    repeated,
    together,
)

__all__ = ["admits", "apart", "calibrate", "epsilon", "gaussian_share", "make_plan"]
__all__ += ["pld_epsilon", "rdp_of", "together"]

SCORE_SHARE: Final = 0.5
PLD_LABEL: Final = "PLD, this run alone"
_NOISE_GRID: Final = 10_000  # σ is rounded up to 1/10,000, so that the card's σ is the σ that ran
_NOISE_LARGEST: Final = 1e5


@functools.lru_cache(maxsize=512)
def _one_release(noise_multiplier: float, sampling: int) -> tuple[float, ...]:
    """Spend of one subsampled release."""
    if sampling == WHOLE:
        return gaussian(noise_multiplier)
    divergences = compute_rdp(
        q=sampling / WHOLE, noise_multiplier=noise_multiplier, steps=1, orders=list(ORDERS)
    )
    # Rounding may leave a divergence of almost nothing below zero.
    return tuple(max(0.0, float(value)) for value in divergences)


def rdp_of(work: Plan | Mechanism | Iterable[Mechanism]) -> tuple[float, ...]:
    """Spend of mechanisms that all touched the same records, one value for each of `ORDERS`.

    A plan counts as its training steps and what was paid before them.

    Raises:
        ConfigError: a mechanism with zero, negative or non-finite noise cannot even be built.
    """
    mechanisms = (
        work.mechanisms()
        if isinstance(work, Plan)
        else (work,)
        if isinstance(work, Mechanism)
        else tuple(work)
    )
    return together(_spend(mechanism) for mechanism in mechanisms)


def _spend(mechanism: Mechanism) -> tuple[float, ...]:
    spend = tuple(
        # 0 steps of an infinite divergence is nothing, not NaN.
        value * mechanism.steps if mechanism.steps else 0.0
        for value in _one_release(mechanism.noise_multiplier, mechanism.sampling)
    )
    return repeated(spend, mechanism.stopping / WHOLE) if mechanism.stopping else spend


def calibrate(
    asked: float,
    delta: float,
    *,
    sampling: int,
    steps: int,
    before: Sequence[Mechanism] = (),
    stopping: int = 0,
) -> float:
    """The smallest σ, rounded up, at which `steps` releases after `before` stay within (ε, δ).

    Args:
        asked: ε for everything that touches the training records.
        delta: δ of the dataset.
        sampling: inclusion probability out of 2**32.
        steps: number of releases.
        before: what the same records already paid in this run (bounds, for example).
        stopping: where `steps` are those of one trial of a search, as `Mechanism` has it.

    Returns:
        σ on a grid of 1/10,000; the accountant's figure at this σ is at most `asked`.

    Raises:
        ConfigError: parameters out of range.
        BudgetError: `budget.unreachable`, no noise keeps the promise.
    """
    check_epsilon(asked)
    check_delta(delta)
    paid = rdp_of(before)

    def within(ticks: int) -> bool:
        run = Mechanism(ticks / _NOISE_GRID, sampling, steps, stopping=stopping)
        return epsilon(together((paid, rdp_of(run))), delta) <= asked

    low, high = 0, _NOISE_GRID
    while not within(high):
        low, high = high, high * 2
        if high > _NOISE_LARGEST * _NOISE_GRID:
            raise BudgetError(
                "no noise level keeps this ε at this δ: ask for more, or for fewer steps",
                code="budget.unreachable",
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if within(middle) else (middle, high)
    return high / _NOISE_GRID


def gaussian_share(asked: float, delta: float, share: float) -> float:
    """σ of one full-data Gaussian release that takes `share` of the Rényi budget of (ε, δ).

    Raises:
        ConfigError: `share` is not strictly between 0 and 1, or ε, δ out of range.
    """
    if not 0 < share < 1:
        raise ConfigError("a share must be above 0 and below 1", code="run.share_invalid")
    whole = calibrate(asked, delta, sampling=WHOLE, steps=1)
    # α/(2σ²): the spend is linear in 1/σ², so a share of it is σ/√share.
    return math.ceil(whole / math.sqrt(share) * _NOISE_GRID) / _NOISE_GRID


def make_plan(config: TrainingConfig, rows: int, before: Sequence[Mechanism] = ()) -> Plan:
    """Turn what was asked into the plan that will run: q, σ, T, C and the divisor, all public.

    Of an ensemble, σ is that of its one release about the held-out rows, and there are no steps.

    Args:
        config: what the engineer asked for.
        rows: public number of training rows (rows that carry no usable label count too).
        before: what this run already paid on the same rows.

    Raises:
        ConfigError: fewer than two rows, or δ not below 1/rows.
        BudgetError: the promise cannot be kept.
    """
    if rows < 2:  # noqa: PLR2004 - one record is not a data set
        raise ConfigError("training needs at least two rows", code="run.too_few_rows")
    if config.guarantee is Guarantee.DP and config.delta >= 1 / rows:
        raise ConfigError(
            "δ must be below 1 / number of rows, or publishing one record would satisfy it",
            code="run.delta_invalid",
            pointer="/delta",
        )
    trains = config.model is not ModelKind.ENSEMBLE
    every_row = config.model is ModelKind.EBM or not trains
    sampling = WHOLE if every_row else min(WHOLE, max(1, config.expected_batch * WHOLE // rows))
    stopping = 0 if config.search is None else config.search.stopping
    sigma = (
        calibrate(
            config.epsilon,
            config.delta,
            sampling=sampling,
            steps=config.steps if trains else 1,
            before=before,
            stopping=stopping,
        )
        if config.guarantee is Guarantee.DP
        else 0.0
    )
    return Plan(
        rows=rows,
        sampling=sampling,
        steps=config.steps if trains else 0,
        noise_multiplier=sigma,
        max_grad_norm=config.max_grad_norm,
        guarantee=config.guarantee,
        adjacency=config.adjacency,
        unit=config.unit,
        paid=tuple(before),
        stopping=stopping,
    )


def evaluation_mechanism(spend: Sequence[float]) -> Mechanism:
    """The least noisy Gaussian release whose spend stays below `spend` at every order.

    Held-out records are disjoint from training records, so under parallel composition a release
    about them that spends no more than training did leaves the run's spend unchanged.

    Raises:
        BudgetError: `spend` is empty, so nothing can hide under it.
    """
    slope = min(value / order for value, order in zip(spend, ORDERS, strict=True))
    if slope <= 0:
        raise BudgetError("training spent nothing to hide under", code="budget.nothing_spent")
    sigma = math.ceil(math.sqrt(1 / (2 * slope)) * _NOISE_GRID) / _NOISE_GRID
    return Mechanism(sigma, purpose=Purpose.EVALUATION)


def score_mechanism(plan: Plan) -> Mechanism:
    """The release by which a search compares its trials, one a trial, on held-out rows.

    It spends `SCORE_SHARE` of what a trial spends on the rows that it trains on, at no order more.
    So all that a search says of held-out rows costs less than what it says of the others, at every
    order, and the rest is room for the last release about the model that was chosen.

    Raises:
        BudgetError: a trial spends nothing.
    """
    spend = rdp_of(replace(plan.event(), stopping=0))
    part = evaluation_mechanism([SCORE_SHARE * value for value in spend])
    return replace(part, purpose=Purpose.SELECTION, stopping=plan.stopping)


def pld_epsilon(mechanisms: Iterable[Mechanism], delta: float) -> float:
    """The figure labeled `PLD_LABEL`: ε of one run's mechanisms by privacy loss distributions.

    Not of a search: no privacy loss distribution of one is known.

    Zero-out adjacency (`REPLACE_SPECIAL`), pessimistic discretization (Doroshenko et al.,
    arXiv 2207.04380). Never added across runs.

    Raises:
        ConfigError: δ out of range.
    """
    check_delta(delta)
    accountant = PLDAccountant(NeighboringRelation.REPLACE_SPECIAL)
    for mechanism in mechanisms:
        if not mechanism.steps:
            continue
        if mechanism.stopping:
            raise ConfigError("a search has no PLD figure", code="run.search_invalid")
        event = GaussianDpEvent(mechanism.noise_multiplier)
        if mechanism.sampling != WHOLE:
            event = PoissonSampledDpEvent(mechanism.sample_rate, event)
        accountant.compose(SelfComposedDpEvent(event, mechanism.steps))
    return float(accountant.get_epsilon(delta))
