"""Write down what a detector was measured to find."""

from dataclasses import dataclass

from audit.events import Event
from audit.recording import Record, action
from governance.measurement.scoring import Count
from governance.models import DetectorMeasurement, Tenant
from governance.permissions import Permission
from governance.rbac import UserActor


@dataclass(frozen=True)
class Measured:
    """One measurement: of what, by what, and what came out. Counts only.

    Attributes:
        detector: `detector_version()` of what was measured.
        rules: the edition of the tenant's own rules that took part, or "".
        labeled: the labeled file's digest, keyed: a set of few people could be guessed.
        rows: how many.
        counts: by language, shape and entity.
    """

    detector: str
    rules: str
    labeled: str
    rows: int
    counts: tuple[Count, ...]


@action(Event.DETECTOR_MEASURED, requires=Permission.DETECTOR_MEASURE)
def record_measurement(
    record: Record, actor: UserActor, tenant: Tenant, *, measured: Measured
) -> DetectorMeasurement:
    """Keep a measurement beside the version of the detector that it is of."""
    made = DetectorMeasurement.objects.create(
        tenant=tenant,
        detector=measured.detector,
        rules=measured.rules,
        labeled=measured.labeled,
        rows=measured.rows,
        counts=[count.as_dict() for count in measured.counts],
        measured_by_id=actor.user_id,
    )
    record.about(made)
    record.facts(
        detector=measured.detector,
        rules=measured.rules or "none",
        labeled=measured.labeled,
        rows=measured.rows,
        values=sum(count.labeled for count in measured.counts),
        hidden=sum(count.hidden for count in measured.counts),
    )
    return made
