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
from training import costs, estimates
from training.actions.runs import (
    cancel_run,
    estimate_run,
    prioritize_run,
    request_run,
    retry_run,
)
from training.estimates import Basis
from training.keeping import kept_of
from training.models import Effort, Guarantee, Priority, Run, RunPoint


class RunShown(serializers.ModelSerializer[Run]):
    """A run: what was asked, and how far it is."""

    config = serializers.DictField(source="config_json", read_only=True)

    class Meta:
        model = Run
        fields = (
            "id", "version", "purpose", "target", "model_name", "guarantee", "epsilon", "config",
            "config_digest", "state", "queue", "priority", "attempt", "plan", "error_code",
            "created_at", "started_at", "ended_at",
        )  # fmt: skip


class PointShown(serializers.ModelSerializer[RunPoint]):
    """A point of a run's curves; what is measured of records is noised, with its deviation."""

    class Meta:
        model = RunPoint
        fields = (
            "attempt", "step", "steps", "epsilon", "loss", "loss_error", "clip_fraction",
            "clip_fraction_error", "gradient_norm", "gradient_norm_error", "at",
        )  # fmt: skip


class RunDetail(RunShown):
    """With what it took until now: seconds under a lease, and money by currency."""

    goes_on_from = serializers.SerializerMethodField()
    seconds = serializers.SerializerMethodField()
    cost = serializers.SerializerMethodField()

    class Meta(RunShown.Meta):
        fields = (*RunShown.Meta.fields, "goes_on_from", "seconds", "cost")  # type: ignore[assignment]  # longer

    def get_goes_on_from(self, run: Run) -> int | None:
        """The step that a retry goes on from; null where it begins anew."""
        kept = kept_of(run)
        return None if kept is None else kept.step

    def get_seconds(self, run: Run) -> str:
        """Of every attempt; a running one until its last heartbeat."""
        return str(costs.taken(run).as_dict()["seconds"])

    def get_cost(self, run: Run) -> dict[str, str]:
        """Currency to a decimal string."""
        return costs.shown(costs.taken(run).cost)


class EstimateShown(serializers.Serializer[Any]):
    """What a request would take."""

    guarantee = serializers.ChoiceField(Guarantee.choices)
    epsilon_asked = serializers.CharField()
    delta = serializers.CharField()
    epsilon_left = serializers.CharField()
    epsilon_left_after = serializers.CharField(help_text="Below 0, the request does not fit.")
    fits = serializers.BooleanField()
    needs_approval = serializers.BooleanField()
    steps = serializers.IntegerField()
    trials = serializers.CharField(help_text="How many are expected, of so many steps each.")
    seconds = serializers.CharField()
    basis = serializers.ChoiceField([basis.value for basis in Basis])
    memory_bytes = serializers.IntegerField()
    cost = serializers.CharField()
    currency = serializers.CharField()


class TotalShown(serializers.Serializer[Any]):
    """What ended attempts took together; `model` is empty in a tenant's own line."""

    tenant = serializers.CharField()
    model = serializers.CharField()
    currency = serializers.CharField()
    runs = serializers.IntegerField()
    seconds = serializers.CharField()
    cost = serializers.CharField()


class CostsShown(serializers.Serializer[Any]):
    """Sums by model and by tenant."""

    models = TotalShown(many=True)
    tenants = TotalShown(many=True)


class PriorityBody(Body):
    """How urgent a run is."""

    priority = serializers.ChoiceField(Priority.choices)


