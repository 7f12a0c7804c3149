"""`/api/v1/datasets` and `/dataset-versions`: tables brought in, and what came out of them."""

import json
from typing import Any

from django.http import QueryDict
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.decorators import action as route
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.doors import Body, Resource, checked
from gateway.api.parsing import StrictJson
from gateway.bindings import binds_action, scoped_read
from governance import column_plans
from governance.actions.anonymization import cancel_ingest
from governance.actions.datasets import Declared, append_batch, upload_dataset
from governance.actions.readings import begin_preview, reread_dataset
from governance.batches import Received
from governance.errors import InvalidError
from governance.lookup import own_tenant
from governance.models import Batch, Dataset, DatasetVersion
from governance.permissions import Permission
from governance.previewing import preview_dataset
from governance.progress import progress_of
from governance.tables.reading import previewed
from governance.uploads import received


class ProgressShown(serializers.Serializer[Any]):
    """How far an ingest is, in rows. What nobody can tell yet is null."""

    stage = serializers.ChoiceField(choices=("profile", "anonymize", "merge"))
    done = serializers.IntegerField()
    of = serializers.IntegerField(allow_null=True)
    rows_per_second = serializers.IntegerField(allow_null=True)
    seconds_left = serializers.IntegerField(allow_null=True)
    running = serializers.IntegerField(help_text="Workers at it now.")


class BatchShown(serializers.ModelSerializer[Batch]):
    """What came in at one time, as one file or several."""

    files = serializers.SerializerMethodField()

    class Meta:
        model = Batch
        fields = ("number", "files", "rows", "source", "error_code", "received_at")

    def get_files(self, batch: Batch) -> int:
        """How many files."""
        return int(batch.parts.count())


class DatasetShown(serializers.ModelSerializer[Dataset]):
    """A dataset: what was declared, what came in, and how far it is."""

    purposes = serializers.SerializerMethodField()
    batches = BatchShown(many=True, read_only=True)
    progress = serializers.SerializerMethodField()
    undeclared_sensitive = serializers.SerializerMethodField()

    class Meta:
        model = Dataset
        fields = (
            "id", "name", "state", "purposes", "regimes", "languages", "format", "encoding", "rows",
            "columns", "entity_counts", "undeclared_sensitive", "batches", "progress",
            "error_code", "error_detail", "created_at",
        )  # fmt: skip

    @extend_schema_field(serializers.DictField(child=serializers.ListField()))
    def get_undeclared_sensitive(self, dataset: Dataset) -> dict[str, list[str]]:
        """Special categories that nobody declared, each with the columns that tell it."""
        return column_plans.undeclared_sensitive(dataset)

    @extend_schema_field(ProgressShown(allow_null=True))
    def get_progress(self, dataset: Dataset) -> dict[str, Any] | None:
        """How far the ingest under way is; null when there is none."""
        progress = progress_of(dataset)
        return None if progress is None else progress.as_dict()

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
    """One table, and what is declared of it. Fields before the files, in one multipart body."""

    name = serializers.SlugField(max_length=80)
    purposes = serializers.ListField(child=serializers.SlugField())
    regimes = serializers.ListField(child=serializers.CharField(), required=False)
    languages = serializers.ListField(child=serializers.CharField(), required=False)
    subject_column = serializers.CharField(required=False)
    format = serializers.CharField(required=False, help_text="csv, jsonl, parquet or xlsx.")
    encoding = serializers.CharField(required=False)
    declarations = serializers.CharField(required=False, help_text="JSON.")
    sensitive = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Special categories it holds."
    )
    file = serializers.FileField(
        help_text="Sealed as it arrives; never written in the clear. Several files of the same"
        " columns, each as a field of this name, make one table."
    )


class AppendForm(serializers.Serializer[Any]):
    """More rows of a sealed dataset: files of the same columns."""

    format = serializers.CharField(required=False, help_text="Where the files' names do not say.")
    encoding = serializers.CharField(required=False)
    file = serializers.FileField(help_text="As on upload; several are one batch.")


class ReadingBody(Body):
    """How to read the newest batch."""

    encoding = serializers.CharField(max_length=20, required=False)
    part = serializers.IntegerField(
        min_value=1, required=False, help_text="Which file of it; the first, or on rereading all."
    )


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
        """Take files in; profile and column plan follow on a queue: look at `state`."""
        person = self.person
        form = request._request.POST  # noqa: SLF001  # DRF's copy would be a second one of the file
        dataset = upload_dataset(
            person, own_tenant(person), files=_files(request), declared=_declared(form)
        )
        return Response(
            DatasetShown(dataset).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"/api/v1/datasets/{dataset.name}"},
        )

    @extend_schema(request={"multipart/form-data": AppendForm}, responses={202: BatchShown})
    @route(detail=True, methods=["post"])
    @binds_action(append_batch)
    def batches(self, request: Request, pk: str) -> Response:
        """Append files to a sealed dataset; a version with their rows follows on a queue.

        Where the plan in force covers them, they are treated by it. Otherwise a new plan is
        proposed, for all rows.
        """
        dataset = self.one(pk)
        batch = append_batch(self.person, dataset, files=_files(request))
        return Response(
            BatchShown(batch).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"/api/v1/datasets/{dataset.name}"},
        )

    @extend_schema(request=None, responses=DatasetShown)
    @route(detail=True, methods=["post"], parser_classes=[StrictJson])
    @binds_action(cancel_ingest)
    def cancel(self, request: Request, pk: str) -> Response:
        """Stop what is under way; versions that were sealed before stay."""
        del request
        return Response(DatasetShown(cancel_ingest(self.person, self.one(pk))).data)

    @extend_schema(request=ReadingBody, responses=Previewed)
    @route(detail=True, methods=["post"], parser_classes=[StrictJson])
    @binds_action(begin_preview)
    def preview(self, request: Request, pk: str) -> Response:
        """The first rows as shapes, in the encoding that was found or in one to try."""
        asked = checked(ReadingBody, request)
        shown = preview_dataset(
            self.person,
            self.one(pk),
            encoding=asked.get("encoding", ""),
            part=asked.get("part", 1),
        )
        return Response(previewed(shown))

    @extend_schema(request=ReadingBody, responses={202: DatasetShown})
    @route(detail=True, methods=["post"], parser_classes=[StrictJson])
    @binds_action(reread_dataset)
    def reread(self, request: Request, pk: str) -> Response:
        """Have the file read in another encoding; a new plan follows."""
        asked = checked(ReadingBody, request)
        dataset = reread_dataset(
            self.person, self.one(pk), encoding=asked.get("encoding", ""), part=asked.get("part")
        )
        return Response(DatasetShown(dataset).data, status=status.HTTP_202_ACCEPTED)


@scoped_read(DatasetVersion)
class DatasetVersions(Resource):
    """Sealed versions of the caller's tenant."""

    model = DatasetVersion
    requires = Permission.DATASET_VIEW
    serializer_class = DatasetVersionShown
    ordering = "-sealed_at"
    related = ("dataset",)


def _files(request: Request) -> list[Received]:
    """The sealed files of an upload, with what the form says of them."""
    plain = request._request  # noqa: SLF001  # DRF's copy would be a second one of each file
    form = plain.POST
    return received(plain, "file", stated=form.get("format", ""), encoding=form.get("encoding", ""))


def _declared(form: QueryDict) -> Declared:
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
        declarations=declarations,
        sensitive=tuple(form.getlist("sensitive")),
    )
