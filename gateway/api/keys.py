"""`/api/v1/keys`: API keys, each shown once; and what whoever finds one can do."""

import re
from datetime import timedelta
from typing import Any, Final

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway.actions.keys import (
    LONGEST_OVERLAP,
    OVERLAP,
    Keep,
    issue_key,
    report_key,
    revoke_key,
    rotate_key,
)
from gateway.api.doors import Body, Resource, checked
from gateway.api.parsing import StrictJson
from gateway.bindings import binds_action, reads_no_tenant_data, scoped_read
from gateway.errors import RequestError
from gateway.idempotency import HEADER
from gateway.keys import PATTERN
from gateway.models import ApiKey, KeyMode, License
from gateway.moments import expiring
from gateway.reports import report
from gateway.scopes import MOST_ADDRESSES, SCOPES
from governance.lookup import find
from governance.permissions import Permission

HOUR: Final = timedelta(hours=1)
_DAYS: Final = re.compile(r"([1-9][0-9]{0,3})d")


class KeyShown(serializers.ModelSerializer[ApiKey]):
    """A key without its secret, which is nowhere."""

    scopes = serializers.ListField(
        child=serializers.ChoiceField(SCOPES),
        allow_null=True,
        help_text="What it may be used for; null for all that its license allows.",
    )
    addresses = serializers.ListField(
        child=serializers.CharField(), help_text="Networks it may be used from; none: anywhere."
    )

    class Meta:
        model = ApiKey
        fields: tuple[str, ...] = (
            "public_id", "license", "name", "mode", "scopes", "addresses", "expires_at",
            "revoked_at", "previous_not_after", "last_used_at", "created_at",
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
    scopes = serializers.ListField(
        child=serializers.CharField(max_length=20),
        required=False,
        min_length=1,
        max_length=len(SCOPES),
        help_text=f"Of {', '.join(SCOPES)}; without it all that the license allows.",
    )
    addresses = serializers.ListField(
        child=serializers.CharField(max_length=43),
        required=False,
        max_length=MOST_ADDRESSES,
        help_text="Networks, such as 192.0.2.0/24 or 2001:db8::/32; without it anywhere.",
    )


class RotationBody(Body):
    """How long the old secret stays good beside the new one."""

    overlap_hours = serializers.IntegerField(
        required=False, min_value=0, max_value=LONGEST_OVERLAP // HOUR, default=OVERLAP // HOUR
    )
    keep = serializers.ChoiceField(
        [one.value for one in Keep],
        required=False,
        help_text="Within an overlap: which of the two secrets stays.",
    )


class ReportBody(Body):
    """A key that was found, whole."""

    key = serializers.CharField()


class Reported(serializers.Serializer[Any]):
    """The same for whatever was sent."""

    status = serializers.ChoiceField(["accepted"])


class KeyPattern(serializers.Serializer[Any]):
    """What scanners for leaked secrets look for, and what they do with it."""

    pattern = serializers.CharField(help_text="A regular expression.")
    checksum = serializers.CharField(help_text="What tells a key from what looks like one.")
    report = serializers.CharField(help_text="Where to POST a key that was found.")


@reads_no_tenant_data(reason="the shape of every key, for scanners of leaked secrets")
class Pattern(APIView):
    """The shape of keys."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(operation_id="keys_pattern", tags=["keys"], auth=[], responses=KeyPattern)
    def get(self, request: Request) -> Response:
        """Tell the regular expression that every key matches, and its checksum."""
        del request
        return Response(
            {
                "pattern": PATTERN,
                "checksum": (
                    "The last six characters: the CRC-32 (ISO-HDLC) of all before them, base-62, "
                    "digits in the order 0-9A-Za-z."
                ),
                "report": "/api/v1/keys/report",
            }
        )


@binds_action(report_key)
class Report(APIView):
    """Where found keys end."""

    authentication_classes = ()
    permission_classes = ()
    parser_classes = (StrictJson,)

    @extend_schema(
        operation_id="keys_report",
        tags=["keys"],
        auth=[],
        request=ReportBody,
        responses={202: OpenApiResponse(Reported, description="Whatever the text was.")},
    )
    def post(self, request: Request) -> Response:
        """Revoke a key that was found. Needs the whole key, and tells nothing about it."""
        report(checked(ReportBody, request)["key"])
        return Response({"status": "accepted"}, status=status.HTTP_202_ACCEPTED)


@scoped_read(ApiKey)
class Keys(Resource):
    """Keys of the caller's licenses, given or received."""

    model = ApiKey
    requires = Permission.LICENSE_VIEW
    serializer_class = KeyShown
    license_field = "license_id"

    def rows(self) -> "QuerySet[Any]":
        """What the caller sees; `?expires_within=14d`: of these, what will have ended by then."""
        rows = super().rows()
        within = self.request.query_params.get("expires_within")
        if within is None:
            return rows
        days = _DAYS.fullmatch(within)
        if days is None:
            raise RequestError(
                "the form is 14d: 1 to 9999 days", code="request.expires_within_invalid"
            )
        return rows.filter(expiring(int(days[1])))

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "expires_within", str, description="`14d`: keys that end within so many days."
            )
        ]
    )
    def list(self, request: Request) -> Response:
        """A page of keys."""
        return super().list(request)

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

    @extend_schema(
        request=RotationBody,
        responses=KeyIssued,
        parameters=[
            OpenApiParameter(
                HEADER,
                str,
                OpenApiParameter.HEADER,
                description="The same one again does not rotate again: 409 key.rotated_already.",
            )
        ],
    )
    @route(detail=True, methods=["post"])
    @binds_action(rotate_key)
    def rotate(self, request: Request, pk: str) -> Response:
        """Give a key a new secret under the same id. It stands in this answer and nowhere else."""
        key: ApiKey = self.one(pk)
        license_ = find(self.person, License, str(key.license_id))
        wanted: dict[str, Any] = checked(RotationBody, request)
        rotated = rotate_key(
            self.person,
            license_,
            key=key,
            overlap=wanted["overlap_hours"] * HOUR,
            keep=wanted.get("keep"),
            idempotency_key=request.headers.get(HEADER),
        )
        return Response({**KeyShown(rotated.key).data, "secret": rotated.secret})

    @extend_schema(request=None, responses=KeyShown)
    @route(detail=True, methods=["post"])
    @binds_action(revoke_key)
    def revoke(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """Shut a key, everywhere within five seconds."""
        key: ApiKey = self.one(pk)
        license_ = find(self.person, License, str(key.license_id))
        return Response(KeyShown(revoke_key(self.person, license_, key=key)).data)
