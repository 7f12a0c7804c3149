"""Who was drawn when, and with what weight: a structural test, not a bound on ε.

Accounting assumes Poisson sampling: every record in every step by its own coin of probability q.
Shuffled batches draw every record equally often. That is a gap in the proof (Chua et al., arXiv
2403.17673) which final weights hardly show, so the engine's draws themselves are looked at, in its
run without noise (`training.auditing.canaries.contributions`): whether

    records     of m records, each was drawn Binomial(T, q) times: Pearson's dispersion, χ²(m)
    batches     of T batches, each holds Binomial(m, q) records: the same, χ²(T)
    rate        all draws together are Binomial(T·m, q): exact, two-sided
    largest     no record contributed more than C to a step: not clipped, or twice in a batch

The χ² approximations need T·q and m·q of 5 or more, as in any table. What it cannot see: coins that
somebody can predict, and noise of any kind.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from audit.canonical import decimal
from training.config import Plan
from training.errors import AuditingError

ALARM: Final = 1e-4  # a p-value below it fails: 3 in 10,000 correct engines


@dataclass(frozen=True)
class Participation:
    """What the draws looked like.

    Attributes:
        largest: the largest contribution of a record to a step, in units of C.
        rate, records, batches: p-values, see above.
    """

    largest: float
    rate: float
    records: float
    batches: float

    @property
    def within_sensitivity(self) -> bool:
        """Whether no record contributed more than C."""
        return self.largest <= 1.0

    @property
    def poisson(self) -> bool:
        """Whether the draws look like independent coins of the planned probability."""
        return min(self.rate, self.records, self.batches) >= ALARM

    def as_dict(self) -> dict[str, object]:
        """The canonical-JSON form."""
        return {
            "largest_contribution": decimal(self.largest),
            "p_rate": decimal(self.rate),
            "p_records": decimal(self.records),
            "p_batches": decimal(self.batches),
        }


def participation(contributed: npt.NDArray[np.float64], plan: Plan) -> Participation:
    """Test draws against the plan's q.

    Args:
        contributed: (T, m) what each record put into each step's sum, in units of C.
        plan: says q.

    Raises:
        ConfigError: not a table of T steps and m records.
    """
    if contributed.shape != (plan.steps, plan.rows):
        raise AuditingError(
            "contributions must be (steps, records)", code="auditing.scores_invalid"
        )
    drawn = contributed != 0
    rate = plan.sample_rate
    return Participation(
        largest=float(contributed.max()),
        rate=float(stats.binomtest(int(drawn.sum()), drawn.size, rate).pvalue),
        records=_dispersion(drawn.sum(0), plan.steps, rate),
        batches=_dispersion(drawn.sum(1), plan.rows, rate),
    )


def _dispersion(counts: npt.NDArray[np.int_], trials: int, rate: float) -> float:
    """Two-sided p-value that counts are Binomial(trials, rate): Σ(k - nq)²/(nq(1 - q)) is χ²."""
    squares = float(((counts - trials * rate) ** 2).sum())
    variance = trials * rate * (1 - rate)
    if not variance:  # q = 1: everybody, always
        return float(squares == 0)
    law = stats.chi2(len(counts))
    return min(1.0, 2 * min(float(law.cdf(squares / variance)), float(law.sf(squares / variance))))
