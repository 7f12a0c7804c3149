"""`POST /api/v1/predictions/{prediction}/feedback`, and `/feedback` for many: true labels."""

from typing import Any, Final

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import feedback
from gateway.actions.feedback import Taken, take_feedback
from gateway.api.doors import Body, Door, checked
from gateway.authentication import KeyActor
from gateway.batches import NAME, Name
from gateway.bindings import binds_action
from gateway.errors import FeedbackError
from gateway.feedback import MOST, Sent
from gateway.licensing import covers
from gateway.models import License, Prediction
from gateway.scopes import FEEDBACK
from governance.errors import NotFoundError
from governance.lookup import find
from governance.permissions import Permission
from training.features import LARGEST_CELL

_LABEL_HELP: Final = "One of the model's two labels; null where it tells one from all others."


class PredictionName(serializers.RegexField):
    """The name of an answer, as a `Name`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(NAME, **options)

    def to_internal_value(self, data: Any) -> Any:
        """What it names."""
        return Name.read(super().to_internal_value(data))

    def run_validators(self, value: Any) -> None:
        """The form is looked at as the name is read."""
        if value is None:
            self.fail("invalid")


class LabelBody(Body):
    """The true label of one prediction."""

    label = serializers.CharField(  # type: ignore[assignment]  # a field, not Field.label
        allow_null=True, max_length=LARGEST_CELL, help_text=_LABEL_HELP
    )


class LabelItem(Body):
    """The true label of a prediction."""

    prediction = PredictionName(
        help_text="Of a call its `prediction`, of a row of a batch `{batch}_{row}`."
    )
    label = serializers.CharField(  # type: ignore[assignment]  # as above
        allow_null=True, max_length=LARGEST_CELL, help_text=_LABEL_HELP
    )


class LabelsBody(Body):
    """True labels of several predictions: all are taken, or none."""

    items = serializers.ListField(child=LabelItem(), min_length=1, max_length=MOST)


class FeedbackTaken(serializers.Serializer[Any]):
    """What came of it."""

    taken = serializers.IntegerField(help_text="Labels that are new.")
    known = serializers.IntegerField(help_text="Labels that were told before, the same.")


class _FeedbackDoor(Door):
    """Feedback comes with an API key only, about the calls of its own license."""

    def key(self) -> KeyActor:
        """Who calls.

        Raises:
            RefusedError: `permission.keys_only`, `key.scope_missing`; recorded.
        """
        if not isinstance(self.actor, KeyActor):
            raise self._refused("permission.keys_only", "prediction")
        if not covers(self.actor.facts, FEEDBACK):
            raise self._refused("key.scope_missing", "prediction", Permission.FEEDBACK_SEND)
        return self.actor

    def take(self, actor: KeyActor, sent: list[Sent]) -> Response:
        """Take what is new. Where nothing is, nothing is written: a repeat leaves no entry."""
        license_ = find(actor, License, str(actor.facts.license_id))
        try:
            judged = feedback.judge(actor, sent, now=timezone.now())
        except NotFoundError:
            feedback.record_missing(actor)
            raise
        except FeedbackError:
            judged = None  # told, and recorded, by the action
        if judged is not None and not judged.fresh and feedback.denial_of(license_) is None:
            taken = Taken(0, judged.known)
        else:
            taken = take_feedback(actor, license_, sent=sent)
        return Response(FeedbackTaken(taken).data)


@binds_action(take_feedback)
class SingleFeedback(_FeedbackDoor):
    """The true label of one prediction."""

    @extend_schema(
        operation_id="feedback_of_one",
        tags=["predictions"],
        request=LabelBody,
        responses=FeedbackTaken,
    )
    def post(self, request: Request, prediction: str) -> Response:
        """Tell the true label of a prediction. The same label again changes nothing."""
        actor = self.key()
        told = checked(LabelBody, request)
        name = Name.read(prediction)
        sought = prediction if name is None else str(name.prediction)
        found = find(actor, Prediction, sought, license_id=actor.facts.license_id)
        row = None if name is None else name.row
        return self.take(actor, [Sent(Name(found.pk, row), told["label"])])


@binds_action(take_feedback)
class BulkFeedback(_FeedbackDoor):
    """The true labels of several predictions."""

    @extend_schema(
        operation_id="feedback",
        tags=["predictions"],
        request=LabelsBody,
        responses=FeedbackTaken,
    )
    def post(self, request: Request) -> Response:
        """Tell the true labels of up to a thousand predictions: all are taken, or none."""
        actor = self.key()
        told = checked(LabelsBody, request)
        sent = [
            Sent(item["prediction"], item["label"], f"/items/{place}")
            for place, item in enumerate(told["items"])
        ]
        return self.take(actor, sent)
