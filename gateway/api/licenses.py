"""`/api/v1/licenses`: who may call which model, how often, until when."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.actions.license_files import (
    FILE_DAYS,
    LONGEST_FILE,
    issue_license_file,
    issue_revocations,
)
from gateway.actions.licenses import (
    amend_license,
    issue_license,
    renew_license,
    resume_license,
    revoke_license,
    suspend_license,
)
from gateway.agreements import MOST_SEATS, REGION, SEVERAL
from gateway.api.doors import Body, Resource, checked, paged
from gateway.bindings import binds_action, scoped_read
from gateway.catalog import find_tenant
from gateway.models import Feature, License, LicenseAmendment, SuspensionReason
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
    purposes = serializers.ListField(child=serializers.CharField())
    regions = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = License
        fields = (
            "id", "customer", "model", "version", "features", "purposes", "regions", "seats",
            "trial", "quota", "used", "rate", "burst", "starts_at", "expires_at", "amended",
            "suspended_at", "suspended_for", "revoked_at", "created_at",
        )  # fmt: skip


class AmendmentShown(serializers.ModelSerializer[LicenseAmendment]):
    """One change of a license's terms; moments in them are microseconds since the Unix epoch."""

    before = serializers.DictField()
    after = serializers.DictField()

    class Meta:
        model = LicenseAmendment
        fields = (
            "number", "kind", "before", "after", "before_digest", "after_digest", "created_at",
        )  # fmt: skip


def _features(**more: Any) -> Any:
    return serializers.ListField(
        child=serializers.ChoiceField(Feature.choices), max_length=8, **more
    )


def _purposes(**more: Any) -> Any:
    child = serializers.SlugField(max_length=60)
    return serializers.ListField(child=child, max_length=SEVERAL, **more)


def _regions() -> Any:
    return serializers.ListField(
        child=serializers.RegexField(REGION),
        max_length=SEVERAL,
        required=False,
        help_text="Country codes or slugs of regions, in lower case; none means everywhere.",
    )


def _quota(**more: Any) -> Any:
    return serializers.IntegerField(min_value=1, max_value=2**53 - 1, **more)


def _version() -> Any:
    return serializers.IntegerField(
        min_value=1,
        max_value=2**31 - 1,
        required=False,
        allow_null=True,
        help_text="The number of the version that answers; null: the newest released one.",
    )


def _seats() -> Any:
    return serializers.IntegerField(
        min_value=1,
        max_value=MOST_SEATS,
        required=False,
        allow_null=True,
        help_text="How many keys may open it at a time; null: any number.",
    )


class LicenseBody(Body):
    """The terms of a new license."""

    model = serializers.CharField(max_length=80, help_text="Slug or id of a model of one's own.")
    customer = serializers.CharField(max_length=60, help_text="Slug or id of the customer.")
    features = _features()
    purposes = _purposes()
    regions = _regions()
    version = _version()
    seats = _seats()
    trial = serializers.BooleanField(required=False, help_text="30 days at most, once a model.")
    quota = _quota()
    expires_at = serializers.DateTimeField()
    starts_at = serializers.DateTimeField(required=False)
    rate = serializers.IntegerField(
        min_value=1, max_value=2**53 - 1, required=False, help_text="Calls a second."
    )
    burst = serializers.IntegerField(
        min_value=1, max_value=2**53 - 1, required=False, help_text="Calls at once."
    )


class AmendmentBody(Body):
    """The terms that change; the others stay."""

    features = _features(required=False)
    purposes = _purposes(required=False)
    regions = _regions()
    version = _version()
    seats = _seats()
    trial = serializers.BooleanField(
        required=False, help_text="false makes a trial a paid license."
    )
    quota = _quota(required=False)
    rate = serializers.IntegerField(
        min_value=1,
        max_value=2**53 - 1,
        required=False,
        allow_null=True,
        help_text="Calls a second; null for any number.",
    )
    burst = serializers.IntegerField(
        min_value=1, max_value=2**53 - 1, required=False, allow_null=True, help_text="At once."
    )


