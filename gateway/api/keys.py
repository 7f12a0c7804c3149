"""`/api/v1/keys`: API keys, each shown once."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.actions.keys import issue_key, revoke_key
from gateway.api.doors import Body, Resource, checked
from gateway.bindings import binds_action, scoped_read
from gateway.keys import PATTERN
from gateway.models import ApiKey, KeyMode, License
from governance.lookup import find
from governance.permissions import Permission


class KeyShown(serializers.ModelSerializer[ApiKey]):
    """A key without its secret, which is nowhere."""

    class Meta:
        model = ApiKey
        fields: tuple[str, ...] = (
            "public_id", "license", "name", "mode", "expires_at", "revoked_at", "last_used_at",
            "created_at",
        )  # fmt: skip


class KeyIssued(KeyShown):
    """A new key, with its secret: this once."""

    secret = serializers.RegexField(f"^{PATTERN}$")

    class Meta(KeyShown.Meta):
        fields = (*KeyShown.Meta.fields, "secret")


class KeyBody(Body):
    """What a new key is for."""

    license = serializers.CharField(max_length=60)
    name = serializers.CharField(max_length=80)
    mode = serializers.ChoiceField(KeyMode.choices, default=KeyMode.LIVE)
    expires_at = serializers.DateTimeField(required=False)


@scoped_read(ApiKey)
class Keys(Resource):
    """Keys of the caller's licenses, given or received."""

    model = ApiKey
    requires = Permission.LICENSE_VIEW
    serializer_class = KeyShown
    license_field = "license_id"

    @extend_schema(request=KeyBody, responses={201: KeyIssued})
    @binds_action(issue_key)
    def create(self, request: Request) -> Response:
        """Issue a key. The answer is the only place where its secret ever stands."""
        person = self.person
        wanted: dict[str, Any] = checked(KeyBody, request)
        license_ = find(person, License, wanted.pop("license"))
        issued = issue_key(person, license_, **wanted)
        shown = {**KeyShown(issued.key).data, "secret": issued.secret}
        return Response(shown, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=KeyShown)
    @route(detail=True, methods=["post"])
    @binds_action(revoke_key)
    def revoke(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """Shut a key, everywhere within five seconds."""
        key: ApiKey = self.one(pk)
        license_ = find(self.person, License, str(key.license_id))
        return Response(KeyShown(revoke_key(self.person, license_, key=key)).data)
