"""What the ledger's raw lines add up to, computed a second time by other code.

Nothing of `training.ledger`, `training.charges` or Opacus is used: the lines are read as JSON, the
rules of the ledger are checked again, and Google's dp-accounting composes them under zero-out
adjacency (`REPLACE_SPECIAL`). Two implementations that agree are evidence; one is a claim.
"""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from dp_accounting import (
    GaussianDpEvent,
    NeighboringRelation,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
)
from dp_accounting.dp_event import RepeatAndSelectDpEvent
from dp_accounting.rdp import RdpAccountant

from audit.canonical import decimal
from training.models import Budget, BudgetEntry
from training.renyi import ORDERS

TOLERANCE: Final = 1e-6  # of ε: the two implementations evaluate the same formulas
_EVERY_ROW: Final = 2**32

_GEOMETRIC: Final = 1  # shape of how many trials a search has

# (part, noise multiplier as written, sampling, stopping, steps of a trial) -> steps, or searches
Steps = Counter[tuple[str, str, int, int, int]]


@dataclass(frozen=True)
class Recomputed:
    """The second opinion.

    Attributes:
        spent: ε of everything written ahead.
        due: ε with open attempts at what they reserved.
        faults: codes of rules that the lines break; empty in a sound ledger.
        lines: how many lines there are.
    """

    spent: float
    due: float
    faults: tuple[str, ...]
    lines: int

    def agrees(self, spent: float, due: float) -> bool:
        """Whether other figures are the same, and no rule is broken."""
        return (
            not self.faults
            and math.isclose(self.spent, spent, abs_tol=TOLERANCE)
            and math.isclose(self.due, due, abs_tol=TOLERANCE)
        )

    def as_dict(self) -> dict[str, Any]:
        """With decimal strings."""
        return {
            "epsilon_spent": decimal(self.spent),
            "epsilon_due": decimal(self.due),
            "faults": list(self.faults),
            "lines": self.lines,
        }


def recompute(budget: Budget) -> Recomputed:
    """Recompute a budget from its raw lines."""
    rows = list(
        BudgetEntry.objects.filter(budget_id=budget.pk)
        .order_by("id")
        .values("run_id", "attempt", "kind", "sequence", "mechanisms")
    )
    attempts: dict[tuple[Any, int], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        attempts[row["run_id"], row["attempt"]].append(dict(row))
    faults: list[str] = []
    spent: Steps = Counter()
    due: Steps = Counter()
    for lines in attempts.values():
        reserved, ahead, closed = _read(lines, faults)
        spent.update(ahead)
        due.update(ahead if closed else reserved)
    delta = budget.delta
    return Recomputed(_epsilon(spent, delta), _epsilon(due, delta), tuple(faults), len(rows))


def _read(lines: list[dict[str, Any]], faults: list[str]) -> tuple[Steps, Steps, bool]:
    """Check one attempt's lines and add them up."""
    kinds = [line["kind"] for line in lines]
    if [line["sequence"] for line in lines] != list(range(len(lines))):
        faults.append("ledger.line_missing")
    if kinds[:1] != ["reserve"] or kinds.count("reserve") != 1:
        faults.append("ledger.not_reserved")
    closed = "close" in kinds
    if closed and (kinds.count("close") != 1 or kinds[-1] != "close"):
        faults.append("ledger.written_after_close")
    reserved, ahead = (
        _steps(line for line in lines if line["kind"] == kind) for kind in ("reserve", "ahead")
    )
    if any(steps > reserved[key] for key, steps in ahead.items()):
        faults.append("ledger.more_than_reserved")
    if any(int(item["steps"]) < 0 for line in lines for item in line["mechanisms"]):
        faults.append("ledger.negative_steps")
    return reserved, ahead, closed


def _steps(lines: Any) -> Steps:
    total: Steps = Counter()
    for line in lines:
        for item in line["mechanisms"]:
            what = str(item["part"]), str(item["noise_multiplier"]), int(item["sampling"])
            steps = max(0, int(item["steps"]))  # no line takes another back
            if stopping := int(item.get("stopping", 0)):
                total[*what, stopping, steps] += 1  # a search is paid for whole
            else:
                total[*what, 0, 1] += steps
    return total


def _epsilon(steps: Steps, delta: Decimal) -> float:
    """ε of the worse part: by a curve that is, at each order, the larger of the two parts'."""
    curves = []
    for part in {key[0] for key in steps}:
        accountant = RdpAccountant(ORDERS, NeighboringRelation.REPLACE_SPECIAL)
        for (where, noise, sampling, stopping, trial), count in steps.items():
            if where != part or not count:
                continue
            event = GaussianDpEvent(float(noise))
            if sampling != _EVERY_ROW:
                event = PoissonSampledDpEvent(sampling / _EVERY_ROW, event)
            event = SelfComposedDpEvent(event, trial)
            if stopping:
                event = RepeatAndSelectDpEvent(event, _EVERY_ROW / stopping, _GEOMETRIC)
            accountant.compose(event, count)
        curves.append([float(value) for value in accountant.rdp])
    if not any(any(curve) for curve in curves):
        return 0.0
    worst = [max(values) for values in zip(*curves, strict=True)]
    # Canonne, Kamath and Steinke (arXiv 2004.00010), Proposition 12, written out again.
    log_delta = math.log(float(delta))
    figures: list[float] = [
        rdp + math.log1p(-1 / order) - (log_delta + math.log(order)) / (order - 1)
        for order, rdp in zip(ORDERS, worst, strict=True)
    ]
    return max(0.0, min(figures))
