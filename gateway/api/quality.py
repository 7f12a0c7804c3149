"""`…/quality`, `…/drift` and `…/contract`: whether a version may be trained on, and why not."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.doors import Body, Door, checked
from gateway.bindings import binds_action, scoped_read
from governance.actions.quality import begin_quality_check, finish_quality_check, set_contract
from governance.errors import InvalidError
from governance.lookup import find
from governance.models import Dataset, DatasetVersion, QualityContract, QualityRun
from governance.permissions import Permission
from governance.quality.inspecting import AT_A_REQUEST, check_quality, compare
from governance.quality.telling import told_contract, told_quality, told_run


class ContractNamed(serializers.Serializer[Any]):
    """Which contract a version was held against; without a number, the derived one."""

    number = serializers.IntegerField(allow_null=True)
    digest = serializers.CharField()


class BreachShown(serializers.Serializer[Any]):
    """A term that is not met: how much was found, and how much is allowed."""

    column = serializers.CharField(help_text="Empty where the table as a whole is meant.")
    check = serializers.CharField()
    share = serializers.FloatField()
    limit = serializers.FloatField()


class DriftShown(serializers.Serializer[Any]):
    """How far a version has moved from another, column by column."""

    rows = serializers.ListField(child=serializers.IntegerField())
    level = serializers.ChoiceField(choices=["stable", "warn", "act"])
    added = serializers.ListField(child=serializers.CharField())
    removed = serializers.ListField(child=serializers.CharField())
    columns = serializers.ListField(child=serializers.DictField())
    to = serializers.IntegerField()

    def get_fields(self) -> dict[str, Any]:
        """With `from`, which is a word of Python."""
        return {"from": serializers.IntegerField(allow_null=True), **super().get_fields()}


class QualityShown(serializers.Serializer[Any]):
    """A check of a version: its profile, what the contract does not let through, its drift."""

    dataset = serializers.CharField()
    version = serializers.IntegerField()
    passed = serializers.BooleanField(allow_null=True, help_text="Null: not checked yet.")
    run_at = serializers.DateTimeField(allow_null=True)
    contract = ContractNamed()
    breaches = BreachShown(many=True)
    profile = serializers.DictField()
    drift = DriftShown(allow_null=True)


class ContractShown(serializers.Serializer[Any]):
    """The contract in force."""

    dataset = serializers.CharField()
    number = serializers.IntegerField(allow_null=True)
    digest = serializers.CharField()
    body = serializers.DictField()


class ContractBody(Body):
    """A contract: terms of columns and of the table."""

    columns = serializers.DictField(required=False)
    table = serializers.DictField(required=False)


@scoped_read(DatasetVersion, QualityRun)
class Quality(Door):
    """The quality of a sealed version."""

    @extend_schema(responses=QualityShown)
    def get(self, request: Request, version: str) -> Response:
        """The newest check against the contract in force."""
        del request
        self.allow(Permission.DATASET_VIEW, "datasetversion")
        return Response(told_quality(find(self.person, DatasetVersion, version)))

    @extend_schema(request=None, responses={201: QualityShown})
    @binds_action(begin_quality_check, finish_quality_check)
    def post(self, request: Request, version: str) -> Response:
        """Check it now: its rows are read."""
        del request
        run = check_quality(
            self.person, find(self.person, DatasetVersion, version), most=AT_A_REQUEST
        )
        return Response(told_run(run), status=status.HTTP_201_CREATED)


@scoped_read(DatasetVersion)
class Drift(Door):
    """How far a version has moved."""

    @extend_schema(
        parameters=[
            OpenApiParameter("from", int, description="A version's number; the one before.")
        ],
        responses=DriftShown,
    )
    def get(self, request: Request, version: str) -> Response:
        """PSI, KS, missing values and new categories, against another version."""
        found = find(self.person, DatasetVersion, version)
        asked = request.query_params.get("from", "")
        if asked and not (asked.isascii() and asked.isdigit() and len(asked) < 9):  # noqa: PLR2004 - no dataset has so many
            raise InvalidError(
                "a version's number is expected", code="version.number_invalid", pointer="/from"
            )
        old = int(asked) if asked else None
        return Response(compare(self.person, found.dataset, old=old, new=found.number))


@scoped_read(Dataset, QualityContract)
class Contracts(Door):
    """What a dataset's versions must be before anything trains on them."""

    @extend_schema(responses=ContractShown)
    def get(self, request: Request, dataset: str) -> Response:
        """The contract in force; without a number, the one that follows from declarations."""
        del request
        self.allow(Permission.DATASET_VIEW, "dataset")
        found = find(self.person, Dataset, dataset)
        return Response(told_contract(found, found.versions.order_by("-number").first()))

    @extend_schema(request=ContractBody, responses=ContractShown)
    @binds_action(set_contract)
    def put(self, request: Request, dataset: str) -> Response:
        """Put a contract in force; every version must then be checked against it."""
        found = find(self.person, Dataset, dataset)
        set_contract(self.person, found, body=checked(ContractBody, request))
        return Response(told_contract(found, found.versions.order_by("-number").first()))
