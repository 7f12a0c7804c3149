"""`/api/v1/models`: models of one's own, and licensed ones."""

from functools import partial
from typing import Any, Final

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.approvals import ProposalShown
from gateway.api.doors import Resource, checked, paged
from gateway.api.examinations import ExaminationBody, ExaminationShown
from gateway.api.parsing import LARGEST_BODY
from gateway.api.rollouts import ServiceBody, ServiceShown, SunsetBody
from gateway.authentication import KeyActor
from gateway.batches import MOST_ROWS
from gateway.bindings import binds_action, scoped_read
from gateway.catalog import find_model, models_for
from gateway.comparing import compared
from gateway.feedback import MOST as MOST_LABELS
from gateway.idempotency import HEADER, check_header
from gateway.models import Feature, License
from gateway.releases import affected, version_for
from governance.lookup import find
from governance.permissions import Permission
from training.actions.examinations import request_examination
from training.actions.models import propose_release, withdraw_model
from training.actions.rollouts import announce_sunset, roll_back, set_service
from training.examination import Examination
from training.models import Model, ModelState, ModelVersion
from training.watching import REMEDIES, Finding, shown

# Null where no version is released.
_OBJECT_OR_NULL: Final = {"type": ["object", "null"], "additionalProperties": {}}


class CallLimits(serializers.Serializer[Any]):
    """How much a caller may send."""

    row_bytes = serializers.IntegerField(help_text="Body of one call, at most.")
    batch_rows = serializers.IntegerField(help_text="Rows of a batch, at most.")
    batch_bytes = serializers.IntegerField(help_text="Body of a batch, at most.")
    feedback_labels = serializers.IntegerField(help_text="Labels in one request, at most.")
    feedback_days = serializers.IntegerField(help_text="For so long labels are taken.")


class GrantShown(serializers.ModelSerializer[License]):
    """What the key's license lets it call."""

    license = serializers.UUIDField(source="id")
    features = serializers.ListField(child=serializers.ChoiceField(Feature.choices))
    left = serializers.SerializerMethodField()

    class Meta:
        model = License
        fields = (
            "license", "features", "purposes", "quota", "used", "left", "starts_at", "expires_at",
        )  # fmt: skip

    def get_left(self, license_: License) -> int:
        """Units that may still be charged."""
        return license_.quota - license_.used


class VersionShown(serializers.ModelSerializer[ModelVersion]):
    """A version of a model."""

    class Meta:
        model = ModelVersion
        fields = (
            "id", "number", "state", "origin", "guarantee", "artifact_digest",
            "background_digest", "card_digest", "created_at", "released_at",
            "service", "share", "deprecated_at", "sunset_at",
        )  # fmt: skip


class ModelShown(serializers.ModelSerializer[Model]):
    """A model, and the version that is served."""

    released = serializers.SerializerMethodField()

    class Meta:
        model = Model
        fields: tuple[str, ...] = ("id", "slug", "created_at", "released")

    def _version(self, model: Model) -> ModelVersion | None:
        """What answers the caller."""
        return version_for(self.context["actor"], model.id)

    @extend_schema_field(VersionShown(allow_null=True))
    def get_released(self, model: Model) -> Any:
        """The version that answers the caller, but for a canary's share."""
        version = self._version(model)
        return None if version is None else VersionShown(version).data


class ModelDetail(ModelShown):
    """A model with what a caller needs to call it, and what it promises."""

    card = serializers.SerializerMethodField()
    input_schema = serializers.SerializerMethodField()
    limits = serializers.SerializerMethodField()
    grant = serializers.SerializerMethodField()

    class Meta(ModelShown.Meta):
        fields = (*ModelShown.Meta.fields, "card", "input_schema", "limits", "grant")

    @extend_schema_field(CallLimits)
    def get_limits(self, model: Model) -> Any:  # noqa: ARG002  # DRF's signature
        """How much a caller may send."""
        return {
            "row_bytes": LARGEST_BODY,
            "batch_rows": MOST_ROWS,
            "batch_bytes": settings.BATCH_MAX_BYTES,
            "feedback_labels": MOST_LABELS,
            "feedback_days": settings.FEEDBACK_DAYS,
        }

    @extend_schema_field(GrantShown(allow_null=True))
    def get_grant(self, model: Model) -> Any:  # noqa: ARG002  # as above
        """What the caller's key may call it for; null for a person."""
        license_ = self.context.get("license")
        return None if license_ is None else GrantShown(license_).data

    @extend_schema_field(_OBJECT_OR_NULL)
    def get_card(self, model: Model) -> Any:
        """The released version's card."""
        version = self._version(model)
        return None if version is None else version.card

    @extend_schema_field(_OBJECT_OR_NULL)
    def get_input_schema(self, model: Model) -> Any:
        """JSON Schema of a row."""
        # torch is loaded by who asks for a model, not with the addresses.
        from gateway import serving  # noqa: PLC0415

        version = self._version(model)
        return None if version is None else serving.loaded(version).input_schema()


