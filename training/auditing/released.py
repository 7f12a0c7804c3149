"""What a membership attack may say: exactly where no person is behind the rows, else with noise.

The loss threshold attack needs of a record its loss alone. Losses are counted in public bins, apart
for members and for outsiders, and the counts get Gaussian noise. Why that is a mechanism whose
sensitivity is known: the weights are an output of the run, paid for (or waived) before; given them,
a record's loss is a function of that record alone. So a record is counted in one bin of one of the
two histograms or, where it has no usable label, in none, and blanking it moves all counts together
by at most 1 in L2. Which rows are counted is drawn without looking at them. A record is a member or
held out by the public split, so the two histograms are one mechanism on each part of the rows.
Whole numbers after the noise leave no low bits for a floating-point attack.

The same does not hold for the likelihood ratio attack: there a record's score depends on the shadow
models, each of which was trained on other records. One record's change moves many scores, in bins
of which nothing is known, so a count has no useful sensitivity. Its figures are exact, or not made.

Bins are of log-odds φ = log(p / (1 - p)) of the right answer, p = e^-loss, in which the losses of
an indifferent model lie at 0: public, whatever the model. Everything below the counts is
post-processing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from audit.canonical import decimal
from training.auditing.bounds import CONFIDENCE, clopper_pearson
from training.auditing.membership import attack, ceiling, log_odds
from training.errors import AuditingError
from training.mechanisms import Mechanism, exact
from training.randomness import Source

Vector = npt.NDArray[np.float64]

# Of φ: half a unit wide, open at both ends.
EDGES: Final[tuple[float, ...]] = tuple((np.arange(-11, 12) / 2).tolist())
BINS: Final = len(EDGES) + 1
# One in a thousand is less than what the noise hides.
NOISY_RATES: Final = (0.01, 0.1)
_BOTH: Final = 2  # sides of an interval


@dataclass(frozen=True)
class Share:
    """A figure between 0 and 1, and where it lies with 95 % confidence."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, str]:
        """The canonical-JSON form."""
        return {name: decimal(getattr(self, name)) for name in ("value", "low", "high")}


@dataclass(frozen=True)
class Claim:
    """(ε, δ) that the model's run promises to each record."""

    epsilon: float
    delta: float


@dataclass(frozen=True)
class AtThreshold:
    """What an attack finds at one threshold.

    Attributes:
        asked: the share of outsiders that it may accuse.
        accused: the share that it does accuse.
        found: the share of members that it accuses.
        ceiling: the largest share that may be found, were the claim true, at the upper end of
            `accused`; None where nothing is claimed.
    """

    asked: float
    accused: Share
    found: Share
    ceiling: float | None

    @property
    def refutes(self) -> bool:
        """Whether more was found than the claim allows, with the confidence of both intervals."""
        return self.ceiling is not None and self.found.low > self.ceiling

    def as_dict(self) -> dict[str, object]:
        """The canonical-JSON form."""
        return {
            "asked": decimal(self.asked),
            "accused": self.accused.as_dict(),
            "found": self.found.as_dict(),
            "ceiling": None if self.ceiling is None else decimal(self.ceiling),
            "refutes": self.refutes,
        }


@dataclass(frozen=True)
class Membership:
    """What a membership attack found.

    Attributes:
        members, outsiders: how many records were looked at on each side, public.
        auc: probability that a member scores above an outsider, ties half; 0.5 is chance.
        at: one entry a threshold.
        mechanism: the noise in the counts that the figures follow from; None where they are exact.
        counts: the noisy counts of members and of outsiders in the public bins.
    """

    members: int
    outsiders: int
    auc: Share
    at: tuple[AtThreshold, ...]
    mechanism: Mechanism | None = None
    counts: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    @property
    def refutes(self) -> bool:
        """Whether some threshold refutes the claim."""
        return any(one.refutes for one in self.at)

    def as_dict(self) -> dict[str, object]:
        """The canonical-JSON form."""
        shown: dict[str, object] = {
            "members": self.members,
            "outsiders": self.outsiders,
            "auc": self.auc.as_dict(),
            "at": [one.as_dict() for one in self.at],
            "refutes": self.refutes,
            "noise_multiplier": None,
        }
        if self.mechanism is not None and self.counts is not None:
            shown["noise_multiplier"] = exact(self.mechanism.noise_multiplier)
            shown["counts"] = {
                "edges": [exact(edge) for edge in EDGES],
                "members": list(self.counts[0]),
                "outsiders": list(self.counts[1]),
            }
        return shown


