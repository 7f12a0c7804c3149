"""The peers: the same prediction by a DRF view with no governance, and behind a key of a peer's.

    DJANGO_SETTINGS_MODULE=tests.benchmarks.serving.peer_settings
    gunicorn tests.benchmarks.serving.peers

`BENCH_ARTIFACT` is a file with a model's bytes. `/bare` asks for nothing; `/keyed` asks
djangorestframework-api-key, on the database that DATABASE_URL names. Neither writes anything.
"""

import os
from pathlib import Path
from typing import Any

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

# ruff: noqa: E402 - the applications are loaded by the line above
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_api_key.permissions import HasAPIKey

from training.serving import LoadedModel

_model = LoadedModel(Path(os.environ["BENCH_ARTIFACT"]).read_bytes())


class Bare(APIView):
    """The row read by the model's schema, scored, answered."""

    def post(self, request: Request) -> Response:
        """Score one row."""
        data: Any = request.data
        row = _model.check_row(data["row"])
        score = float(_model.predict_proba([row])[0])
        target = _model.spec.target
        label = target.positive if score >= 0.5 else target.negative
        return Response({"score": score, "label": label})


class Keyed(Bare):
    """As `Bare`, for who has a key."""

    permission_classes: Any = (HasAPIKey,)


urlpatterns = [path("bare", Bare.as_view()), path("keyed", Keyed.as_view())]
