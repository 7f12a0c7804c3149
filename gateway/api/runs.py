"""`/api/v1/runs`: training asked for, followed, stopped, tried again."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.doors import Body, Resource, checked
from gateway.bindings import binds_action, scoped_read
from gateway.idempotency import HEADER, check_header
from governance.lookup import find
from governance.models import Dataset, DatasetVersion
from governance.permissions import Permission
from training.actions.runs import cancel_run, request_run, retry_run
from training.models import Guarantee, Run


class RunShown(serializers.ModelSerializer[Run]):
    """A run: what was asked, and how far it is."""

    config = serializers.DictField(source="config_json", read_only=True)

    class Meta:
        model = Run
        fields = (
            "id", "version", "purpose", "target", "model_name", "guarantee", "epsilon", "config",
            "config_digest", "state", "queue", "attempt", "plan", "error_code", "created_at",
            "started_at", "ended_at",
        )  # fmt: skip


class RunBody(Body):
    """What is asked of a dataset."""

    dataset = serializers.CharField(max_length=80, help_text="Name or id.")
    version = serializers.IntegerField(min_value=1, required=False, help_text="The newest if not.")
    target = serializers.CharField(max_length=100)
    purpose = serializers.SlugField(max_length=60)
    epsilon = serializers.CharField(max_length=40, help_text="ε for all that touches the data.")
    model = serializers.CharField(max_length=20, required=False)
    positive = serializers.CharField(max_length=100, required=False)
    name = serializers.SlugField(max_length=80, required=False)
    guarantee = serializers.ChoiceField(Guarantee.choices, required=False)
    config = serializers.DictField(required=False)
    queue = serializers.CharField(max_length=20, required=False)


@scoped_read(Run)
class Runs(Resource):
    """Runs of the caller's tenant."""

    model = Run
    requires = Permission.RUN_VIEW
    serializer_class = RunShown

    @extend_schema(
        request=RunBody,
        responses={202: RunShown},
        parameters=[OpenApiParameter(HEADER, str, OpenApiParameter.HEADER)],
    )
    @binds_action(request_run)
    def create(self, request: Request) -> Response:
        """Ask for a run; it is queued, or waits for approval: look at `state`."""
        person = self.person
        asked: dict[str, Any] = checked(RunBody, request)
        dataset = find(person, Dataset, asked.pop("dataset"))
        versions = DatasetVersion.objects.visible_to(person).filter(dataset=dataset)
        if "version" in asked:
            versions = versions.filter(number=asked.pop("version"))
        newest = versions.order_by("-number").values_list("pk", flat=True).first()
        version = find(person, DatasetVersion, "" if newest is None else str(newest))
        if HEADER in request.headers:
            asked["idempotency_key"] = check_header(request.headers[HEADER])
        run = request_run(person, version, **asked)
        return Response(
            RunShown(run).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"/api/v1/runs/{run.id}"},
        )

    @extend_schema(request=None, responses=RunShown)
    @route(detail=True, methods=["post"])
    @binds_action(cancel_run)
    def cancel(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """Stop a run; what was written ahead stays charged."""
        return Response(RunShown(cancel_run(self.person, self.one(pk))).data)

    @extend_schema(request=None, responses={202: RunShown})
    @route(detail=True, methods=["post"])
    @binds_action(retry_run)
    def retry(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """Try an ended run again, from what was kept of it; what is unpaid is reserved."""
        run = retry_run(self.person, self.one(pk))
        return Response(RunShown(run).data, status=status.HTTP_202_ACCEPTED)
