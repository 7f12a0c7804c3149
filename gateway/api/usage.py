"""`/api/v1/usage`: what was called and charged, a license at a time."""

from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from rest_framework import serializers

from gateway.api.doors import Resource
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
