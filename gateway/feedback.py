"""True labels of answered calls: found, held against the answer, and sorted into new and known.

A label becomes one bit, whether the answer was right. Which label it was follows from the answer
and the bit where the model knows two, so that a second, different label is recognized without the
first being kept.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from audit.events import Event
from audit.recording import append_refusal
from gateway.authentication import KeyActor
from gateway.batches import Name, label_of
from gateway.errors import FeedbackConflictError, FeedbackError, LicenseError
from gateway.models import Feature, Feedback, License, Prediction, RowFeedback
from governance.errors import NotFoundError
from governance.permissions import Permission
from training.models import ModelVersion

MOST: Final = 1_000  # labels in one request


@dataclass(frozen=True)
class Sent:
    """One label, as it was sent: of which answer, and where it stood in the body."""

    name: Name
    label: str | None
    pointer: str = ""


@dataclass(frozen=True)
class Judged:
    """What is new among labels that were sent: answer and bit, in the order of the body."""

    fresh: tuple["Bit", ...]
    known: int


@dataclass(frozen=True)
class Bit:
    """Whether an answer was right: of a call, or of one row of a batch."""

    prediction: Prediction
    row: int | None
    correct: bool


def predictions_of(actor: KeyActor) -> "QuerySet[Prediction]":
    """The predictions that a key may speak of: those of its own license."""
    rows: QuerySet[Prediction] = (
        Prediction.objects.visible_to(actor)
        .filter(license_id=actor.facts.license_id)
        .select_related("version")
    )
    return rows


def denial_of(license_: License) -> LicenseError | None:
    """What of a call's denials also concerns its feedback, in their order.

    Labels may come late: neither the term nor the quota is asked.
    """
    if license_.revoked_at is not None:
        return LicenseError("the license was revoked", code="license.revoked")
    if license_.suspended_at is not None:
        return LicenseError("the license is suspended", code="license.suspended")
    if Feature.FEEDBACK.value not in license_.features:
        return LicenseError(
            "the license does not cover this feature", code="license.feature_missing"
        )
    return None


def judge(actor: KeyActor, sent: Sequence[Sent], *, now: datetime, lock: bool = False) -> Judged:
    """Hold labels against the answers that they are about; the customer's scope is open.

    Args:
        actor: the key.
        sent: the labels; a prediction may stand there twice with the same one.
        now: the moment of judgment.
        lock: hold the predictions' rows until the transaction ends.

    Raises:
        NotFoundError: a prediction is not there, or not this license's: one and the same answer.
        FeedbackError: `feedback.label_unknown`, `feedback.too_late`.
        FeedbackConflictError: `feedback.conflict`.
    """
    named = {one.name.prediction for one in sent}
    rows = predictions_of(actor).filter(pk__in=named).order_by("pk")
    found = {row.pk: row for row in (rows.select_for_update(of=("self",)) if lock else rows)}
    known = _known({one.name for one in sent}, found)
    fresh: dict[Name, bool] = {}
    repeated = 0
    for one in sent:
        row = found.get(one.name.prediction)
        if row is None or not _answers(row, one.name.row):
            raise NotFoundError("there is no such prediction here", pointer=one.pointer or None)
        correct = _correct(row, one)
        earlier = known.get(one.name, fresh.get(one.name))
        if earlier is None:
            _check_time(row, one, now)
            fresh[one.name] = correct
        elif earlier is correct:
            repeated += 1
        else:
            raise FeedbackConflictError(
                "another label was told for this prediction before",
                pointer=one.pointer or None,
            )
    bits = (Bit(found[name.prediction], name.row, correct) for name, correct in fresh.items())
    return Judged(tuple(bits), repeated)


def labels_of(version: ModelVersion) -> tuple[str | None, ...]:
    """The labels that a version tells apart, the positive one first; None is any but that one."""
    target = version.card.get("target") or {}
    return (target["positive"], target.get("negative")) if target.get("positive") else ()


def record_missing(actor: KeyActor) -> None:
    """Leave a trace of a look-up that found nothing, as `governance.lookup.find` does."""
    append_refusal(
        Event.LOOKUP_REFUSED,
        actor,
        None,
        NotFoundError.code,
        Permission.FEEDBACK_SEND.value,
        kind="prediction",
    )


def hour_of(moment: datetime) -> datetime:
    """The whole hour that a label is counted in; when exactly it came is nobody's business."""
    return moment.replace(minute=0, second=0, microsecond=0)


def _known(names: set[Name], found: Collection[UUID]) -> dict[Name, bool]:
    """What was told before of these answers."""
    of_calls = Feedback.objects.filter(prediction_id__in=found)
    known = {Name(key): bit for key, bit in of_calls.values_list("prediction_id", "correct")}
    places = {name.row for name in names if name.row is not None}
    if places:
        of_rows = RowFeedback.objects.filter(prediction_id__in=found, row__in=places)
        told = of_rows.values_list("prediction_id", "row", "correct")
        known |= {Name(key, place): bit for key, place, bit in told}
    return known


def _answers(row: Prediction, place: int | None) -> bool:
    """Whether a prediction has an answer of this name: a batch has one for each of its rows."""
    if row.rows is None or place is None:
        return row.rows is None and place is None
    return place < row.rows


def _correct(row: Prediction, one: Sent) -> bool:
    known = labels_of(row.version)
    if one.label not in known:
        raise FeedbackError("the model does not know this label", pointer=_label(one.pointer))
    # The answer's own label is the decision; it is null for any but the positive one.
    place = one.name.row
    label = row.answer["label"] if place is None else label_of(row.answer, place)
    return bool(label == one.label)


def _check_time(row: Prediction, one: Sent, now: datetime) -> None:
    days = int(settings.FEEDBACK_DAYS)
    if now - row.created_at > timedelta(days=days):
        raise FeedbackError(
            f"labels are taken for {days} days after the prediction",
            code="feedback.too_late",
            pointer=one.pointer or None,
        )


def _label(pointer: str) -> str:
    return f"{pointer}/label"
