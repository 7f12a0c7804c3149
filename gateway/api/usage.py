"""`/api/v1/usage`: what was called and charged, a license at a time."""

from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.doors import Resource, paged
from gateway.authentication import KeyActor
from gateway.bindings import scoped_read
from gateway.models import License, UsageEvent
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

    def rows(self) -> "QuerySet[Any]":
        """The licenses with their counts."""
        rows = super().rows()
        if isinstance(self.actor, KeyActor):
            rows = rows.filter(pk=self.actor.facts.license_id)
        return rows.annotate(
            calls=Count("usage"),
            test_units=Coalesce(Sum("usage__units", filter=Q(usage__charged=False)), 0),
        )

    @extend_schema(responses=LicenseUsage(many=True))
    def list(self, request: Request) -> Response:
        """A page of licenses and their use."""
        self.allow(self.requires, "usage")
        return paged(self, request, self.rows(), LicenseUsage, ordering="-created_at")
