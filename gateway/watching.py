"""What the watch over released models knows of service: answers by score and hour, labels, inputs.

Calls with test keys are nobody's business of that kind, and count neither way.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import TruncHour

from gateway.models import Feedback, InputCounts, KeyMode, Prediction
from governance.scoping import across_tenants
from training.input_bins import Counts, added
from training.models import ModelVersion
from training.watching import Arrivals, register_observer

_WHY: Final = "a model's owner watches how it does for every customer"
_CHUNK: Final = 5_000


class Served:
    """The observer: predictions and feedback of every customer of a version."""

    def arrivals(self, version: ModelVersion, *, since: datetime, until: datetime) -> Arrivals:
        """Answers and labels by the hour."""
        with across_tenants(reason=_WHY):
            answers = (
                _answers(version, since, until)
                .annotate(hour=TruncHour("created_at", tzinfo=UTC))
                .values_list("hour")
                .annotate(many=Count("id"))
                .order_by("hour")
            )
            labels = (
                Feedback.objects.filter(
                    version=version,
                    hour__gte=since,
                    hour__lt=until,
                    prediction__key__mode=KeyMode.LIVE,
                )
                .values_list("hour")
                .annotate(many=Count("id"), right=Count("id", filter=Q(correct=True)))
                .order_by("hour")
            )
            return Arrivals(
                served=dict(answers),
                labels={hour: (many, right) for hour, many, right in labels},
            )

    def histogram(
        self,
        version: ModelVersion,
        *,
        since: datetime,
        until: datetime,
        edges: Sequence[float],
    ) -> list[int]:
        """Answers in each bin; a score on an edge belongs above it, as in the evaluation."""
        counts = np.zeros(len(edges) + 1, dtype=np.int64)
        with across_tenants(reason=_WHY):
            scores = _answers(version, since, until).order_by().values_list("answer__score")
            batch: list[float] = []
            for (score,) in scores.iterator(_CHUNK):
                batch.append(float(score))
                if len(batch) == _CHUNK:
                    counts += _binned(batch, edges)
                    batch = []
            counts += _binned(batch, edges)
        return [int(count) for count in counts]

    def inputs(self, version: ModelVersion, *, since: datetime, until: datetime) -> Counts:
        """Served inputs by feature and bin, as far as their processes have written them."""
        total: Counts = {}
        with across_tenants(reason=_WHY):
            rows = InputCounts.objects.filter(version=version, hour__gte=since, hour__lt=until)
            for counts in rows.values_list("counts", flat=True).iterator(_CHUNK):
                total = added(total, counts)
        return total


def _answers(version: ModelVersion, since: datetime, until: datetime) -> "QuerySet[Prediction]":
    rows: QuerySet[Prediction] = Prediction.objects.filter(
        version=version, created_at__gte=since, created_at__lt=until, key__mode=KeyMode.LIVE
    )
    return rows


def _binned(scores: Sequence[float], edges: Sequence[float]) -> Any:
    return np.bincount(np.searchsorted(edges, scores, side="right"), minlength=len(edges) + 1)


register_observer(Served())
