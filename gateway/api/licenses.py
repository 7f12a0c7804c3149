"""`/api/v1/licenses`: who may call which model, how often, until when."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.actions.licenses import issue_license, revoke_license
from gateway.api.doors import Body, Resource, checked
from gateway.bindings import binds_action, scoped_read
from gateway.catalog import find_tenant
from gateway.models import Feature, License
from governance.lookup import find
from governance.permissions import Permission
from training.models import Model


class LicenseShown(serializers.ModelSerializer[License]):
    """A license, as its owner and its customer see it."""

    customer: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        slug_field="slug", read_only=True
    )
    model: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        slug_field="slug", read_only=True
    )
    features = serializers.ListField(child=serializers.ChoiceField(Feature.choices))
    version = serializers.IntegerField(
        source="pinned.number", default=None, allow_null=True, read_only=True,
        help_text="The version that it is bound to; null where it follows the model.",
    )  # fmt: skip

    class Meta:
        model = License
        fields = (
            "id", "customer", "model", "features", "purpose", "quota", "used", "starts_at",
            "expires_at", "revoked_at", "created_at", "version",
        )  # fmt: skip


class LicenseBody(Body):
    """The terms of a new license."""

    model = serializers.CharField(max_length=80, help_text="Slug or id of a model of one's own.")
    customer = serializers.CharField(max_length=60, help_text="Slug or id of the customer.")
    features = serializers.ListField(child=serializers.ChoiceField(Feature.choices), max_length=8)
    purpose = serializers.SlugField(max_length=60)
    quota = serializers.IntegerField(min_value=1, max_value=2**53 - 1)
    expires_at = serializers.DateTimeField()
    starts_at = serializers.DateTimeField(required=False)
    version = serializers.IntegerField(
        min_value=1, required=False, help_text="A released version's number, to bind it to."
    )


@scoped_read(License)
class Licenses(Resource):
    """Licenses that the caller's tenant gave or was given."""

    model = License
    requires = Permission.LICENSE_VIEW
    serializer_class = LicenseShown
    related = ("customer", "model", "pinned")
    license_field = "pk"

    @extend_schema(request=LicenseBody, responses={201: LicenseShown})
    @binds_action(issue_license)
    def create(self, request: Request) -> Response:
        """Issue a license for a model of one's own."""
        person = self.person
        terms: dict[str, Any] = checked(LicenseBody, request)
        model = find(person, Model, terms.pop("model"))
        customer = find_tenant(person, terms.pop("customer"))
        made = issue_license(person, model, customer=customer, **terms)
        return Response(LicenseShown(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=LicenseShown)
    @route(detail=True, methods=["post"])
    @binds_action(revoke_license)
    def revoke(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """End a license now."""
        return Response(LicenseShown(revoke_license(self.person, self.one(pk))).data)