class RenewalBody(Body):
    """The new end of the term."""

    expires_at = serializers.DateTimeField()


class FileBody(Body):
    """How long a license file is good."""

    days = serializers.IntegerField(default=FILE_DAYS, min_value=1, max_value=LONGEST_FILE)


class SuspensionBody(Body):
    """Why a license rests."""

    reason = serializers.ChoiceField(SuspensionReason.choices)


def _text(description: str) -> dict[tuple[int, str], OpenApiResponse]:
    return {(201, "text/plain"): OpenApiResponse(OpenApiTypes.STR, description=description)}


def _file(text: str, name: str) -> HttpResponse:
    response = HttpResponse(
        text, content_type="text/plain; charset=utf-8", status=status.HTTP_201_CREATED
    )
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@scoped_read(License)
class Licenses(Resource):
    """Licenses that the caller's tenant gave or was given."""

    model = License
    requires = Permission.LICENSE_VIEW
    serializer_class = LicenseShown
    related = ("customer", "model")
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

    @extend_schema(request=SuspensionBody, responses=LicenseShown)
    @route(detail=True, methods=["post"])
    @binds_action(suspend_license)
    def suspend(self, request: Request, pk: str) -> Response:
        """Let a license rest: no call commits under it until it is resumed."""
        person, license_ = self.person, self.one(pk)
        told: dict[str, Any] = checked(SuspensionBody, request)
        return Response(LicenseShown(suspend_license(person, license_, **told)).data)

    @extend_schema(request=None, responses=LicenseShown)
    @route(detail=True, methods=["post"])
    @binds_action(resume_license)
    def resume(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """Let a suspended license hold again."""
        return Response(LicenseShown(resume_license(self.person, self.one(pk))).data)

    @extend_schema(request=RenewalBody, responses=LicenseShown)
    @route(detail=True, methods=["post"])
    @binds_action(renew_license)
    def renew(self, request: Request, pk: str) -> Response:
        """Extend the term. The license keeps its id, and the keys that end with it follow."""
        person, license_ = self.person, self.one(pk)
        told: dict[str, Any] = checked(RenewalBody, request)
        return Response(LicenseShown(renew_license(person, license_, **told)).data)

    @extend_schema(request=AmendmentBody, responses=LicenseShown)
    @route(detail=True, methods=["post"])
    @binds_action(amend_license)
    def amend(self, request: Request, pk: str) -> Response:
        """Change terms. A call in flight is judged by them at its commit."""
        person, license_ = self.person, self.one(pk)
        changes = checked(AmendmentBody, request)
        return Response(LicenseShown(amend_license(person, license_, changes=changes)).data)

    @extend_schema(responses=AmendmentShown(many=True))
    @route(detail=True, methods=["get"])
    @scoped_read(LicenseAmendment)
    def amendments(self, request: Request, pk: str) -> Response:
        """Every change of the terms, the newest first."""
        self.allow(self.requires, self.kind)
        rows = LicenseAmendment.objects.visible_to(self.actor).filter(license=self.one(pk))
        return paged(self, request, rows, AmendmentShown, ordering="-number")

    @extend_schema(request=FileBody, responses=_text("Two signed notes (C2SP)."))
    @route(detail=True, methods=["post"])
    @binds_action(issue_license_file)
    def file(self, request: Request, pk: str) -> HttpResponse:
        """The terms as a signed file, which `python -m audit.license` checks offline."""
        person, license_ = self.person, self.one(pk)
        told: dict[str, Any] = checked(FileBody, request)
        return _file(issue_license_file(person, license_, **told), f"{license_.pk}.license")

    @extend_schema(request=None, responses=_text("Two signed notes (C2SP)."))
    @route(detail=True, methods=["post"])
    @binds_action(issue_revocations)
    def revocations(self, request: Request, pk: str) -> HttpResponse:  # noqa: ARG002  # DRF's
        """A signed list of this customer's licenses that do not hold, to check files against."""
        license_ = self.one(pk)
        return _file(issue_revocations(self.person, license_), f"{license_.pk}.revocations")