class RunBody(Body):
    """What is asked of a dataset."""

    dataset = serializers.CharField(max_length=80, help_text="Name or id.")
    version = serializers.IntegerField(min_value=1, required=False, help_text="The newest if not.")
    target = serializers.CharField(max_length=100)
    purpose = serializers.SlugField(max_length=60)
    epsilon = serializers.CharField(max_length=40, help_text="ε for all that touches the data.")
    model = serializers.CharField(max_length=20, required=False)
    positive = serializers.CharField(max_length=100, required=False)
    guarantee = serializers.ChoiceField(Guarantee.choices, required=False)
    config = serializers.DictField(
        required=False,
        help_text="Fields of the training configuration. `search` chooses privately among "
        'candidates: {"candidates": [{"learning_rate": 0.5}, …], "trials": 8}; `trials` is the '
        "mean of a number that is never told.",
    )
    queue = serializers.CharField(max_length=20, required=False)


class RequestBody(RunBody):
    """What is asked of a dataset, under which name, and how urgent it is."""

    name = serializers.SlugField(max_length=80, required=False)
    priority = serializers.ChoiceField(Priority.choices, required=False)


@scoped_read(Run, RunPoint, Effort)
class Runs(Resource):
    """Runs of the caller's tenant."""

    model = Run
    requires = Permission.RUN_VIEW
    serializer_class = RunShown

    @extend_schema(responses=RunDetail)
    def retrieve(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """One run, with what it took."""
        self.allow(self.requires, self.kind)
        return Response(RunDetail(self.one(pk)).data)

    @extend_schema(
        request=RequestBody,
        responses={202: RunShown},
        parameters=[OpenApiParameter(HEADER, str, OpenApiParameter.HEADER)],
    )
    @binds_action(request_run)
    def create(self, request: Request) -> Response:
        """Ask for a run; it is queued, or waits for approval: look at `state`."""
        person = self.person
        version, asked = self._asked(checked(RequestBody, request))
        if HEADER in request.headers:
            asked["idempotency_key"] = check_header(request.headers[HEADER])
        run = request_run(person, version, **asked)
        return Response(
            RunShown(run).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"/api/v1/runs/{run.id}"},
        )

    def _asked(self, asked: dict[str, Any]) -> tuple[DatasetVersion, dict[str, Any]]:
        """The version that a body names, and what it asks of it."""
        dataset = find(self.person, Dataset, asked.pop("dataset"))
        versions = DatasetVersion.objects.visible_to(self.person).filter(dataset=dataset)
        if "version" in asked:
            versions = versions.filter(number=asked.pop("version"))
        newest = versions.order_by("-number").values_list("pk", flat=True).first()
        named = "" if newest is None else str(newest)
        return find(self.person, DatasetVersion, named), asked

    @extend_schema(request=RunBody, responses=EstimateShown)
    @route(detail=False, methods=["post"])
    @binds_action(estimate_run)
    def estimate(self, request: Request) -> Response:
        """What a request would take: ε, time, memory, money. Nothing is asked for."""
        version, asked = self._asked(checked(RunBody, request))
        judged = estimate_run(self.person, version, **asked)
        return Response(estimates.estimate(judged).as_dict())

    @extend_schema(responses=CostsShown)
    @route(detail=False, methods=["get"], pagination_class=None)
    def costs(self, request: Request) -> Response:  # noqa: ARG002  # DRF's signature
        """What ended attempts took: by model of the caller's tenant, and by tenant."""
        person = self.person
        self.allow(Permission.COST_VIEW, "cost")
        return Response(costs.totals(person).as_dict())

    @extend_schema(responses=PointShown(many=True))
    @route(detail=True, methods=["get"], pagination_class=None)
    def curve(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """The points of every attempt, in order."""
        self.allow(self.requires, self.kind)
        return Response(PointShown(self.one(pk).points.all(), many=True).data)

    @extend_schema(request=PriorityBody, responses=RunShown)
    @route(detail=True, methods=["post"])
    @binds_action(prioritize_run)
    def prioritize(self, request: Request, pk: str) -> Response:
        """Let a run that has not begun wait longer, or less."""
        run: Run = self.one(pk)
        wanted = checked(PriorityBody, request)
        return Response(RunShown(prioritize_run(self.person, run, **wanted)).data)

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
