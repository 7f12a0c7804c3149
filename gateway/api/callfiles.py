"""`/api/v1/models/{slug}/files` and `/call-files`: files of rows, answered by a worker."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action as route
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import callfiles, idempotency
from gateway.actions.callfiles import cancel_call_file, fetch_call_file, take_call_file
from gateway.api.doors import Door, Resource
from gateway.authentication import KeyActor
from gateway.bindings import binds_action, scoped_read
from gateway.catalog import missing
from gateway.errors import CallFileError, IdempotencyError, RequestError
from gateway.idempotency import HEADER
from gateway.models import CallFile, CallFileState, Feature, License
from gateway.standing import STANDINGS
from governance.lookup import find
from governance.models import Job
from governance.permissions import Permission
from governance.vault import keyed_hash


@dataclass(frozen=True)
class Incoming:
    """A body that is not read yet."""

    stream: IO[bytes]
    form: str


class _Raw(BaseParser):
    """The body as it comes: nothing is held, nothing touches the disk unsealed."""

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,  # noqa: ARG002  # BaseParser's signature
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002  # as above
    ) -> Any:
        """The stream."""
        return Incoming(stream, callfiles.FORMS[self.media_type])


class CsvBody(_Raw):
    """UTF-8, a header, RFC 4180."""

    media_type = "text/csv"


class ParquetBody(_Raw):
    """One Parquet file."""

    media_type = "application/vnd.apache.parquet"


class FaultShown(serializers.Serializer[Any]):
    """A row that does not fit the model's schema."""

    pointer = serializers.CharField(help_text="`/rows/17/age`; rows count from 0.")
    code = serializers.CharField()
    detail = serializers.CharField()


class CallFileShown(serializers.ModelSerializer[CallFile]):
    """A file, and how far it is."""

    state = serializers.ChoiceField(CallFileState.choices)
    license = serializers.UUIDField(source="license_id")
    version = serializers.IntegerField(source="version.number")
    done = serializers.SerializerMethodField()
    of = serializers.SerializerMethodField()
    rows = serializers.IntegerField(help_text="Rows that were answered and charged, at its end.")
    faults = FaultShown(many=True, help_text="The first hundred, where rows are wrong.")

    class Meta:
        model = CallFile
        fields = (
            "id", "license", "version", "form", "state", "done", "of", "rows", "error_code",
            "faults", "created_at", "ended_at", "expires_at",
        )  # fmt: skip

    def get_done(self, file: CallFile) -> int:
        """Rows answered so far."""
        return file.rows if file.ended_at else _progress(file)[0]

    def get_of(self, file: CallFile) -> int:
        """Rows that there are; 0 until they were checked."""
        return _progress(file)[1]


def _progress(file: CallFile) -> tuple[int, int]:
    found = Job.objects.filter(subject=file.reference).values_list("done_units", "all_units")
    return found.first() or (0, 0)


@binds_action(take_call_file)
class TakeFile(Door):
    """Send a file of rows."""

    parser_classes = (CsvBody, ParquetBody)

    @extend_schema(
        operation_id="predict_file",
        tags=["predictions"],
        parameters=[
            OpenApiParameter(
                HEADER,
                str,
                OpenApiParameter.HEADER,
                description="The same key with the same file is the same job, charged once.",
            )
        ],
        request={
            "text/csv": OpenApiTypes.STR,
            "application/vnd.apache.parquet": OpenApiTypes.BINARY,
        },
        responses={202: OpenApiResponse(CallFileShown, description="`Location` says how it goes.")},
    )
    def post(self, request: Request, slug: str) -> Response:
        """Have a worker score every row of a CSV or Parquet file, a unit a row.

        The rows are checked first: while one is wrong, or the quota has no room for all, nothing is
        charged. The file is sealed as it arrives, and removed when it has ended.
        """
        if not isinstance(self.actor, KeyActor):
            raise self._refused("permission.keys_only", "model")
        actor = self.actor
        standing = STANDINGS.find(actor, fresh=True)
        if standing.license.model.slug != slug:
            raise missing(actor, "model", Permission.PREDICT)
        name = _named(standing.customer, standing.license, request.headers.get(HEADER))
        try:
            incoming = request.data
        except UnsupportedMediaType:
            raise RequestError("send CSV or Parquet", code="http.media_type") from None
        if not isinstance(incoming, Incoming):
            raise CallFileError("there is no file", code="callfile.empty")
        with callfiles.sealed(standing.customer, incoming.stream, incoming.form) as sealed:
            digest = keyed_hash(standing.customer, "call file body", sealed.sha256).hex()
            file = _earlier(actor, name, digest)
            if file is None:
                call = standing.call(actor, feature=Feature.BATCH, units=1)
                file = take_call_file(
                    actor,
                    standing.license,
                    call=call,
                    version=standing.version,
                    sealed=sealed,
                    request_id=name,
                    request_digest=digest,
                )
        return Response(
            CallFileShown(file).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"/api/v1/call-files/{file.id}"},
        )


@scoped_read(CallFile, Job)
class CallFiles(Resource):
    """Files of the caller's own license, or of licenses that the caller's tenant gave or holds."""

    model = CallFile
    requires = Permission.LICENSE_VIEW
    serializer_class = CallFileShown
    related = ("version",)
    license_field = "license_id"

    @extend_schema(request=None, responses=CallFileShown)
    @route(detail=True, methods=["post"])
    @binds_action(cancel_call_file)
    def cancel(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """Stop answering a file; what was answered is charged, and may be fetched."""
        actor, license_, file = self._own(pk)
        return Response(CallFileShown(cancel_call_file(actor, license_, file=file)).data)

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    @route(detail=True)
    @binds_action(fetch_call_file)
    def answers(self, request: Request, pk: str) -> StreamingHttpResponse:  # noqa: ARG002  # as above
        """The answers as CSV, `prediction,score,label`, in the order of the file's rows."""
        actor, license_, file = self._own(pk)
        fetched = fetch_call_file(actor, license_, file=file)
        return StreamingHttpResponse(
            callfiles.answers(fetched),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{fetched.id}.csv"'},
        )

    def _own(self, pk: str) -> tuple[KeyActor, License, CallFile]:
        if not isinstance(self.actor, KeyActor):
            raise self._refused("permission.keys_only", "callfile")
        license_ = find(self.actor, License, str(self.actor.facts.license_id))
        return self.actor, license_, self.one(pk)


def _named(customer: Any, license_: License, header: str | None) -> str:
    """The file's request id; a caller's own key is known by its hash alone."""
    if header is None:
        return uuid.uuid4().hex
    own = f"{license_.id} {idempotency.check_header(header)}".encode()
    return f"if-{keyed_hash(customer, 'call file name', own).hex()[:60]}"


def _earlier(actor: KeyActor, name: str, digest: str) -> CallFile | None:
    """The file that was taken under this name before.

    Raises:
        IdempotencyError: it was another one.
    """
    file: CallFile | None = CallFile.objects.filter(
        tenant_id=actor.tenant_id, request_id=name
    ).first()
    if file is not None and file.request_digest != digest:
        raise IdempotencyError("this idempotency key was used for another file")
    return file
