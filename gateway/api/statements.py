"""`/api/v1/statements`: what a customer's calls of a month cost, with the proof of each line."""

import io
import tempfile
from typing import IO, Any, cast

from django.db.models import Count, Sum
from django.db.models.functions import TruncMonth
from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from audit.reports.statements import Month
from gateway.actions.statements import grant_statement
from gateway.api.doors import Body, Door, checked
from gateway.bindings import binds_action, scoped_read
from gateway.models import UsageRollup
from gateway.statements import FORMATS, StatementGrant, customer_named
from governance.lookup import own_tenant
from governance.permissions import Permission

_MONTHS_SHOWN = 600


class MonthShown(serializers.Serializer[Any]):
    """A month of which there is a statement."""

    month = serializers.CharField(help_text="As 2026-11, in UTC.")
    customer = serializers.CharField(source="tenant__slug")
    licenses = serializers.IntegerField()
    calls = serializers.IntegerField(source="all_calls")
    charged = serializers.IntegerField(source="all_charged", help_text="Units charged.")


class MonthsShown(serializers.Serializer[Any]):
    """The months, the newest first."""

    results = MonthShown(many=True)


class StatementBody(Body):
    """Which statement."""

    month = serializers.CharField(max_length=7, help_text="As 2026-11, in UTC.")
    customer = serializers.CharField(
        max_length=60, required=False, help_text="Slug or id; by default one's own organization."
    )
    format = serializers.ChoiceField(choices=sorted(FORMATS), default="zip")


@scoped_read(UsageRollup)
class Statements(Door):
    """Monthly statements, each to the owner of the licenses and to their customer."""

    @extend_schema(operation_id="statements", tags=["statements"], responses=MonthsShown)
    def get(self, request: Request) -> Response:  # noqa: ARG002  # DRF's signature
        """The months with usage, by customer."""
        self.allow(Permission.STATEMENT_EXPORT, "usagerollup")
        rows = (
            UsageRollup.objects.visible_to(self.person)
            .values("tenant__slug", first=TruncMonth("hour"))
            .annotate(
                licenses=Count("license", distinct=True),
                all_calls=Sum("calls"),
                all_charged=Sum("charged"),
            )
            .order_by("-first", "tenant__slug")
        )
        months = [{**row, "month": f"{row['first']:%Y-%m}"} for row in rows[:_MONTHS_SHOWN]]
        return Response(MonthsShown({"results": months}).data)

    @extend_schema(
        operation_id="export_statement",
        tags=["statements"],
        request=StatementBody,
        responses={
            (201, kind.partition(";")[0]): OpenApiResponse(
                OpenApiTypes.BINARY, description="The statement."
            )
            for kind in FORMATS.values()
        },
    )
    @binds_action(grant_statement)
    def post(self, request: Request) -> FileResponse:
        """Download one: a bundle that verifies offline, or its CSV or PDF alone."""
        person = self.person
        wanted = checked(StatementBody, request)
        grant = grant_statement(
            person,
            own_tenant(person),
            customer=customer_named(person, wanted.get("customer")),
            month=Month.parse(wanted["month"]),
        )
        return as_download(grant, wanted["format"], status=status.HTTP_201_CREATED)


def as_download(grant: StatementGrant, form: str, *, status: int) -> FileResponse:
    """A granted statement as the answer of a view; it holds no personal data."""
    file: IO[bytes]
    if form == "zip":
        file = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
        grant.write(cast("Any", file))
        file.seek(0)
    else:
        file = io.BytesIO(grant.content(form))
    return FileResponse(
        file,
        as_attachment=True,
        filename=f"{grant.stem}.{form}",
        content_type=FORMATS[form],
        status=status,
    )
