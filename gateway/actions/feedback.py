"""True labels of answered calls, as their caller tells them later."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from audit.events import Event
from audit.recording import Record, action
from gateway.authentication import KeyActor
from gateway.feedback import Bit, Sent, denial_of, hour_of, judge
from gateway.models import Feedback, License, RowFeedback
from governance.permissions import Permission


@dataclass(frozen=True)
class Taken:
    """How many labels were new, and how many were told before."""

    taken: int
    known: int


@action(Event.FEEDBACK_TAKEN, requires=Permission.FEEDBACK_SEND)
def take_feedback(
    record: Record, actor: KeyActor, license_: License, *, sent: Sequence[Sent]
) -> Taken:
    """Write for each label whether the answer was right: all of them, or none. One entry a request.

    Raises:
        LicenseError: `license.revoked`, `license.suspended`, `license.feature_missing`.
        NotFoundError, FeedbackError, FeedbackConflictError: as `gateway.feedback.judge`.
    """
    denied = denial_of(License.objects.get(pk=license_.pk))
    if denied is not None:
        raise denied
    now = timezone.now()
    # Under the predictions' locks: of two requests about one, the second finds the first's label.
    judged = judge(actor, sent, now=now, lock=True)
    hour = hour_of(now)
    Feedback.objects.bulk_create(
        Feedback(**_told(actor, bit, hour)) for bit in judged.fresh if bit.row is None
    )
    RowFeedback.objects.bulk_create(
        RowFeedback(**_told(actor, bit, hour), row=bit.row)
        for bit in judged.fresh
        if bit.row is not None
    )
    record.facts(license=license_.reference, taken=len(judged.fresh), known=judged.known)
    return Taken(len(judged.fresh), judged.known)


def _told(actor: KeyActor, bit: Bit, hour: datetime) -> dict[str, Any]:
    return {
        "tenant_id": actor.tenant_id,
        "prediction": bit.prediction,
        "version": bit.prediction.version,
        "correct": bit.correct,
        "hour": hour,
    }
