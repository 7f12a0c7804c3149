"""`/api/v1/sources` and `/fetches`: data from a place that the operator named."""

from dataclasses import fields
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.doors import Body, Door, Resource, checked
from gateway.bindings import binds_action, reads_no_tenant_data, scoped_read
from governance.actions.datasets import Declared
from governance.actions.fetches import request_fetch
from governance.errors import InvalidError
from governance.lookup import find, own_tenant
from governance.models import Dataset, Fetch
from governance.permissions import Permission
from governance.sources.config import LONGEST_SELECTION, sources_of
from governance.sources.fetching import ask

_DECLARED = tuple(field.name for field in fields(Declared))


class SourceShown(serializers.Serializer[Any]):
    """A source: its name, and what a selection of it is. Its address is the operator's."""

    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=("folder", "bucket", "query"))


class SourcesShown(serializers.Serializer[Any]):
    """All sources of a tenant: they are few, and on one page."""

    results = SourceShown(many=True)


class FetchShown(serializers.ModelSerializer[Fetch]):
    """A fetch, and the dataset that came of it."""

    dataset: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        slug_field="name", read_only=True, allow_null=True
    )

    class Meta:
        model = Fetch
        fields = ("id", "source", "state", "dataset", "error_code", "error_detail", "requested_at")


class FetchBody(Body):
    """What to fetch: for a new dataset (`name`, `purposes`) or for a batch of one (`dataset`)."""

    source = serializers.CharField(max_length=40)  # type: ignore[assignment]  # DRF takes fields off the class
    select = serializers.CharField(
        max_length=LONGEST_SELECTION, allow_blank=True, help_text="Path, prefix or query."
    )
    dataset = serializers.CharField(max_length=80, required=False)
    name = serializers.SlugField(max_length=80, required=False)
    purposes = serializers.ListField(child=serializers.SlugField(), required=False)
    regimes = serializers.ListField(child=serializers.CharField(max_length=20), required=False)
    languages = serializers.ListField(child=serializers.CharField(max_length=20), required=False)
    subject_column = serializers.CharField(max_length=100, required=False)
    sensitive = serializers.ListField(child=serializers.CharField(max_length=40), required=False)
    declarations = serializers.DictField(required=False)


@reads_no_tenant_data(reason="names of sources are settings, those of the caller's tenant")
class Sources(Door):
    """Where the caller's tenant may fetch from."""

    @extend_schema(responses=SourcesShown)
    def get(self, request: Request) -> Response:
        """Every source that the tenant may read."""
        del request
        self.allow(Permission.DATASET_VIEW, "source")
        return Response(SourcesShown({"results": sources_of(own_tenant(self.person))}).data)


@scoped_read(Fetch)
class Fetches(Resource):
    """Fetches of the caller's tenant."""

    model = Fetch
    requires = Permission.DATASET_VIEW
    serializer_class = FetchShown
    ordering = "-requested_at"
    related = ("dataset",)

    @extend_schema(request=FetchBody, responses={202: FetchShown})
    @binds_action(request_fetch)
    def create(self, request: Request) -> Response:
        """Have a worker fetch; look at `state`, then at the dataset."""
        asked = checked(FetchBody, request)
        person = self.person
        said = {name: asked[name] for name in _DECLARED if name in asked}
        if bool(said) == ("dataset" in asked):
            raise InvalidError(
                "say what a new dataset is, or name the one that takes a batch",
                code="source.target_unclear",
            )
        dataset = find(person, Dataset, asked["dataset"]) if "dataset" in asked else None
        fetch = ask(
            person,
            own_tenant(person),
            asked["source"],
            asked["select"],
            declared=_declared(said) if said else None,
            dataset=dataset,
        )
        return Response(
            FetchShown(fetch).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"/api/v1/fetches/{fetch.id}"},
        )


def _declared(said: dict[str, Any]) -> Declared:
    given: dict[str, Any] = {"name": "", "purposes": ()}
    for name, value in said.items():
        given[name] = tuple(value) if isinstance(value, list) else value
    return Declared(**given)
