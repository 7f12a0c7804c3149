"""Bodies and answers of `/api/v1/models/{slug}/versions/{n}/service`, `rollback` and `sunset`."""

from typing import Any

from rest_framework import serializers

from gateway.api.doors import Body
from training.models import Service


class ServiceBody(Body):
    """Which calls a version answers."""

    service = serializers.ChoiceField(Service.choices)
    share = serializers.IntegerField(
        min_value=1, max_value=99, default=10, help_text="Of a canary: percent of the calls."
    )


class SunsetBody(Body):
    """When a version's service ends; null takes the notice back."""

    ends_at = serializers.DateTimeField(allow_null=True)


class AffectedLicense(serializers.Serializer[Any]):
    """A license that a version's end concerns."""

    license = serializers.UUIDField(source="pk")
    customer = serializers.SlugField(source="customer.slug")
    bound = serializers.SerializerMethodField(help_text="Whether it is bound to this version.")
    expires_at = serializers.DateTimeField()

    def get_bound(self, license_: Any) -> bool:
        """Another version answers the calls of those that are not."""
        return license_.version is not None


class Comparison(serializers.Serializer[Any]):
    """A shadow beside a version that answered."""

    beside = serializers.IntegerField(help_text="Number of the version that answered.")
    scored = serializers.IntegerField()
    labels = serializers.IntegerField(help_text="Calls to which it gave another label.")
    higher = serializers.IntegerField(help_text="Calls to which it gave a higher score.")
    failed = serializers.IntegerField()
    distances = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="Calls by how far the scores are apart: up to 0.001, 0.01, 0.05, 0.1, 0.25, 1.",
    )


class ServiceShown(serializers.Serializer[Any]):
    """A version's part, its end, and what it was found to be as a shadow."""

    number = serializers.IntegerField()
    state = serializers.CharField()
    service = serializers.ChoiceField(Service.choices)
    share = serializers.IntegerField()
    deprecated_at = serializers.DateTimeField(allow_null=True)
    sunset_at = serializers.DateTimeField(allow_null=True)
    affected = AffectedLicense(many=True)
    compared = Comparison(many=True)
