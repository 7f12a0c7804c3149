"""`POST /api/v1/models/{slug}/predict` and `/explain`: the calls that are charged."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.actions.predictions import serve_prediction
from gateway.api.doors import Door
from gateway.authentication import KeyActor
from gateway.bindings import binds_action
from gateway.errors import RequestError
from gateway.idempotency import HEADER
from gateway.models import Feature
from training.models import Guarantee

_KEY = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    description="The same key with the same body gives the same answer, charged once.",
)


class CallBody(serializers.Serializer[Any]):
    """One row, by the model's own input schema (`GET /api/v1/models/{slug}`)."""

    row = serializers.DictField(help_text="Feature name to value; null for an unknown value.")
    purpose = serializers.SlugField(
        required=False, help_text="What the call is for; must be the licensed purpose."
    )


class Attribution(serializers.Serializer[Any]):
    """What one feature adds to the score."""

    feature = serializers.CharField()
    attribution = serializers.CharField(help_text="A decimal number.")


class OtherFeatures(serializers.Serializer[Any]):
    """The features that are not listed, as one sum."""

    count = serializers.IntegerField()
    attribution = serializers.CharField()


class Explanation(serializers.Serializer[Any]):
    """The strongest features, and the digest of the record that an auditor can verify."""

    record = serializers.RegexField(r"^[0-9a-f]{64}$")
    method = serializers.CharField()
    output = serializers.CharField()
    base_value = serializers.CharField()
    attributions = Attribution(many=True)
    other_features = OtherFeatures()


class ReceiptNote(serializers.Serializer[Any]):
    """A signed promise that the call's entry stands in the log by `merge_by`."""

    note = serializers.CharField(help_text="A signed note (C2SP).")
    entry = serializers.UUIDField()
    leaf_hash = serializers.RegexField(r"^[0-9a-f]{64}$")
    merge_by = serializers.IntegerField(help_text="Microseconds since the Unix epoch.")


class Predicted(serializers.Serializer[Any]):
    """The answer to one call."""

    prediction = serializers.UUIDField()
    model = serializers.SlugField()
    version = serializers.IntegerField()
    guarantee = serializers.ChoiceField(Guarantee.choices)
    score = serializers.FloatField(help_text="Probability of the positive label.")
    label = serializers.CharField(  # type: ignore[assignment]  # a field, not Field.label
        allow_null=True, help_text="The likelier label; null for any but the positive one."
    )
    explanation = Explanation(allow_null=True)
    receipt = ReceiptNote()


class _Call(Door):
    """A charged call: with an API key only."""

    feature: Feature

    def answer(self, request: Request, slug: str) -> Response:
        """Answer, or refuse; either is recorded once."""
        # torch is loaded with the first call, not with the addresses.
        from gateway import calls  # noqa: PLC0415

        if not isinstance(self.actor, KeyActor):
            raise self._refused("permission.keys_only", "model")

        def read_body() -> object:
            try:
                return request.data
            except UnsupportedMediaType:
                raise RequestError("the body is not JSON", code="http.media_type") from None
            except ParseError:
                raise RequestError("the body cannot be read", code="request.malformed") from None

        answered = calls.answer(
            self.actor,
            slug,
            feature=self.feature,
            read_body=read_body,
            idempotency_key=request.headers.get(HEADER),
        )
        return Response(answered.body, headers=answered.headers)


@binds_action(serve_prediction)
class Predict(_Call):
    """Score one row."""

    feature = Feature.PREDICT

    @extend_schema(
        operation_id="predict",
        tags=["predictions"],
        parameters=[_KEY],
        request=CallBody,
        responses={200: OpenApiResponse(Predicted, description="Charged, recorded, receipted.")},
    )
    def post(self, request: Request, slug: str) -> Response:
        """Score one row with the licensed model's newest released version."""
        return self.answer(request, slug)


@binds_action(serve_prediction)
class Explain(_Call):
    """Score one row, and say which features made the score."""

    feature = Feature.EXPLAIN

    @extend_schema(
        operation_id="explain",
        tags=["predictions"],
        parameters=[_KEY],
        request=CallBody,
        responses={200: OpenApiResponse(Predicted, description="Charged, recorded, receipted.")},
    )
    def post(self, request: Request, slug: str) -> Response:
        """Score one row and explain the score by Shapley values."""
        return self.answer(request, slug)
