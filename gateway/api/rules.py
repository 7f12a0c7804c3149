"""`/api/v1/recognition-rules`: a tenant's own terms and patterns, as editions."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.doors import Body, Resource, checked
from gateway.bindings import binds_action, scoped_read
from governance.actions.rules import add_rules, begin_trial
from governance.lookup import find, own_tenant
from governance.models import Dataset, RecognitionRules, Tenant
from governance.permissions import Permission
from governance.recognition.tenant_rules import CHECKS, RuleBook
from governance.recognition_rules import version_of
from governance.trials import try_rules


class EditionShown(serializers.ModelSerializer[RecognitionRules]):
    """An edition by its counts; terms and patterns stay sealed."""

    version = serializers.SerializerMethodField(help_text="As column plans name it.")

    class Meta:
        model = RecognitionRules
        fields = ("id", "number", "version", "digest", "finds", "allows", "created_at")

    def get_version(self, edition: RecognitionRules) -> str:
        """As column plans name it."""
        return version_of(edition)


class AllowedTerm(Body):
    """A text that passes although a recognizer takes it for somebody."""

    text = serializers.CharField(max_length=200)
    entity = serializers.CharField(max_length=31, required=False, help_text="Any where left out.")


class DeniedTerm(Body):
    """A text that is always found."""

    text = serializers.CharField(max_length=200)
    entity = serializers.CharField(max_length=31)


class PatternBody(Body):
    """A pattern in RE2's syntax; matches are bounded by themselves."""

    entity = serializers.CharField(max_length=31, help_text="A known one, or one of your own.")
    pattern = serializers.CharField(max_length=400, trim_whitespace=False)
    score = serializers.CharField(required=False, help_text="0.00 to 1.00, as a text.")
    context = serializers.ListField(  # type: ignore[assignment]  # a field, not DRF's context
        child=serializers.CharField(), required=False
    )
    headers = serializers.ListField(child=serializers.CharField(), required=False)
    check = serializers.ChoiceField(choices=["", *CHECKS], required=False)


class RulesBody(Body):
    """All rules of an edition."""

    allow = AllowedTerm(many=True, required=False)
    deny = DeniedTerm(many=True, required=False)
    patterns = PatternBody(many=True, required=False)


class TrialBody(Body):
    """Rules, and what to try them on: a dataset's newest file, or an example."""

    rules = RulesBody()
    dataset = serializers.CharField(required=False, help_text="Name or id.")
    text = serializers.CharField(required=False, trim_whitespace=False)


class ColumnTried(serializers.Serializer[Any]):
    """What the rules did in one column."""

    column = serializers.CharField()
    found = serializers.DictField(child=serializers.IntegerField())
    doubts = serializers.DictField(child=serializers.IntegerField())
    allowed = serializers.IntegerField()
    samples = serializers.ListField(child=serializers.CharField())


class TrialShown(serializers.Serializer[Any]):
    """Counts and masks; never a value."""

    rows = serializers.IntegerField()
    columns = ColumnTried(many=True)


@scoped_read(RecognitionRules)
class Rules(Resource):
    """Editions of the caller's tenant, the newest first; the newest counts."""

    model = RecognitionRules
    requires = Permission.RULES_VIEW
    serializer_class = EditionShown

    @extend_schema(request=RulesBody, responses={201: EditionShown})
    @binds_action(add_rules)
    def create(self, request: Request) -> Response:
        """Add an edition. Plans made before it have to be proposed anew."""
        person = self.person
        book = RuleBook.from_dict(checked(RulesBody, request))
        edition = add_rules(person, own_tenant(person), book=book)
        return Response(EditionShown(edition).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=TrialBody, responses=TrialShown)
    @route(detail=False, methods=["post"], url_path="try")
    @binds_action(begin_trial)
    def trial(self, request: Request) -> Response:
        """Try rules before they count."""
        person = self.person
        asked = checked(TrialBody, request)
        named = asked.get("dataset", "")
        subject: Dataset | Tenant = find(person, Dataset, named) if named else own_tenant(person)
        book = RuleBook.from_dict(asked["rules"])
        return Response(try_rules(person, subject, book, text=asked.get("text", "")).as_dict())
