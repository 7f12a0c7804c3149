"""Lower bounds on ε from scores of canaries that a fair coin included or left out.

    one_run         assumes nothing about scores or mechanism. Weak: it misses a halved σ.
    one_run_curve   assumes nothing about scores, and of the mechanism that its trade-off curve is
                    that of a Gaussian. Stronger.
    gaussian_fit    assumes that scores are Gaussian, too. Strong, and where the claim is exact it
                    accuses an innocent engine once in twenty audits, by design.

No lower bound shows that an engine is private. Each can only show that it is not.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from audit.canonical import decimal
from training.errors import AuditingError
from training.renyi import check_delta

CONFIDENCE: Final = 0.95
# Which share of the canaries is guessed at. Few and sure, or many: which is better depends on ε,
# and choosing after the fact is paid for (Bonferroni).
SHARES: Final = (0.02, 0.05, 0.1, 0.2, 0.5)
_CEILING: Final = 200.0  # of ε or μ: canaries in their thousands cannot tell more
_HALVINGS: Final = 14  # of an interval one wide: 1e-4


@dataclass(frozen=True)
class Interval:
    """Where a share lies, with the confidence asked for."""

    low: float
    high: float


@dataclass(frozen=True)
class Guesses:
    """What an auditor said of canaries.

    Attributes:
        canaries: how many there were, m, abstentions included.
        made: guesses r.
        right: correct guesses v.
    """

    canaries: int
    made: int
    right: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.made <= self.canaries:
            raise AuditingError("guesses do not add up", code="auditing.guesses_invalid")


@dataclass(frozen=True)
class FromGuesses:
    """A lower bound on ε, and the guesses that gave it."""

    epsilon: float
    guesses: Guesses

    def as_dict(self) -> dict[str, object]:
        """The canonical-JSON form."""
        return {
            "epsilon": decimal(self.epsilon),
            "guesses": self.guesses.made,
            "right": self.guesses.right,
        }


@dataclass(frozen=True)
class GaussianFit:
    """Two Gaussians fitted to the scores.

    Attributes:
        mu: estimated distance of the means in standard deviations.
        mu_low: its lower confidence bound.
        epsilon: ε of a μ-GDP mechanism at that bound: the lower bound on ε.
    """

    mu: float
    mu_low: float
    epsilon: float

    def as_dict(self) -> dict[str, object]:
        """The canonical-JSON form."""
        return {
            "epsilon": decimal(self.epsilon),
            "mu": decimal(self.mu),
            "mu_low": decimal(self.mu_low),
        }


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Two-sided interval of a share (Clopper and Pearson, Biometrika 26, 1934).

    Its ends are quantiles of Beta(k, n - k + 1) and Beta(k + 1, n - k). It covers at least as often
    as it says, for every n; without a trial it is [0, 1].

    Raises:
        ConfigError: the counts are impossible, or the confidence is not strictly between 0 and 1.
    """
    if not 0 <= successes <= trials or not 0 < confidence < 1:
        raise AuditingError("these are no counts of trials", code="auditing.counts_invalid")
    tail, failures = (1 - confidence) / 2, trials - successes
    low = float(stats.beta.ppf(tail, successes, failures + 1)) if successes else 0.0
    high = float(stats.beta.isf(tail, successes + 1, failures)) if failures else 1.0
    return Interval(low, high)


def guess(
    scores: npt.NDArray[np.float64], included: npt.NDArray[np.bool_], share: float
) -> Guesses:
    """Say "in" of the highest scores, "out" of as many of the lowest, and nothing of the rest.

    Args:
        scores: (m,), higher for what looks included.
        included: (m,) what the coins said.
        share: of the canaries that is guessed at, both sides together.

    Raises:
        ConfigError: the arrays differ in shape, are empty, or the share is not in (0, 1].
    """
    if scores.ndim != 1 or scores.shape != included.shape or not len(scores) or not 0 < share <= 1:
        raise AuditingError(
            "scores and coins must be two (m,) arrays", code="auditing.scores_invalid"
        )
    each = int(len(scores) * share / 2)
    order = np.argsort(scores, kind="stable")
    right = int(included[order[len(order) - each :]].sum()) + int((~included[order[:each]]).sum())
    return Guesses(len(scores), 2 * each, right)


