"""`/api/v1/usage`: what was called and charged, a license at a time; and by the hour."""

from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import usage_events
from gateway.api.doors import Door, Pages, Resource, paged
from gateway.authentication import KeyActor
from gateway.bindings import scoped_read
from gateway.models import License, UsageEvent, UsageRollup
from governance.permissions import Permission


class LicenseUsage(serializers.Serializer[Any]):
    """One license's use."""

    license = serializers.UUIDField(source="id")
    model = serializers.CharField(source="model.slug")
    customer = serializers.CharField(source="customer.slug")
    quota = serializers.IntegerField()
    used = serializers.IntegerField(help_text="Units charged.")
    left = serializers.SerializerMethodField()
    calls = serializers.IntegerField(help_text="Answered calls, with test keys as well.")
    test_units = serializers.IntegerField(help_text="Units counted and not charged.")

    def get_left(self, license_: License) -> int:
        """Units that may still be charged."""
        return license_.quota - license_.used


@scoped_read(License, UsageEvent)
class Usage(Resource):
    """Use by license: of those that the caller's tenant gave or was given, or of the key's own."""

    model = License
    requires = Permission.LICENSE_VIEW
    serializer_class = LicenseUsage
    related = ("customer", "model")
    license_field = "pk"

    def rows(self) -> "QuerySet[Any]":
        """The licenses with their counts."""
        rows: QuerySet[Any] = (
            super()
            .rows()
            .annotate(
                calls=Count("usage"),
                test_units=Coalesce(Sum("usage__units", filter=Q(usage__charged=False)), 0),
            )
        )
        return rows

    def one(self, value: str) -> Any:
        """One of them."""
        return self.rows().get(pk=super().one(value).pk)


class RollupShown(serializers.ModelSerializer[UsageRollup]):
    """The usage of one license, kind and hour in one stretch of the log."""

    class Meta:
        model = UsageRollup
        fields = (
            "license", "sku", "hour", "calls", "units", "charged", "first_index", "last_index",
        )  # fmt: skip


@scoped_read(UsageRollup)
class Rollups(Door):
    """Usage by the hour, with the places of its entries in the log; an hour may take several."""

    serializer_class = RollupShown
    pagination_class = Pages  # read by the schema

    @extend_schema(operation_id="usage_rollups", tags=["usage"], responses=RollupShown(many=True))
    def get(self, request: Request) -> Response:
        """A page of rollups, the newest hour first."""
        self.allow(Permission.LICENSE_VIEW, "usagerollup")
        rows = UsageRollup.objects.visible_to(self.actor)
        if isinstance(self.actor, KeyActor):
            rows = rows.filter(license_id=self.actor.facts.license_id)
        return paged(self, request, rows, RollupShown, ordering="-hour")


class BatchRenderer(JSONRenderer):
    """JSON under the media type of a batch of CloudEvents."""

    media_type = usage_events.MEDIA_TYPE
    format = "cloudevents"


class UsageData(serializers.Serializer[Any]):
    """What an event says of a call."""

    customer = serializers.UUIDField()
    license = serializers.UUIDField()
    sku = serializers.CharField()
    units = serializers.IntegerField()
    charged = serializers.BooleanField(help_text="False for a test key's call.")
    entry = serializers.UUIDField(help_text="The audit entry that proves it.")
    index = serializers.IntegerField(help_text="The entry's place in the log.")


class CloudEvent(serializers.Serializer[Any]):
    """A usage event (CloudEvents 1.0, JSON format)."""

    specversion = serializers.CharField()
    type = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # a name of the base class's
    id = serializers.CharField(help_text="Unique with the source; a second time, drop it.")
    time = serializers.DateTimeField()
    subject = serializers.CharField()
    datacontenttype = serializers.CharField()
    data = UsageData()  # type: ignore[assignment]  # as above


@scoped_read(UsageRollup)
class Events(Door):
    """Usage as CloudEvents, in the order of the log."""

    renderer_classes = (BatchRenderer, JSONRenderer)

    @extend_schema(
        operation_id="usage_events",
        tags=["usage"],
        parameters=[OpenApiParameter("cursor", str, description="From the last `Link`.")],
        responses={
            (200, usage_events.MEDIA_TYPE): CloudEvent(many=True),
            (200, "application/json"): CloudEvent(many=True),
        },
    )
    def get(self, request: Request) -> Response:
        """A batch from the cursor on. The `Link` header says where to go on, now or later."""
        self.allow(Permission.LICENSE_VIEW, "usagerollup")
        licenses = License.objects.visible_to(self.actor)
        if isinstance(self.actor, KeyActor):
            licenses = licenses.filter(pk=self.actor.facts.license_id)
        cursor = usage_events.read_cursor(request.query_params.get("cursor", ""))
        found = usage_events.batch(set(licenses.values_list("pk", flat=True)), cursor)
        address = request.build_absolute_uri(f"{request.path}?cursor={found.next}")
        return Response(found.events, headers={"Link": f'<{address}>; rel="next"'})