def histogram(losses: Vector) -> Vector:
    """(BINS,) how many losses lie in each public bin of φ, from the largest loss to the smallest.

    A loss that is no number is counted in none.
    """
    known = log_odds(losses[~np.isnan(losses)])
    places = np.searchsorted(np.array(EDGES), known, side="right")
    counts: Vector = np.bincount(places, minlength=BINS).astype(np.float64)
    return counts


def noisy_threshold_attack(
    members: Vector,
    outsiders: Vector,
    mechanism: Mechanism,
    source: Source,
    claim: Claim | None,
) -> Membership:
    """The loss threshold attack (Yeom et al., arXiv 1709.01604) from noisy counts.

    Args:
        members: (n₁,) losses of records that were trained on, NaN where a record has no label.
        outsiders: (n₀,) the same of held-out records.
        mechanism: its noise multiplier is relative to the sensitivity 1 of the stacked counts.
        source: secure randomness.
        claim: what the model's run promises, if it does.

    Raises:
        AuditingError: `auditing.scores_invalid`, a side is empty or not one-dimensional.
    """
    for losses in (members, outsiders):
        if losses.ndim != 1 or not len(losses):
            raise AuditingError(
                "losses must be one number a record", code="auditing.scores_invalid"
            )
    counts = np.concatenate([histogram(members), histogram(outsiders)])
    counts = np.rint(counts + mechanism.noise_multiplier * source.gaussian(counts.size))
    return from_counts(
        counts[:BINS], counts[BINS:], (len(members), len(outsiders)), mechanism, claim
    )


def from_counts(
    members: Vector,
    outsiders: Vector,
    sizes: tuple[int, int],
    mechanism: Mechanism,
    claim: Claim | None,
) -> Membership:
    """Figures that follow from noisy counts: nothing here touches a record.

    Rates are shares of all records that were looked at, a public number: a record that could not be
    counted is one that the attack accuses at no threshold.

    Args:
        members: (BINS,) noisy counts, from the largest loss to the smallest.
        outsiders: (BINS,) the same.
        sizes: how many records of each side were looked at.
        mechanism: the noise in each count.
        claim: what the model's run promises, if it does.
    """
    sigma = mechanism.noise_multiplier
    return Membership(
        *sizes,
        _auc(members, outsiders, sizes, sigma),
        tuple(_at_counts(rate, members, outsiders, sizes, sigma, claim) for rate in NOISY_RATES),
        mechanism,
        (tuple(int(count) for count in members), tuple(int(count) for count in outsiders)),
    )


def from_scores(
    members: Vector, outsiders: Vector, claim: Claim | None, confidence: float = CONFIDENCE
) -> Membership:
    """Exact figures of scores that are higher for suspected members: of public rows, or internal.

    Args:
        members: (n₁,) scores.
        outsiders: (n₀,) scores.
        claim: what the model's run promises, if it does.
        confidence: of each interval.

    Raises:
        AuditingError: `auditing.scores_invalid`.
    """
    found = attack(members, outsiders)
    sizes = (found.members, found.outsiders)
    error = math.sqrt(_sampling(found.auc, sizes))
    at = []
    for one in found.at:
        # The threshold is an outsider's own score: as many as the rate allows lie above it.
        accused = _share(int(one.false_positives * sizes[1]), 0.0, sizes[1], confidence)
        share = Share(one.found, one.interval.low, one.interval.high)
        at.append(AtThreshold(one.false_positives, accused, share, _allowed(accused, claim)))
    return Membership(*sizes, _around(found.auc, error), tuple(at))


