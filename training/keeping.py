"""For how long a stopped run can be gone on with.

A checkpoint holds the secret that a run's noise followed from. It goes with the action that ends
the run, where going on would only repeat that end; what is kept so that somebody may go on goes
`CHECKPOINT_KEEP_DAYS` after the end (`training.keeper`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings

from training.models import Checkpoint, Run, RunState

# States in which a worker may write to a checkpoint, or read it.
AT_WORK: Final = frozenset({RunState.QUEUED, RunState.RUNNING})
# Ends after which going on makes sense: nothing of what was computed was at fault.
GOES_ON: Final = frozenset(
    {
        "run.cancelled",
        "run.worker_lost",
        "checkpoint.not_written",
        "engine.devices_busy",
        "engine.devices_lost",
        "engine.rank_lost",
        "internal",
    }
)


def is_over(run: Run, written: datetime, now: datetime) -> bool:
    """Whether what was kept of a run must go: it would only repeat its end, or its time is over.

    Args:
        run: whose checkpoint it is.
        written: when its checkpoint was last written: the time of one that waits for an approval.
        now: the time.
    """
    if run.state in AT_WORK:
        return False
    if run.state == RunState.FINISHED or (
        run.state == RunState.FAILED and run.error_code not in GOES_ON
    ):
        return True
    return (run.ended_at or written) < now - timedelta(days=settings.CHECKPOINT_KEEP_DAYS)


@dataclass(frozen=True)
class Kept:
    """Where a new attempt would go on.

    Attributes:
        step: the step that it would begin at.
        until: when that goes; None of a run that has not ended.
    """

    step: int
    until: datetime | None


def kept_of(run: Run) -> Kept | None:
    """What a run that is tried again goes on from; None where it begins anew."""
    row = Checkpoint.objects.filter(run=run, since=run.since).first()
    if row is None or run.state == RunState.FINISHED:
        return None
    keep = timedelta(days=settings.CHECKPOINT_KEEP_DAYS)
    return Kept(row.step, None if run.ended_at is None else run.ended_at + keep)
