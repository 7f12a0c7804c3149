"""Which changes of a run's state are legal: one table, for the code and for a database trigger.

    awaiting_approval ─► queued ─► running ─► finished
           │               │          ├────► failed ─────┐
           └───────────────┴──────────┴────► cancelled ──┴─► a new attempt: queued, or awaiting

`move` is the one place that changes a state. `training.guards` puts the same table into the
database, so that no other way leads around it.
"""

from typing import Final

from training.errors import ExaminationStateError, RunStateError
from training.examination import Examination, ExaminationState
from training.models import Run, RunState

LEGAL: Final[dict[RunState, frozenset[RunState]]] = {
    RunState.AWAITING_APPROVAL: frozenset(
        {RunState.AWAITING_APPROVAL, RunState.QUEUED, RunState.CANCELLED}
    ),
    # A worker may find, before it begins, that the attempt must not go on.
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.FAILED, RunState.CANCELLED}),
    # Running again: a worker takes over from one that died.
    RunState.RUNNING: frozenset(
        {RunState.RUNNING, RunState.FINISHED, RunState.FAILED, RunState.CANCELLED}
    ),
    RunState.FINISHED: frozenset(),
    RunState.FAILED: frozenset({RunState.QUEUED, RunState.AWAITING_APPROVAL}),
    RunState.CANCELLED: frozenset({RunState.QUEUED, RunState.AWAITING_APPROVAL}),
}

# An examination that has ended is never taken up again: another one is asked for.
LEGAL_OF_EXAMINATIONS: Final[dict[ExaminationState, frozenset[ExaminationState]]] = {
    ExaminationState.QUEUED: frozenset(
        {ExaminationState.FINISHED, ExaminationState.FAILED, ExaminationState.CANCELLED}
    ),
    ExaminationState.FINISHED: frozenset(),
    ExaminationState.FAILED: frozenset(),
    ExaminationState.CANCELLED: frozenset(),
}


def move_examination(examination: Examination, to: ExaminationState, *also: str) -> None:
    """Change the state of an examination whose row is locked; as `move`.

    Raises:
        ExaminationStateError: there is no such way.
    """
    if to not in LEGAL_OF_EXAMINATIONS[ExaminationState(examination.state)]:
        raise ExaminationStateError(f"this examination is {examination.state}")
    examination.state = to
    examination.save(update_fields=["state", *also])


def move(run: Run, to: RunState, *also: str) -> None:
    """Change the state of a run whose row is locked, and save it with these other fields.

    Raises:
        RunStateError: there is no such way.
    """
    if to not in LEGAL[RunState(run.state)]:
        raise RunStateError(f"a run that is {run.state} does not become {to.value}")
    run.state = to
    run.save(update_fields=["state", *also])
