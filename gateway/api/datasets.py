"""`/api/v1/datasets` and `/dataset-versions`: tables brought in, and what came out of them."""

import json
from pathlib import PurePath
from typing import Any

from django.http import QueryDict
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action as route
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.doors import Body, Resource, checked
from gateway.api.parsing import StrictJson
from gateway.bindings import binds_action, scoped_read
from governance.actions.datasets import Declared, upload_dataset
from governance.actions.readings import begin_preview, reread_dataset
from governance.errors import InvalidError
from governance.lookup import own_tenant
from governance.models import Dataset, DatasetVersion
from governance.permissions import Permission
from governance.previewing import preview_dataset
from governance.tables.reading import previewed
from governance.uploads import sealed_upload


class DatasetShown(serializers.ModelSerializer[Dataset]):
    """A dataset: what was declared, and how far it is."""

    purposes = serializers.SerializerMethodField()

    class Meta:
        model = Dataset
        fields = (
            "id", "name", "state", "purposes", "regimes", "languages", "format", "encoding", "rows",
            "columns", "entity_counts", "error_code", "error_detail", "created_at",
        )  # fmt: skip

    def get_purposes(self, dataset: Dataset) -> list[str]:
        """The purposes that it may be processed for."""
        return [grant.purpose.slug for grant in dataset.purposes.select_related("purpose")]


class DatasetVersionShown(serializers.ModelSerializer[DatasetVersion]):
    """Anonymized rows, sealed: what is known of them."""

    dataset: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        slug_field="name", read_only=True
    )

    class Meta:
        model = DatasetVersion
        fields = (
            "id", "dataset", "number", "rows", "columns", "entity_counts", "leaks", "detector",
            "digest", "sealed_at",
        )  # fmt: skip


class UploadForm(serializers.Serializer[Any]):
    """A file, and what is declared of it. Fields before the file, in one multipart body."""

    name = serializers.SlugField(max_length=80)
    purposes = serializers.ListField(child=serializers.SlugField())
    regimes = serializers.ListField(child=serializers.CharField(), required=False)
    languages = serializers.ListField(child=serializers.CharField(), required=False)
    subject_column = serializers.CharField(required=False)
    format = serializers.CharField(required=False, help_text="csv, jsonl, parquet or xlsx.")
    encoding = serializers.CharField(required=False)
    declarations = serializers.CharField(required=False, help_text="JSON.")
    file = serializers.FileField(help_text="Sealed as it arrives; never written in the clear.")


class ReadingBody(Body):
    """How to read the file."""

    encoding = serializers.CharField(max_length=20, required=False)


class Previewed(serializers.Serializer[Any]):
    """The first rows as shapes: letters as x, ideographs as 〇, digits as 9."""

    format = serializers.CharField()
    encoding = serializers.CharField(allow_null=True)
    certainty = serializers.CharField(allow_null=True)
    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.ListField(
        child=serializers.ListField(child=serializers.CharField(allow_null=True))
    )


@scoped_read(Dataset)
class Datasets(Resource):
    """Datasets of the caller's tenant."""

    model = Dataset
    requires = Permission.DATASET_VIEW
    serializer_class = DatasetShown
    parser_classes = (MultiPartParser,)

    @extend_schema(request={"multipart/form-data": UploadForm}, responses={202: DatasetShown})
    @binds_action(upload_dataset)
    def create(self, request: Request) -> Response:
        """Take a file in; its profile and column plan follow on a queue: look at `state`."""
        person = self.person
        form, upload = request._request.POST, sealed_upload(request._request, "file")  # noqa: SLF001  # DRF's copy would be a second one of the file
        dataset = upload_dataset(
            person,
            own_tenant(person),
            stored=upload.stored,
            declared=_declared(form, upload.name or ""),
        )
        return Response(
            DatasetShown(dataset).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"/api/v1/datasets/{dataset.name}"},
        )

    @extend_schema(request=ReadingBody, responses=Previewed)
    @route(detail=True, methods=["post"], parser_classes=[StrictJson])
    @binds_action(begin_preview)
    def preview(self, request: Request, pk: str) -> Response:
        """The first rows as shapes, in the encoding that was found or in one to try."""
        asked = checked(ReadingBody, request)
        shown = preview_dataset(self.person, self.one(pk), encoding=asked.get("encoding", ""))
        return Response(previewed(shown))

    @extend_schema(request=ReadingBody, responses={202: DatasetShown})
    @route(detail=True, methods=["post"], parser_classes=[StrictJson])
    @binds_action(reread_dataset)
    def reread(self, request: Request, pk: str) -> Response:
        """Have the file read in another encoding; a new plan follows."""
        asked = checked(ReadingBody, request)
        dataset = reread_dataset(self.person, self.one(pk), encoding=asked.get("encoding", ""))
        return Response(DatasetShown(dataset).data, status=status.HTTP_202_ACCEPTED)


@scoped_read(DatasetVersion)
class DatasetVersions(Resource):
    """Sealed versions of the caller's tenant."""

    model = DatasetVersion
    requires = Permission.DATASET_VIEW
    serializer_class = DatasetVersionShown
    ordering = "-sealed_at"
    related = ("dataset",)


def _declared(form: QueryDict, filename: str) -> Declared:
    try:
        declarations = json.loads(form.get("declarations") or "{}")
    except (ValueError, RecursionError):
        declarations = None
    if not isinstance(declarations, dict):
        raise InvalidError(
            "the declarations are no JSON object",
            code="declarations.unreadable",
            pointer="/declarations",
        )
    return Declared(
        name=form.get("name", ""),
        purposes=tuple(form.getlist("purposes")),
        regimes=tuple(form.getlist("regimes")),
        languages=tuple(form.getlist("languages")) or ("zh", "en"),
        subject_column=form.get("subject_column", ""),
        format=form.get("format") or PurePath(filename).suffix.lstrip(".").lower(),
        encoding=form.get("encoding", ""),
        declarations=declarations,
    )
