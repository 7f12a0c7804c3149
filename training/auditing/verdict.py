"""One audit of the engine: train on canaries, bound ε from below, hold it against the claim."""

from collections.abc import Sequence
from dataclasses import dataclass

from audit.canonical import decimal
from training.auditing.bounds import (
    CONFIDENCE,
    FromGuesses,
    GaussianFit,
    gaussian_fit,
    one_run,
    one_run_curve,
)
from training.auditing.canaries import Path, Scored, contributions, score
from training.auditing.participation import Participation, participation
from training.config import Plan
from training.errors import AuditingError
from training.mechanisms import exact
from training.randomness import Secret
from training.renyi import check_delta, check_epsilon


@dataclass(frozen=True)
class Verdict:
    """What an audit found. That it passes means that nothing was found, never that all is well.

    Attributes:
        plan: what ran.
        path: the clipping pass that ran it.
        runs: how often, each time with canaries of its own.
        claimed, delta: the promise.
        one_run, one_run_curve, gaussian_fit: lower bounds on ε (`training.auditing.bounds`), each
            of which shows more and assumes more than the one before.
        participation: the structural test of the draws.
        unpaid: steps that ran and were not announced to the ledger.
    """

    plan: Plan
    path: Path
    runs: int
    claimed: float
    delta: float
    one_run: FromGuesses
    one_run_curve: FromGuesses
    gaussian_fit: GaussianFit
    participation: Participation
    unpaid: int

    @property
    def checks(self) -> dict[str, bool]:
        """What was looked at, and whether it is as promised."""
        return {
            "one_run": self.one_run.epsilon <= self.claimed,
            "one_run_curve": self.one_run_curve.epsilon <= self.claimed,
            "gaussian_fit": self.gaussian_fit.epsilon <= self.claimed,
            "sensitivity": self.participation.within_sensitivity,
            "poisson": self.participation.poisson,
            "paid": self.unpaid == 0,
        }

    @property
    def passes(self) -> bool:
        """Whether no lower bound exceeds the claim and the draws are as accounted."""
        return all(self.checks.values())

    def as_dict(self) -> dict[str, object]:
        """The canonical-JSON form; measured numbers are decimal strings."""
        return {
            "passes": self.passes,
            "checks": self.checks,
            "epsilon_claimed": decimal(self.claimed),
            "delta": exact(self.delta),
            "confidence": decimal(CONFIDENCE, 2),
            "one_run": self.one_run.as_dict(),
            "one_run_curve": self.one_run_curve.as_dict(),
            "gaussian_fit": self.gaussian_fit.as_dict(),
            "participation": self.participation.as_dict(),
            "unpaid_steps": self.unpaid,
            "canaries": self.plan.rows * self.runs,
            "runs": self.runs,
            "pass": self.path.value,
            "steps": self.plan.steps,
            "sample_rate": exact(self.plan.sample_rate),
            "noise_multiplier": exact(self.plan.noise_multiplier),
        }


def audit_engine(
    plan: Plan,
    claimed: float,
    delta: float,
    secrets: Sequence[Secret],
    path: Path = Path.CLOSED,
) -> Verdict:
    """Run the engine on canaries and judge it.

    Args:
        plan: q, T, σ and C to audit; its public N is the number of canaries a run.
        claimed: the ε that the accountant says of this plan's training steps.
        delta: δ of the claim.
        secrets: one a run; audits of a real engine take fresh ones.
        path: which clipping pass.

    Raises:
        ConfigError: ε, δ or the number of canaries is out of range, or there is no run.
    """
    check_epsilon(claimed)
    check_delta(delta)
    if not secrets:
        raise AuditingError("an audit takes one run or more", code="auditing.runs_invalid")
    scored = Scored.pooled([score(plan, path, secret) for secret in secrets])
    return Verdict(
        plan=plan,
        path=path,
        runs=len(secrets),
        claimed=claimed,
        delta=delta,
        one_run=one_run(scored.scores, scored.included, delta),
        one_run_curve=one_run_curve(scored.scores, scored.included, delta),
        gaussian_fit=gaussian_fit(scored.scores, scored.included, delta),
        participation=participation(contributions(plan, path, secrets[0]), plan),
        unpaid=scored.executed - scored.charged,
    )
