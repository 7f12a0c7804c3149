"""`/api/v1/audit/entries` and `/api/v1/audit/bundles`: the evidence, to read and to take away."""

import json
import tempfile
import uuid
from typing import IO, Any, cast

from django.db.models import QuerySet
from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from audit.events import is_code
from audit.models import AuditEntry
from gateway.api.doors import Body, Door, Pages, checked, paged
from gateway.bindings import binds_action, scoped_read
from gateway.catalog import missing
from governance.actions.evidence import grant_bundle
from governance.lookup import own_tenant
from governance.permissions import Permission

_LONGEST_NOTE = 10_000


class EntryShown(serializers.ModelSerializer[AuditEntry]):
    """An entry: what was hashed into the log, as it stands there."""

    body = serializers.SerializerMethodField()

    class Meta:
        model = AuditEntry
        fields = ("id", "event", "outcome", "actor", "subject", "request_id", "at", "body")

    def get_body(self, entry: AuditEntry) -> dict[str, Any]:
        """The canonical JSON, parsed."""
        return cast("dict[str, Any]", json.loads(bytes(entry.body)))


class BundleBody(Body):
    """What to prove consistency from."""

    previous = serializers.CharField(
        max_length=_LONGEST_NOTE, required=False, help_text="An earlier checkpoint of this log."
    )


@scoped_read(AuditEntry)
class Entries(Door, ViewSet):
    """Entries of the caller's tenant."""

    serializer_class = EntryShown
    pagination_class = Pages  # read by the schema

    @extend_schema(
        responses=EntryShown(many=True),
        parameters=[OpenApiParameter("event", str), OpenApiParameter("outcome", str)],
    )
    def list(self, request: Request) -> Response:
        """A page of entries, the newest first."""
        self.allow(Permission.AUDIT_VIEW, "entry")
        rows = self._rows()
        for name in ("event", "outcome"):
            if wanted := request.query_params.get(name):
                # Only what a database reads: an event is a code.
                rows = rows.filter(**{name: wanted}) if is_code(wanted) else rows.none()
        return paged(self, request, rows, EntryShown, ordering="-at")

    def retrieve(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """One entry."""
        self.allow(Permission.AUDIT_VIEW, "entry")
        try:
            found = self._rows().filter(pk=uuid.UUID(pk)).first()
        except ValueError:
            found = None
        if found is None:
            raise missing(self.actor, "entry", Permission.AUDIT_VIEW)
        return Response(EntryShown(found).data)

    def _rows(self) -> "QuerySet[AuditEntry]":
        # Entries name their tenant by value: evidence outlives the rows that it speaks of.
        return AuditEntry.objects.filter(tenant=self.actor.tenant_reference)


class Bundles(Door):
    """Report bundles, which `python -m audit.verify` checks without this system."""

    @extend_schema(
        operation_id="export_bundle",
        tags=["audit"],
        request=BundleBody,
        responses={
            (201, "application/zip"): OpenApiResponse(
                OpenApiTypes.BINARY, description="The bundle."
            )
        },
    )
    @binds_action(grant_bundle)
    def post(self, request: Request) -> FileResponse:
        """Export the tenant's entries with a proof for each, under the newest checkpoint."""
        person = self.person
        wanted = checked(BundleBody, request)
        grant = grant_bundle(person, own_tenant(person))
        # No personal data is in a bundle, so a temporary file may hold it.
        file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
        grant.write(cast("Any", file), previous=wanted.get("previous"))
        file.seek(0)
        return FileResponse(
            file,
            as_attachment=True,
            filename="portcullis-bundle.zip",
            content_type="application/zip",
            status=status.HTTP_201_CREATED,
        )