class MovedShown(serializers.Serializer[Any]):
    """A feature of the served inputs, and how far it has moved since the first measured window."""

    feature = serializers.CharField()
    psi = serializers.FloatField(help_text="Above 0.25, and above chance, it is acted upon.")
    chance = serializers.FloatField(help_text="Corrected for the number of features.")
    shifted = serializers.BooleanField()


class WindowShown(serializers.Serializer[Any]):
    """A closed window of a version's service; what was not measured is null."""

    number = serializers.IntegerField()
    answers_from = serializers.DateTimeField()
    labels_from = serializers.DateTimeField()
    ends = serializers.DateTimeField()
    served = serializers.IntegerField(allow_null=True)
    labeled = serializers.IntegerField(allow_null=True)
    correct = serializers.IntegerField(allow_null=True)
    accuracy = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True, help_text="Of the 95 % interval (Wilson).")
    high = serializers.FloatField(allow_null=True)
    floor = serializers.FloatField(allow_null=True, help_text="Below it the accuracy is low.")
    psi = serializers.FloatField(allow_null=True, help_text="Above 0.25 it is acted upon.")
    chance = serializers.FloatField(allow_null=True, help_text="The index that chance reaches.")
    reference = serializers.ChoiceField(["card", "window", ""])
    inputs_counted = serializers.IntegerField(allow_null=True)
    inputs = MovedShown(many=True, help_text="The features that moved farthest, worst first.")
    findings = serializers.ListField(child=serializers.ChoiceField([one.value for one in Finding]))


class WatchedVersion(serializers.Serializer[Any]):
    """How a version does in service, and the remedy that waits for approvals."""

    number = serializers.IntegerField()
    state = serializers.ChoiceField(ModelState.choices)
    accuracy_floor = serializers.FloatField(allow_null=True)
    windows = WindowShown(many=True)
    proposal = serializers.UUIDField(allow_null=True)
    proposed = serializers.ChoiceField([one.value for one in REMEDIES], allow_null=True)


class Watched(serializers.Serializer[Any]):
    """Every version of a model that was ever released, the newest first."""

    model = serializers.SlugField()
    versions = WatchedVersion(many=True)