def _allowed(accused: Share, claim: Claim | None) -> float | None:
    return None if claim is None else ceiling(accused.high, claim.epsilon, claim.delta)


def _at_counts(
    rate: float,
    members: Vector,
    outsiders: Vector,
    sizes: tuple[int, int],
    sigma: float,
    claim: Claim | None,
) -> AtThreshold:
    """Accuse the bins of the smallest losses, as many as the noisy share of outsiders allows.

    The threshold is chosen by the outsiders' noisy counts, so the interval of `accused` holds for
    all thresholds at once (Bonferroni); that of `found` needs no such care.
    """
    above = np.cumsum(outsiders[::-1])
    allowed = np.flatnonzero(above <= rate * sizes[1])
    bins = int(allowed[-1]) + 1 if len(allowed) else 0
    noise = sigma * math.sqrt(bins)
    accused = _share(
        int(outsiders[BINS - bins :].sum()), noise, sizes[1], 1 - (1 - CONFIDENCE) / (BINS + 1)
    )
    found = _share(int(members[BINS - bins :].sum()), noise, sizes[0], CONFIDENCE)
    return AtThreshold(rate, accused, found, _allowed(accused, claim))


def _share(count: int, noise: float, of: int, confidence: float) -> Share:
    """A share whose count carries Gaussian noise of this standard deviation.

    Half of the risk is the noise's, half the sample's (Clopper and Pearson at both ends of the
    noise's interval). A noisy count may lie outside of what a count can be; it is moved in.
    """
    half = 1 - (1 - confidence) / 2 if noise else confidence
    width = noise * float(stats.norm.isf((1 - half) / _BOTH))
    low, middle, high = (
        min(of, max(0, round(value))) for value in (count - width, count, count + width)
    )
    return Share(
        middle / of,
        clopper_pearson(low, of, half).low,
        clopper_pearson(high, of, half).high,
    )


def _auc(members: Vector, outsiders: Vector, sizes: tuple[int, int], sigma: float) -> Share:
    """Mann and Whitney's U of binned scores, ties half, over n₁·n₀.

    Records that were not counted stand below all bins. The error adds what sampling does to what
    noise does: with A linear in each side's counts, the noise of one side has the weights c that
    the other side's counts give it, and the product of both noises a variance of at most σ⁴·B².
    """
    inside, outside = _with_uncounted(members, sizes[0]), _with_uncounted(outsiders, sizes[1])
    below = np.cumsum(outside) - outside / 2
    area = float(inside @ below) / (sizes[0] * sizes[1])
    # One count more in a bin is one less among those that were not counted.
    weights_in = (below[1:] - below[0]) / (sizes[0] * sizes[1])
    over = inside.sum() - np.cumsum(inside) + inside / 2
    weights_out = (over[1:] - over[0]) / (sizes[0] * sizes[1])
    noise = sigma**2 * float(weights_in @ weights_in + weights_out @ weights_out)
    noise += (sigma**2 * BINS / (sizes[0] * sizes[1])) ** 2
    area = min(1.0, max(0.0, area))
    return _around(area, math.sqrt(_sampling(area, sizes) + noise))


def _with_uncounted(counts: Vector, size: int) -> Vector:
    """(BINS + 1,) counts, led by how many records were not counted, as far as noise lets tell."""
    whole: Vector = np.concatenate([[size - counts.sum()], counts])
    return whole


def _sampling(area: float, sizes: Sequence[int]) -> float:
    """Largest variance that an AUC can have: A(1 - A) / min(n₁, n₀) (van Dantzig, 1951).

    At an area of exactly 0 or 1 that would be nothing; it counts as if one record were otherwise.
    """
    fewest = min(sizes)
    return max(area * (1 - area), 1 / (2 * fewest)) / fewest


def _around(value: float, error: float) -> Share:
    width = error * float(stats.norm.isf((1 - CONFIDENCE) / _BOTH))
    return Share(value, max(0.0, value - width), min(1.0, value + width))
