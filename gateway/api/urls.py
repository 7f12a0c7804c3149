"""The API's addresses, under /api/."""

from django.urls import URLPattern, URLResolver, include, path, register_converter
from django.urls.converters import StringConverter
from rest_framework.routers import SimpleRouter

from gateway.api import documents
from gateway.api.approvals import Approvals
from gateway.api.audit import Bundles, Entries
from gateway.api.budgets import Budgets
from gateway.api.callfiles import CallFiles, TakeFile
from gateway.api.datasets import Datasets, DatasetVersions
from gateway.api.examinations import Examinations
from gateway.api.feedback import BulkFeedback, SingleFeedback
from gateway.api.fetches import Fetches, Sources
from gateway.api.keys import Keys, Pattern, Report
from gateway.api.licenses import Licenses
from gateway.api.limits import Limits
from gateway.api.measurements import Measurements
from gateway.api.models import Models
from gateway.api.predictions import Explain, Predict, PredictBatch
from gateway.api.quality import Contracts, Drift, Quality
from gateway.api.receipts import Receipts
from gateway.api.releases import DataReleases
from gateway.api.rules import Rules
from gateway.api.runs import Runs
from gateway.api.statements import Statements
from gateway.api.tenants import Tenants
from gateway.api.usage import Events, Rollups, Usage


class NameConverter(StringConverter):
    """An id, a slug or a name: nothing that could walk a path or break a header."""

    regex = "[A-Za-z0-9_-]{1,80}"


register_converter(NameConverter, "name")


class Router(SimpleRouter):
    """Addresses without a slash at the end, by ids and names."""

    def __init__(self) -> None:
        super().__init__(trailing_slash=False)
        self._default_value_pattern = NameConverter.regex


_router = Router()
for _prefix, _resource in {
    "approvals": Approvals,
    "audit/entries": Entries,
    "budgets": Budgets,
    "call-files": CallFiles,
    "data-releases": DataReleases,
    "dataset-versions": DatasetVersions,
    "datasets": Datasets,
    "detector-measurements": Measurements,
    "examinations": Examinations,
    "fetches": Fetches,
    "keys": Keys,
    "licenses": Licenses,
    "limits": Limits,
    "models": Models,
    "recognition-rules": Rules,
    "runs": Runs,
    "tenants": Tenants,
    "usage": Usage,
}.items():
    _router.register(_prefix, _resource, basename=_prefix.replace("/", "-"))

_v1: list[URLPattern | URLResolver] = [
    path("models/<name:slug>/predict", Predict.as_view(), name="predict"),
    path("models/<name:slug>/explain", Explain.as_view(), name="explain"),
    path("models/<name:slug>/predict-batch", PredictBatch.as_view(), name="predict-batch"),
    path("models/<name:slug>/files", TakeFile.as_view(), name="predict-file"),
    path("predictions/feedback", BulkFeedback.as_view(), name="feedback"),
    path(
        "predictions/<name:prediction>/feedback", SingleFeedback.as_view(), name="feedback-of-one"
    ),
    path("receipts/<name:prediction>", Receipts.as_view(), name="receipt"),
    path("dataset-versions/<name:version>/quality", Quality.as_view(), name="quality"),
    path("dataset-versions/<name:version>/drift", Drift.as_view(), name="drift"),
    path("datasets/<name:dataset>/contract", Contracts.as_view(), name="contract"),
    path("keys/pattern", Pattern.as_view(), name="keys-pattern"),
    path("keys/report", Report.as_view(), name="keys-report"),
    path("sources", Sources.as_view(), name="sources"),
    path("usage/events", Events.as_view(), name="usage-events"),
    path("usage/rollups", Rollups.as_view(), name="usage-rollups"),
    path("statements", Statements.as_view(), name="statements"),
    path("audit/bundles", Bundles.as_view(), name="audit-bundles"),
    *_router.urls,
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("schema", documents.Schema.as_view(), name="schema"),
    path("docs", documents.Docs.as_view(url_name="schema"), name="docs"),
    path("v1/", include(_v1)),
]