def one_run_p_value(guesses: Guesses, epsilon: float, delta: float) -> float:
    """How likely this many correct guesses are at most, if the engine is (ε, δ)-DP.

    Steinke, Nasr and Jagielski, arXiv 2305.08846: with B ~ Binomial(r, e^ε/(e^ε + 1)),

        P[V ≥ v]  ≤  P[B ≥ v]  +  2·m·δ · max over i in 1…v of P[v - i ≤ B < v] / i

    The canaries of one run need not be independent of each other: only their coins are.

    Raises:
        ConfigError: δ out of range.
    """
    check_delta(delta)
    right, made = guesses.right, guesses.made
    accuracy = float(special.expit(epsilon))
    tail = float(stats.binom.sf(right - 1, made, accuracy))
    if not right:
        return 1.0
    below = np.cumsum(stats.binom.pmf(np.arange(right - 1, -1, -1), made, accuracy))
    steepest = float((below / np.arange(1, right + 1)).max())
    return min(1.0, tail + 2 * guesses.canaries * delta * steepest)


def one_run(
    scores: npt.NDArray[np.float64],
    included: npt.NDArray[np.bool_],
    delta: float,
    confidence: float = CONFIDENCE,
) -> FromGuesses:
    """The lower bound on ε that assumes nothing: the largest ε whose p-value is below the risk.

    It shows, with the confidence asked for and whatever made the scores, that the engine is not
    (ε, δ)-DP for a smaller ε. It is weak: m guesses of one run say less than m runs would, so half
    the ε claimed is much to see, and an engine with half its noise passes.

    Args:
        scores: (m,), higher for what looks included.
        included: (m,) what the coins said.
        delta: δ of the claim.
        confidence: that the bound holds, all of `SHARES` together.

    Raises:
        ConfigError: as in `guess` and `one_run_p_value`.
    """
    risk = (1 - confidence) / len(SHARES)

    def bound(guesses: Guesses) -> float:
        return _largest(lambda epsilon: one_run_p_value(guesses, epsilon, delta) < risk)

    return _best(scores, included, bound)


def one_run_curve(
    scores: npt.NDArray[np.float64],
    included: npt.NDArray[np.bool_],
    delta: float,
    confidence: float = CONFIDENCE,
) -> FromGuesses:
    """The lower bound on ε of a mechanism with a Gaussian trade-off curve; scores may be anything.

    Mahloujifar, Melis and Chaudhuri, arXiv 2410.22235: what is tested is a whole curve f, not one
    point (ε, δ) of it, which loses less. f is that of μ-GDP (Dong, Roth and Su, arXiv 1905.02383),
    whose inverse blow-up is Φ(Φ⁻¹(x) - μ); the largest refuted μ becomes ε at δ.

    An engine that draws at random with a small q has a steeper curve than any Gaussian far out, so
    this bounds the curve where canaries are: in the middle.

    Args:
        scores: (m,), higher for what looks included.
        included: (m,) what the coins said.
        delta: δ at which the curve is read.
        confidence: that the bound holds, all of `SHARES` together.

    Raises:
        ConfigError: as in `guess`, or δ out of range.
    """
    check_delta(delta)
    risk = (1 - confidence) / len(SHARES)

    def bound(guesses: Guesses) -> float:
        return _largest(lambda mu: _curve_refuted(guesses, mu, risk))

    best = _best(scores, included, bound)
    return FromGuesses(gaussian_epsilon(best.epsilon, delta), best.guesses)


def _curve_refuted(guesses: Guesses, mu: float, risk: float) -> bool:
    """The recursion of arXiv 2410.22235 (audit_rh with abstention) for two-sided guesses.

    Suppose that v or more guesses are right with probability `risk`. Then the curve says how often
    at least it is v - 1, v - 2, …; `hits` and `misses` add up the right and the wrong guesses a
    canary that follow. There are r guesses of m canaries, so a sum above r/m refutes.
    """
    everything = guesses.made / guesses.canaries
    hits = risk * guesses.right / guesses.canaries
    misses = risk * (guesses.made - guesses.right) / guesses.canaries
    for right in range(guesses.right - 1, -1, -1):
        least = float(special.ndtr(special.ndtri(hits) - mu))
        if least <= misses or hits + misses > everything:
            break  # neither grows again, or it is decided
        hits = min(1.0, hits + right / (guesses.made - right) * (least - misses))
        misses = least
    return hits + misses > everything


