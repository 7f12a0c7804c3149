"""`/api/v1/limits`: rates and quotas of keys, licenses, customers and models."""

from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.actions.limits import Wanted, lift_limit, set_limit
from gateway.api.doors import Body, Resource, checked
from gateway.bindings import binds_action, scoped_read
from gateway.catalog import find_limited
from gateway.models import Limit, LimitPeriod, LimitScope
from gateway.quotas import used_now
from governance.lookup import own_tenant
from governance.permissions import Permission

_LARGEST: Final = 2**53 - 1


class LimitShown(serializers.ModelSerializer[Limit]):
    """A limit, as the models' owner and its customer see it."""

    of = serializers.CharField(source="name", help_text="Key id, license id, or slug.")
    used = serializers.SerializerMethodField(help_text="Units charged in this period.")

    class Meta:
        model = Limit
        fields = ("id", "scope", "of", "rate", "burst", "quota", "period", "used", "created_at")

    def get_used(self, limit: Limit) -> int:
        """Units charged in this period."""
        return used_now(limit)


class LimitBody(Body):
    """A rate, a quota, or both."""

    scope = serializers.ChoiceField(LimitScope.choices)
    of = serializers.CharField(max_length=80, help_text="Id, key id or slug, by the scope.")
    rate = serializers.IntegerField(
        min_value=1, max_value=_LARGEST, required=False, help_text="Calls a second."
    )
    burst = serializers.IntegerField(
        min_value=1, max_value=_LARGEST, required=False, help_text="Calls at once."
    )
    quota = serializers.IntegerField(min_value=1, max_value=_LARGEST, required=False)
    period = serializers.ChoiceField(LimitPeriod.choices, required=False)


@scoped_read(Limit)
class Limits(Resource):
    """Limits that the caller's tenant set, or that are of its calls."""

    model = Limit
    requires = Permission.LICENSE_VIEW
    serializer_class = LimitShown

    def _within(self) -> dict[str, Any]:
        # A key sees those of its own.
        facts = getattr(self.actor, "facts", None)
        return {} if facts is None else {"subject__in": (facts.id, facts.license_id)}

    @extend_schema(request=LimitBody, responses={201: LimitShown})
    @binds_action(set_limit)
    def create(self, request: Request) -> Response:
        """Set a limit, in the place of the one that there is."""
        person = self.person
        said = checked(LimitBody, request)
        of = find_limited(person, said.pop("scope"), said.pop("of"))
        made = set_limit(person, own_tenant(person), of=of, wanted=Wanted(**said))
        return Response(LimitShown(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses={204: None})
    @route(detail=True, methods=["post"])
    @binds_action(lift_limit)
    def lift(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """Take a limit away."""
        lift_limit(self.person, self.one(pk))
        return Response(status=status.HTTP_204_NO_CONTENT)
