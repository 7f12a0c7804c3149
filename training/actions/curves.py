"""A run's curves, handed out as a file."""

from dataclasses import dataclass

from audit.events import Event
from audit.recording import Record, action
from governance.permissions import Permission
from governance.rbac import UserActor
from training.curves import event_file, file_name
from training.errors import RunStateError
from training.models import Run


@dataclass(frozen=True)
class EventFile:
    """A file for TensorBoard: its name and bytes."""

    name: str
    content: bytes


@action(Event.RUN_CURVES_EXPORTED, requires=Permission.RUN_VIEW)
def export_curves(record: Record, actor: UserActor, run: Run) -> EventFile:
    """The curves of a run's newest attempt as a TensorBoard event file: noised values alone.

    Raises:
        RunStateError: `run.no_curves`, it has no point yet.
    """
    del actor
    points = list(run.points.filter(attempt=run.attempt))
    if not points:
        raise RunStateError("this run has no curve yet", code="run.no_curves")
    record.facts(attempt=run.attempt, points=len(points))
    return EventFile(file_name(str(run.id), run.attempt), event_file(points))
