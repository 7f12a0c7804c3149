"""`audit_engine`: train on invented records, and hold what their traces tell against the claimed ε.

Exit codes: 0 nothing was found · 4 the engine does not keep its claim · 2 bad input.
"""

import json
import sys
import time
from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand

from audit.errors import DomainError
from governance.doors import EXIT
from training.errors import AuditingError

if TYPE_CHECKING:
    from training.auditing.verdict import Verdict

FAILED = 4


class Command(BaseCommand):
    """Audit the engine that is installed. It acts for nobody: no tenant's data is read."""

    help = "Audit the training engine with canaries: lower bounds on ε against the claim"
    requires_system_checks: Any = []  # nothing is configured that an audit could touch

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--epsilon", type=float, default=1.0, help="to ask for")
        parser.add_argument("--steps", type=int, default=120, help="a run")
        parser.add_argument("--canaries", type=int, default=1_000, help="a run")
        parser.add_argument("--runs", type=int, default=5)
        parser.add_argument("--pass", dest="path", choices=["closed", "hooked"], default="closed")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one object")

    def handle(self, **options: Any) -> None:
        begun = time.monotonic()
        try:
            verdict = _audit(options)
        except DomainError as error:
            self.stderr.write(json.dumps(error.as_dict(), ensure_ascii=False))
            sys.exit(EXIT[error.kind])
        seconds = f"{time.monotonic() - begun:.1f}"
        if options["as_json"]:
            found = {**verdict.as_dict(), "seconds": seconds}
            self.stdout.write(json.dumps(found, ensure_ascii=False))
        else:
            self.stdout.write(_told(verdict))
            self.stdout.write(f"{seconds} s")
        if not verdict.passes:
            sys.exit(FAILED)


def _audit(options: dict[str, Any]) -> "Verdict":
    # torch and Opacus take seconds to load: not for `manage.py help`.
    from training.accounting import epsilon, make_plan, rdp_of  # noqa: PLC0415
    from training.auditing.canaries import Path  # noqa: PLC0415
    from training.auditing.verdict import audit_engine  # noqa: PLC0415
    from training.config import TrainingConfig  # noqa: PLC0415
    from training.randomness import fresh_secret  # noqa: PLC0415

    if options["runs"] < 1:
        raise AuditingError("an audit takes one run or more", code="auditing.runs_invalid")
    config = TrainingConfig(
        epsilon=options["epsilon"],
        delta=float(settings.DEFAULT_DELTA),
        features="canaries",
        steps=options["steps"],
        expected_batch=max(1, options["canaries"] // 4),
        max_grad_norm=1.0,
    )
    plan = make_plan(config, options["canaries"])
    claimed = epsilon(rdp_of(plan), config.delta)
    secrets = [fresh_secret() for _ in range(options["runs"])]
    return audit_engine(plan, claimed, config.delta, secrets, Path(options["path"]))


def _told(verdict: "Verdict") -> str:
    """What a person reads."""
    plan, drawn = verdict.plan, verdict.participation
    bounds = {
        "one run, assumes nothing": ("one_run", verdict.one_run.epsilon),
        "one run, Gaussian curve": ("one_run_curve", verdict.one_run_curve.epsilon),
        "fit, Gaussian scores": ("gaussian_fit", verdict.gaussian_fit.epsilon),
    }
    ran = f"T = {plan.steps}, q = {plan.sample_rate:.4f}, σ = {plan.noise_multiplier}"
    lines = [
        f"{verdict.runs} runs of {plan.rows} canaries, pass {verdict.path.value}: {ran}",
        f"{'claimed':<28} ε = {verdict.claimed:.3f} at δ = {verdict.delta}",
        *(
            f"{name:<28} ε ≥ {value:.3f}   {_said(verdict, check)}"
            for name, (check, value) in bounds.items()
        ),
        f"{'largest contribution':<28} {drawn.largest:.5f} C   {_said(verdict, 'sensitivity')}",
        f"{'draws are Poisson':<28} p = {min(drawn.rate, drawn.records, drawn.batches):.4f}   "
        + _said(verdict, "poisson"),
        f"{'steps not paid for':<28} {verdict.unpaid}   {_said(verdict, 'paid')}",
    ]
    return "\n".join(lines)


def _said(verdict: "Verdict", check: str) -> str:
    return "holds" if verdict.checks[check] else "BROKEN"
