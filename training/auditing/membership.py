"""Membership inference: can the losses of a trained model tell who was in its training table?

What an attack finds is a fact about that attack, that model and those records. A low figure is no
guarantee; one above the ceiling that (ε, δ) implies is a refutation. An attack reads exact losses
of private records, so what it returns is for people who may see those records, or is charged.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from audit.canonical import decimal
from training.auditing.bounds import CONFIDENCE, Interval, clopper_pearson
from training.errors import AuditingError
from training.renyi import check_delta

RATES: Final = (0.01, 0.001)  # false positives that an attacker may afford (arXiv 2112.03570)
_SMALLEST_LOSS: Final = 1e-12  # of a probability that rounds to 1
_SMALLEST_SPREAD: Final = 1e-6  # of log-odds

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AtRate:
    """What an attack finds while it accuses few outsiders.

    Attributes:
        false_positives: the share of outsiders that may be accused.
        found: the share of members found at that.
        interval: Clopper–Pearson of `found`, for members drawn anew and this threshold.
    """

    false_positives: float
    found: float
    interval: Interval


@dataclass(frozen=True)
class Attack:
    """How well scores tell members from outsiders.

    Attributes:
        members, outsiders: how many there were.
        auc: probability that a member scores above an outsider, ties half; 0.5 is chance.
        at: one entry for each of `RATES`.
    """

    members: int
    outsiders: int
    auc: float
    at: tuple[AtRate, ...]

    def as_dict(self) -> dict[str, object]:
        """The canonical-JSON form."""
        return {
            "members": self.members,
            "outsiders": self.outsiders,
            "auc": decimal(self.auc),
            "at": [
                {
                    "false_positives": decimal(one.false_positives),
                    "found": decimal(one.found),
                    "low": decimal(one.interval.low),
                    "high": decimal(one.interval.high),
                }
                for one in self.at
            ],
        }


def threshold_attack(members: Vector, outsiders: Vector) -> Attack:
    """Accuse whoever has a small loss (Yeom et al., arXiv 1709.01604).

    Args:
        members: (n₁,) losses of records that were trained on.
        outsiders: (n₀,) losses of records of the same kind that were not.

    Raises:
        ConfigError: an array is empty, not one-dimensional, or holds NaN.
    """
    return attack(-members, -outsiders)


def attack(members: Vector, outsiders: Vector) -> Attack:
    """Judge scores that are higher for suspected members.

    The area under the curve is Mann and Whitney's U over n₁·n₀. A threshold is the lowest at which
    the share of accused outsiders does not exceed the rate; nothing is interpolated, so with fewer
    than 1 / rate outsiders it is their highest score.

    Args:
        members: (n₁,) scores.
        outsiders: (n₀,) scores.

    Raises:
        ConfigError: an array is empty, not one-dimensional, or holds NaN.
    """
    for scores in (members, outsiders):
        if scores.ndim != 1 or not len(scores) or np.isnan(scores).any():
            raise AuditingError(
                "scores must be one number a record", code="auditing.scores_invalid"
            )
    ranks = stats.rankdata(np.concatenate([members, outsiders]))[: len(members)]
    above = float(ranks.sum()) - len(members) * (len(members) + 1) / 2
    return Attack(
        len(members),
        len(outsiders),
        above / (len(members) * len(outsiders)),
        tuple(_at(rate, members, outsiders) for rate in RATES),
    )


def _at(rate: float, members: Vector, outsiders: Vector) -> AtRate:
    allowed = int(rate * len(outsiders))
    threshold = np.sort(outsiders)[len(outsiders) - 1 - allowed]
    found = int((members > threshold).sum())
    return AtRate(
        rate, found / len(members), clopper_pearson(found, len(members), confidence=CONFIDENCE)
    )


def lira(target: Vector, shadows: Vector, included: npt.NDArray[np.bool_]) -> Vector:
    """Scores by a likelihood ratio against models that did not see the record.

    The offline attack of Carlini et al., arXiv 2112.03570: losses become log-odds φ =
    log(p / (1 - p)) of the right answer, p = e^-loss, which are roughly Gaussian over models. A
    score is how many standard deviations the target's φ lies above its mean over the shadow models
    that were trained without the record; Λ of the paper is Φ of it, in the same order. The standard
    deviation is one for all records: a few shadow models cannot tell one for each.

    With few shadow models this is a weak form of a strong attack.

    Args:
        target: (n,) losses of the model that is attacked.
        shadows: (n_shadow, n) losses of shadow models on the same records.
        included: (n_shadow, n) whether a record was in a shadow model's table.

    Returns:
        (n,) scores for `attack`, higher for suspected members.

    Raises:
        ConfigError: shapes do not fit, or a record has no shadow model without it, or no record has
            two.
    """
    if target.ndim != 1 or shadows.shape != included.shape or shadows.shape[1:] != target.shape:
        raise AuditingError("losses must be (n,) and (n_shadow, n)", code="auditing.scores_invalid")
    without = (~included).sum(0)
    freedom = int((without - 1).sum())
    if not len(target) or without.min() < 1 or freedom < 1:
        raise AuditingError(
            "each record needs a shadow model without it, and some need two",
            code="auditing.shadows_invalid",
        )
    odds = np.where(included, 0.0, log_odds(shadows))
    mean = odds.sum(0) / without
    squares = float((np.where(included, 0.0, odds - mean) ** 2).sum())
    scores: Vector = (log_odds(target) - mean) / max(math.sqrt(squares / freedom), _SMALLEST_SPREAD)
    return scores


def log_odds(losses: Vector) -> Vector:
    """log(p / (1 - p)) for p = e^-loss: -log(e^loss - 1), without overflow."""
    bounded = np.maximum(losses, _SMALLEST_LOSS)
    odds: Vector = -bounded - np.log(-np.expm1(-bounded))
    return odds


def ceiling(false_positives: float, epsilon: float, delta: float) -> float:
    """The largest share of members that any attack finds at this rate, if training is (ε, δ)-DP.

    Kairouz, Oh and Viswanath, arXiv 1311.0776: the smaller of e^ε·FPR + δ and 1 - e^-ε·(1 - δ -
    FPR), for an attack on one record that knows everything else. Over records drawn from a table,
    the mean obeys it too.

    Raises:
        ConfigError: a rate that is not in [0, 1], ε below 0, or δ out of range.
    """
    check_delta(delta)
    if not 0 <= false_positives <= 1 or not epsilon >= 0:
        raise AuditingError(
            "a rate is in [0, 1], and ε is not negative", code="auditing.rate_invalid"
        )
    if epsilon > 700:  # noqa: PLR2004 - e^ε is no double; nothing is promised
        return 1.0
    steep = math.exp(epsilon) * false_positives + delta
    flat = 1 - math.exp(-epsilon) * (1 - delta - false_positives)
    return min(1.0, steep, flat)
