"""`/api/v1/detector-measurements`: what each version of the detector was measured to find."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.doors import Resource
from gateway.bindings import scoped_read
from governance.measurement.shown import shown
from governance.models import DetectorMeasurement
from governance.permissions import Permission


class ScoreShown(serializers.Serializer[Any]):
    """The figures of one language, shape and entity; `*` stands for all of them."""

    language = serializers.CharField()
    shape = serializers.CharField(help_text="structured, unheaded or prose")
    entity = serializers.CharField()
    labeled = serializers.IntegerField()
    found = serializers.IntegerField(help_text="labeled, and reported as that entity or its kin")
    hidden = serializers.IntegerField(help_text="labeled, and every character of it reported")
    reported = serializers.IntegerField()
    right = serializers.IntegerField(help_text="reported, and labeled as that entity or its kin")
    precision = serializers.FloatField(allow_null=True)
    precision_interval = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    recall = serializers.FloatField(allow_null=True)
    recall_interval = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    every_character_hidden = serializers.FloatField(allow_null=True)
    hidden_interval = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    f2 = serializers.FloatField(allow_null=True)
    leak_at_most = serializers.FloatField(help_text="one-sided upper bound, 95 %")


class MeasurementShown(serializers.ModelSerializer[DetectorMeasurement]):
    """A measurement, by all entities of a language and shape together."""

    totals = serializers.SerializerMethodField()

    class Meta:
        model = DetectorMeasurement
        fields: tuple[str, ...] = (
            "id", "detector", "rules", "labeled", "rows", "measured_at", "totals",
        )  # fmt: skip

    @extend_schema_field(ScoreShown(many=True))
    def get_totals(self, made: DetectorMeasurement) -> list[dict[str, Any]]:
        """All entities together."""
        totals: list[dict[str, Any]] = shown(made)["totals"]
        return totals


class MeasurementDetail(MeasurementShown):
    """With every entity by itself."""

    scores = serializers.SerializerMethodField()

    class Meta(MeasurementShown.Meta):
        fields = (*MeasurementShown.Meta.fields, "scores")

    @extend_schema_field(ScoreShown(many=True))
    def get_scores(self, made: DetectorMeasurement) -> list[dict[str, Any]]:
        """Entity by entity."""
        scores: list[dict[str, Any]] = shown(made)["scores"]
        return scores


@scoped_read(DetectorMeasurement)
class Measurements(Resource):
    """Measurements of the caller's tenant, the newest first."""

    model = DetectorMeasurement
    requires = Permission.DETECTOR_VIEW
    serializer_class = MeasurementShown
    ordering = "-measured_at"

    @extend_schema(responses=MeasurementDetail)
    def retrieve(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """One measurement, entity by entity."""
        self.allow(self.requires, self.kind)
        return Response(MeasurementDetail(self.one(pk)).data)
