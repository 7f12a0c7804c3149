"""What a person is told of a run: its state, its cost, its model; and waiting until it ends."""

import time
from collections.abc import Callable
from typing import Any, Final

from audit.canonical import decimal
from governance import approvals
from governance.permissions import ProposalKind
from training import costs, ledger
from training.errors import RunFailedError
from training.keeping import kept_of
from training.models import Budget, Guarantee, ModelVersion, Run, RunState

ENDED: Final = frozenset({RunState.FINISHED, RunState.FAILED, RunState.CANCELLED})
_PAUSE: Final = 0.3


def told(run: Run) -> dict[str, Any]:
    """A run as commands print it.

    Keys: run, model, version (None until it finished), state, priority, attempt, guarantee,
    proposal (None unless it waits for approval), goes_on_from (the step of what is kept of it; None
    where an attempt begins anew), epsilon_asked, epsilon_spent (this attempt alone),
    epsilon_left and epsilon_spent_dataset (the dataset's budget now), delta, steps, auroc (None
    also where the card says that it is not measurable), seconds and cost (of all attempts until
    now; cost by currency), error.
    """
    budget = Budget.objects.filter(dataset_id=run.version.dataset_id).first()
    version = ModelVersion.objects.filter(run=run).first()
    result: dict[str, Any] = {
        "run": str(run.id),
        "model": run.model_name,
        "version": None if version is None else version.number,
        "state": run.state,
        "priority": run.priority,
        "attempt": run.attempt,
        "guarantee": run.guarantee,
        "proposal": _waits_for(run),
        "goes_on_from": None if (kept := kept_of(run)) is None else kept.step,
        "epsilon_asked": f"{run.epsilon:f}",
        "steps": ledger.line(run).steps,
        "auroc": None if version is None else _auroc(version),
        "error": run.error_code or None,
        **costs.taken(run).as_dict(),
    }
    if budget is not None:
        shown = ledger.statement(budget)
        delta = float(budget.delta)
        promised = run.guarantee == Guarantee.DP
        spent = decimal(ledger.spent_by(run, delta))
        result |= {
            "epsilon_spent": spent if promised else None,
            "epsilon_spent_dataset": decimal(shown.spent),
            "epsilon_left": decimal(shown.left),
            "delta": shown.as_dict()["delta"],
        }
    return result


def _auroc(version: ModelVersion) -> str | None:
    figure = version.card["evaluation"]["auroc"]
    return None if figure is None else str(figure["value"])


def _share(value: float | None) -> str:
    """A noisy share as a whole percentage within its range."""
    return "–" if value is None else f"{100 * min(1.0, max(0.0, value)):.0f} %"


def _waits_for(run: Run) -> str | None:
    if run.state != RunState.AWAITING_APPROVAL:
        return None
    kind = (
        ProposalKind.RUN_WAIVER if run.guarantee == Guarantee.WAIVED else ProposalKind.RUN_ADMISSION
    )
    proposal = approvals.latest(kind, run)
    return None if proposal is None else str(proposal.id)


def wait(
    run: Run,
    *,
    seconds: float,
    say: Callable[[str], None],
    meanwhile: Callable[[], None] | None = None,
) -> Run:
    """Wait until a run ends or needs an approval, telling of its progress.

    `meanwhile` is called before each pause.

    Raises:
        RunFailedError: it failed or was cancelled, with its code; or `run.wait_over`.
    """
    until = time.monotonic() + seconds
    seen = ""
    while True:
        run = Run.objects.get(pk=run.pk)
        point = run.points.filter(attempt=run.attempt).last()
        line = (
            f"{run.state}"
            if point is None
            else f"{run.state}: step {point.step}/{point.steps}, ε {point.epsilon:.3f} so far, "
            f"loss {point.loss:.3f}, {_share(point.clip_fraction)} clipped (noised)"
        )
        if line != seen:
            say(line)
            seen = line
        if run.state in {RunState.FAILED, RunState.CANCELLED}:
            raise RunFailedError(f"the run {run.state}", code=run.error_code or f"run.{run.state}")
        if run.state in {RunState.FINISHED, RunState.AWAITING_APPROVAL}:
            return run
        if time.monotonic() > until:
            raise RunFailedError("the run has not ended yet: it goes on", code="run.wait_over")
        if meanwhile is not None:
            meanwhile()
        time.sleep(_PAUSE)
