"""`POST /api/v1/models/{slug}/predict`, `/explain`, `/predict-batch`: what is charged."""

from typing import Any, Final

from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
)
from rest_framework import serializers
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.actions.batches import serve_batch
from gateway.actions.predictions import serve_prediction
from gateway.agreements import REGION
from gateway.api.doors import Door
from gateway.api.parsing import BatchJson
from gateway.authentication import KeyActor
from gateway.batches import MOST_ROWS
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

_EXAMPLE: Final = "6b0c9c52-6d1f-4b06-9d0f-5a0f1a3f2c11"  # a batch


class CallBody(serializers.Serializer[Any]):
    """One row, by the model's own input schema (`GET /api/v1/models/{slug}`)."""

    row = serializers.DictField(help_text="Feature name to value; null for an unknown value.")
    purpose = serializers.SlugField(
        required=False,
        help_text="What the call is for: a licensed purpose. Must be told where there are several.",
    )
    region = serializers.RegexField(
        REGION,
        required=False,
        help_text="Where the answer is used: a country code or a region's slug, in lower case."
        " Without it, where the gateway serves.",
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


class BatchBody(serializers.Serializer[Any]):
    """Rows, each by the model's own input schema (`GET /api/v1/models/{slug}`)."""

    rows = serializers.ListField(
        child=serializers.DictField(),
        min_length=1,
        max_length=MOST_ROWS,
        help_text="All are answered and charged, or none.",
    )
    purpose = serializers.SlugField(
        required=False, help_text="What the call is for; must be the licensed purpose."
    )


class RowPredicted(serializers.Serializer[Any]):
    """The answer to one row of a batch."""

    prediction = serializers.CharField(help_text="`{batch}_{row}`: feedback names the row by it.")
    score = serializers.FloatField(help_text="Probability of the positive label.")
    label = serializers.CharField(  # type: ignore[assignment]  # as in `Predicted`
        allow_null=True, help_text="The likelier label; null for any but the positive one."
    )


class BatchPredicted(serializers.Serializer[Any]):
    """The answer to a batch: one receipt, over Merkle roots of its rows and of their scores."""

    batch = serializers.UUIDField(help_text="`GET /api/v1/receipts/{batch}` gives its receipt.")
    model = serializers.SlugField()
    version = serializers.IntegerField()
    guarantee = serializers.ChoiceField(Guarantee.choices)
    rows = RowPredicted(many=True, help_text="In the order of the body.")
    receipt = ReceiptNote()


class _Call(Door):
    """A charged call: with an API key only."""

    feature: Feature
    batch = False

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
            batch=self.batch,
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


@binds_action(serve_batch)
class PredictBatch(_Call):
    """Score many rows as one call."""

    feature = Feature.PREDICT
    batch = True
    parser_classes = (BatchJson,)

    @extend_schema(
        operation_id="predict_batch",
        tags=["predictions"],
        parameters=[_KEY],
        request=BatchBody,
        responses={
            200: OpenApiResponse(
                BatchPredicted, description="Charged a unit a row, recorded and receipted as one."
            )
        },
        examples=[
            OpenApiExample(
                "Two rows",
                request_only=True,
                value={
                    "rows": [{"age": 42, "education": "Masters"}, {"age": 23, "education": None}]
                },
            ),
            OpenApiExample(
                "Their answers",
                response_only=True,
                value={
                    "batch": _EXAMPLE,
                    "model": "income",
                    "version": 1,
                    "guarantee": "dp",
                    "rows": [
                        {"prediction": f"{_EXAMPLE}_0", "score": 0.731402, "label": ">50K"},
                        {"prediction": f"{_EXAMPLE}_1", "score": 0.118934, "label": "<=50K"},
                    ],
                    "receipt": {
                        "note": "portcullis.localhost/log …",
                        "entry": "0192f5d0-52a5-7e30-9b0e-3f5f8d0f6a11",
                        "leaf_hash": "9f86d081884c7d65" * 4,
                        "merge_by": 1_795_351_200_000_000,
                    },
                },
            ),
        ],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Score up to 10,000 rows with the licensed model's newest released version.

        All or nothing: where rows do not fit the schema, the first hundred of them are named by
        pointers, such as `/rows/17/age`, and nothing is charged.
        """
        return self.answer(request, slug)
