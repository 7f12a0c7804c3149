"""`/api/v1/examinations`: attacks on models of one's own, and what they found."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.doors import Body, Resource
from gateway.bindings import binds_action, scoped_read
from governance.permissions import Permission
from training.actions.examinations import DEFAULT_EPSILON, DEFAULT_SHADOWS, cancel_examination
from training.examination import SHOWS, Examination, ExaminationKind


class ShowsShown(serializers.Serializer[Any]):
    """What a kind of attack can show, and what it cannot."""

    kind = serializers.CharField()
    shows = serializers.CharField()
    does_not_show = serializers.CharField()


class ExaminationShown(serializers.ModelSerializer[Examination]):
    """An examination: what was asked, and its figures once it has finished."""

    kinds = serializers.ListField(child=serializers.ChoiceField(ExaminationKind.choices))
    figures = serializers.DictField(help_text="By kind; `objections` names what was found.")
    labels = serializers.SerializerMethodField()

    class Meta:
        model = Examination
        fields = (
            "id", "version", "kinds", "shadows", "epsilon", "run", "state", "figures", "digest",
            "labels", "error_code", "created_at", "ended_at",
        )  # fmt: skip

    @extend_schema_field(ShowsShown(many=True))
    def get_labels(self, examination: Examination) -> list[dict[str, str]]:
        """How to read the figures of each kind."""
        return [
            {"kind": kind, "shows": str(SHOWS[kind][0]), "does_not_show": str(SHOWS[kind][1])}
            for kind in examination.kinds
        ]


class ExaminationBody(Body):
    """Which attacks, and what they may charge."""

    kinds = serializers.ListField(
        child=serializers.CharField(max_length=20),
        min_length=1,
        max_length=len(ExaminationKind.values),
        required=False,
        help_text="loss, lira, engine; the first if not given.",
    )
    shadows = serializers.IntegerField(
        required=False, help_text=f"Shadow models of lira; {DEFAULT_SHADOWS} if not given."
    )
    epsilon = serializers.CharField(
        max_length=40,
        required=False,
        help_text=f"ε of the noisy figures of loss; {DEFAULT_EPSILON} if not given.",
    )


@scoped_read(Examination)
class Examinations(Resource):
    """Examinations of the caller's models, the newest first."""

    model = Examination
    requires = Permission.EXAMINATION_VIEW
    serializer_class = ExaminationShown

    @extend_schema(request=None, responses=ExaminationShown)
    @route(detail=True, methods=["post"])
    @binds_action(cancel_examination)
    def cancel(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """End it without figures: what it wrote ahead stays charged, the rest is released."""
        return Response(ExaminationShown(cancel_examination(self.person, self.one(pk))).data)
