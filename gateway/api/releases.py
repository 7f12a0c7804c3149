"""`/api/v1/data-releases`: what left the house, for whom, and how well people hide in it."""

from typing import Any

from rest_framework import serializers

from gateway.api.doors import Resource
from gateway.bindings import scoped_read
from governance.models.releases import DataRelease
from governance.permissions import Permission


class DataReleaseShown(serializers.ModelSerializer[DataRelease]):
    """One file that was handed to one recipient."""

    dataset: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        source="version.dataset", slug_field="name", read_only=True
    )
    number = serializers.IntegerField(source="version.number", read_only=True)
    measures = serializers.DictField(read_only=True)
    reasons = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = DataRelease
        fields = (
            "id", "dataset", "version", "number", "recipient", "recipient_class", "rows",
            "suppressed", "measures", "level", "needs_human", "reasons", "digest", "released_at",
            "released_by",
        )  # fmt: skip


@scoped_read(DataRelease)
class DataReleases(Resource):
    """Releases of the caller's tenant."""

    model = DataRelease
    requires = Permission.RELEASE_VIEW
    serializer_class = DataReleaseShown
    related = ("version__dataset",)
    ordering = "-released_at"
