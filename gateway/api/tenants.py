"""`/api/v1/tenants`: one's own organization; all of them for who runs the platform."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from gateway.api.doors import Body, Door, Pages, checked, paged
from gateway.bindings import binds_action, scoped_read
from gateway.catalog import find_tenant, tenants_for
from governance.actions.tenants import create_tenant
from governance.lookup import own_tenant
from governance.models import Tenant
from governance.models.tenants import Suite
from governance.permissions import Permission


class TenantShown(serializers.ModelSerializer[Tenant]):
    """An organization."""

    class Meta:
        model = Tenant
        fields = ("id", "slug", "name", "is_provider", "is_customer", "suite", "created_at")


class TenantBody(Body):
    """A new organization."""

    slug = serializers.SlugField(max_length=60)
    name = serializers.CharField(max_length=120)
    provider = serializers.BooleanField(default=False)
    customer = serializers.BooleanField(default=False)
    suite = serializers.ChoiceField(Suite.choices, default=Suite.INTERNATIONAL)


@scoped_read(Tenant)
class Tenants(Door, ViewSet):
    """Organizations that the caller may see."""

    serializer_class = TenantShown
    pagination_class = Pages  # read by the schema

    @extend_schema(responses=TenantShown(many=True))
    def list(self, request: Request) -> Response:
        """A page of organizations."""
        self.allow(Permission.TENANT_VIEW, "tenant")
        seen = [tenant.pk for tenant in tenants_for(self.actor)]
        rows = Tenant.objects.filter(pk__in=seen)
        return paged(self, request, rows, TenantShown, ordering="slug")

    def retrieve(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """One organization."""
        self.allow(Permission.TENANT_VIEW, "tenant")
        return Response(TenantShown(find_tenant(self.actor, pk)).data)

    @extend_schema(request=TenantBody, responses={201: TenantShown})
    @binds_action(create_tenant)
    def create(self, request: Request) -> Response:
        """Add an organization."""
        person = self.person
        wanted: dict[str, Any] = checked(TenantBody, request)
        house = own_tenant(person)
        made = create_tenant(person, house, **wanted)
        return Response(TenantShown(made).data, status=status.HTTP_201_CREATED)