def gaussian_fit(
    scores: npt.NDArray[np.float64],
    included: npt.NDArray[np.bool_],
    delta: float,
    confidence: float = CONFIDENCE,
) -> GaussianFit:
    """The lower bound on ε if scores are Gaussian, with one variance in and out.

    μ is the distance of the means over the pooled standard deviation s, with n₁ included and n₀
    excluded scores; its standard error is that of Cohen's d in large samples (Hedges and Olkin,
    1985): √(1/n₁ + 1/n₀ + μ²/2(n₁ + n₀)). The one-sided lower bound of μ becomes ε at δ by the
    curve of μ-GDP. Fitting Gaussians to canaries of one run: Andrew et al., arXiv 2302.03098;
    auditing by the Gaussian curve: Nasr et al., arXiv 2302.07956.

    Scores of `training.auditing.canaries` are Gaussian up to the number of draws, which is binomial
    and widens the included scores; pooling then only understates μ. It shows a halved σ or a
    doubled contribution. It is a test at `confidence`: of correct engines whose claim is exact,
    1 - confidence are accused. Scores that are not Gaussian make it wrong in either direction.

    Args:
        scores: (m,), higher for what looks included.
        included: (m,) what the coins said.
        delta: δ of the claim.
        confidence: one-sided, of the bound on μ.

    Raises:
        ConfigError: δ out of range, or fewer than two scores on one side.
    """
    inside, outside = scores[included], scores[~included]
    if min(len(inside), len(outside)) < 2:  # noqa: PLR2004 - one value has no variance
        raise AuditingError(
            "a fit needs canaries on both sides of the coin", code="auditing.scores_invalid"
        )
    freedom = len(scores) - 2
    squares = ((inside - inside.mean()) ** 2).sum() + ((outside - outside.mean()) ** 2).sum()
    # Without any noise the two sides are points: as far apart as anything may be.
    spread = max(math.sqrt(squares / freedom), 1e-12)
    mu = min(_CEILING, float(inside.mean() - outside.mean()) / spread)
    error = math.sqrt(1 / len(inside) + 1 / len(outside) + mu**2 / (2 * len(scores)))
    low = mu - float(stats.norm.isf(1 - confidence)) * error
    return GaussianFit(mu, low, gaussian_epsilon(low, delta))


def gaussian_delta(epsilon: float, mu: float) -> float:
    """δ of a μ-GDP mechanism at ε: Φ(-ε/μ + μ/2) - e^ε·Φ(-ε/μ - μ/2).

    Dong, Roth and Su, arXiv 1905.02383, corollary 2.13; for the Gaussian mechanism with μ =
    sensitivity/σ it is exact (Balle and Wang, arXiv 1805.06530, theorem 8).
    """
    if mu <= 0:
        return 0.0
    over = float(special.ndtr(mu / 2 - epsilon / mu))
    # e^ε alone overflows where its product with the tail is small.
    return over - math.exp(epsilon + float(special.log_ndtr(-mu / 2 - epsilon / mu)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The smallest ε ≥ 0 at which a μ-GDP mechanism has this δ; 0 if μ ≤ 0.

    Raises:
        ConfigError: δ out of range.
    """
    check_delta(delta)
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    # Rényi conversion (Mironov, arXiv 1702.07476, proposition 3): above the exact figure.
    above = mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta))
    return float(optimize.brentq(lambda epsilon: gaussian_delta(epsilon, mu) - delta, 0.0, above))


def _best(
    scores: npt.NDArray[np.float64],
    included: npt.NDArray[np.bool_],
    bound: Callable[[Guesses], float],
) -> FromGuesses:
    """The largest bound over `SHARES`."""
    tried = (guess(scores, included, share) for share in SHARES)
    return max((FromGuesses(bound(made), made) for made in tried), key=lambda one: one.epsilon)


def _largest(refuted: Callable[[float], bool]) -> float:
    """The largest number that is refuted, 0 if none is; refuting a number refutes all below it."""
    low, high = 0.0, 1.0
    if not refuted(low):
        return 0.0
    while refuted(high):
        low, high = high, high * 2
        if high > _CEILING:
            return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low