@scoped_read(Model, License)
class Models(Resource):
    """Models that the caller owns or is licensed for."""

    model = Model
    requires = Permission.MODEL_VIEW
    serializer_class = ModelShown

    def list(self, request: Request) -> Response:
        """A page of models."""
        self.allow(self.requires, self.kind)
        serializer = partial(ModelShown, context={"actor": self.actor})
        return paged(self, request, models_for(self.actor), serializer, ordering="-created_at")

    @extend_schema(responses=ModelDetail)
    def retrieve(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """One model: its released version, card and input schema, and what its caller may send."""
        self.allow(self.requires, self.kind)
        found = find_model(self.actor, pk)
        license_ = None
        if isinstance(self.actor, KeyActor):
            license_ = find(self.actor, License, str(self.actor.facts.license_id))
        return Response(ModelDetail(found, context={"actor": self.actor, "license": license_}).data)

    @extend_schema(responses=VersionShown(many=True))
    @route(detail=True, url_path="versions")
    def versions(self, request: Request, pk: str) -> Response:
        """Every version of a model of one's own."""
        self.allow(self.requires, self.kind)
        rows = ModelVersion.objects.visible_to(self.actor).filter(model=self.one(pk))
        return paged(self, request, rows, VersionShown, ordering="-created_at")

    @extend_schema(responses=ExaminationShown(many=True))
    @scoped_read(Examination)
    @route(detail=True, url_path="examinations")
    def examinations(self, request: Request, pk: str) -> Response:
        """Every examination of a model of one's own."""
        self.allow(Permission.EXAMINATION_VIEW, "examination")
        rows = Examination.objects.visible_to(self.actor).filter(version__model=self.one(pk))
        return paged(self, request, rows, ExaminationShown, ordering="-created_at")

    @extend_schema(
        request=ExaminationBody,
        responses={status.HTTP_202_ACCEPTED: ExaminationShown},
        parameters=[OpenApiParameter(HEADER, str, OpenApiParameter.HEADER)],
    )
    @route(detail=True, methods=["post"], url_path=r"versions/(?P<number>[0-9]{1,9})/examinations")
    @binds_action(request_examination)
    def examine(self, request: Request, pk: str, number: str) -> Response:
        """Ask for attacks on a version; a worker carries them out: look at `state`."""
        person = self.person
        asked: dict[str, Any] = checked(ExaminationBody, request)
        if HEADER in request.headers:
            asked["idempotency_key"] = check_header(request.headers[HEADER])
        made = request_examination(person, self._version(pk, number), **asked)
        return Response(
            ExaminationShown(made).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"/api/v1/examinations/{made.id}"},
        )

    @extend_schema(responses=Watched)
    @route(detail=True, url_path="watching")
    def watching(self, request: Request, pk: str) -> Response:  # noqa: ARG002  # DRF's signature
        """How the versions of a model of one's own do in service, window by window."""
        self.allow(self.requires, self.kind)
        model = self.one(pk)
        released = ModelVersion.objects.visible_to(self.actor).filter(
            model=model, released_at__isnull=False
        )
        now = timezone.now()
        versions = [shown(version, now) for version in released.order_by("-number")]
        return Response(Watched({"model": model.slug, "versions": versions}).data)

    @extend_schema(request=None, responses={status.HTTP_201_CREATED: ProposalShown})
    @route(detail=True, methods=["post"], url_path=r"versions/(?P<number>[0-9]{1,9})/release")
    @binds_action(propose_release)
    def release(self, request: Request, pk: str, number: str) -> Response:  # noqa: ARG002  # DRF's
        """Propose that a version be released; officer and tenant admin decide."""
        version = self._version(pk, number)
        proposal = propose_release(self.person, version)
        return Response(ProposalShown(proposal).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=VersionShown)
    @route(detail=True, methods=["post"], url_path=r"versions/(?P<number>[0-9]{1,9})/withdraw")
    @binds_action(withdraw_model)
    def withdraw(self, request: Request, pk: str, number: str) -> Response:  # noqa: ARG002  # DRF's
        """Stop serving a version, for good."""
        version = self._version(pk, number)
        return Response(VersionShown(withdraw_model(self.person, version)).data)

    @extend_schema(request=ServiceBody, responses=ServiceShown)
    @route(detail=True, methods=["post"], url_path=r"versions/(?P<number>[0-9]{1,9})/service")
    @binds_action(set_service)
    def service(self, request: Request, pk: str, number: str) -> Response:
        """Say which calls a version answers: all, a share of them, or none as a shadow."""
        asked: dict[str, Any] = checked(ServiceBody, request)
        return self._service(set_service(self.person, self._version(pk, number), **asked))

    @extend_schema(request=None, responses=ServiceShown)
    @route(detail=True, methods=["post"], url_path=r"versions/(?P<number>[0-9]{1,9})/rollback")
    @binds_action(roll_back)
    def rollback(self, request: Request, pk: str, number: str) -> Response:  # noqa: ARG002  # DRF's
        """Take a version out of service at once; the version before it answers."""
        return self._service(roll_back(self.person, self._version(pk, number)))

    @extend_schema(request=SunsetBody, responses=ServiceShown)
    @route(detail=True, methods=["post"], url_path=r"versions/(?P<number>[0-9]{1,9})/sunset")
    @binds_action(announce_sunset)
    def sunset(self, request: Request, pk: str, number: str) -> Response:
        """Announce when a version's service ends; the answer names the licenses concerned."""
        asked: dict[str, Any] = checked(SunsetBody, request)
        return self._service(announce_sunset(self.person, self._version(pk, number), **asked))

    @extend_schema(responses=ServiceShown)
    @route(detail=True, url_path=r"versions/(?P<number>[0-9]{1,9})/serving")
    def serving(self, request: Request, pk: str, number: str) -> Response:  # noqa: ARG002  # DRF's
        """A version's part in the service, the licenses that its end concerns, its comparisons."""
        self.allow(Permission.LICENSE_VIEW, "license")
        return self._service(self._version(pk, number))

    def _service(self, version: ModelVersion) -> Response:
        told = {
            "number": version.number,
            "state": version.state,
            "service": version.service,
            "share": version.share,
            "deprecated_at": version.deprecated_at,
            "sunset_at": version.sunset_at,
            "affected": affected(version, timezone.now()),
            "compared": compared(version),
        }
        return Response(ServiceShown(told).data)

    def _version(self, slug: str, number: str) -> ModelVersion:
        versions = ModelVersion.objects.visible_to(self.actor).filter(model=self.one(slug))
        row = versions.filter(number=int(number)).values_list("pk", flat=True).first()
        return find(self.actor, ModelVersion, "" if row is None else str(row))
