"""What the watch over released models knows of service: answers by score and hour, labels, inputs.

Calls with test keys are nobody's business of that kind, and count neither way.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, TruncHour

from gateway.models import Feedback, InputCounts, KeyMode, Prediction, RowFeedback
from governance.scoping import across_tenants
from training.input_bins import Counts, added
from training.models import ModelVersion
from training.watching import Arrivals, register_observer

_WHY: Final = "a model's owner watches how it does for every customer"
_CHUNK: Final = 5_000
_BATCHES: Final = 20  # that are read at a time; each holds thousands of scores


class Served:
    """The observer: predictions and feedback of every customer of a version."""

    def arrivals(self, version: ModelVersion, *, since: datetime, until: datetime) -> Arrivals:
        """Answers and labels by the hour."""
        with across_tenants(reason=_WHY):
            answers = (
                _answers(version, since, until)
                .annotate(hour=TruncHour("created_at", tzinfo=UTC))
                .values_list("hour")
                .annotate(many=Sum(Coalesce("rows", 1)))
                .order_by("hour")
            )
            labels: dict[datetime, tuple[int, int]] = {}
            for told in (Feedback, RowFeedback):
                for hour, many, right in _labels(told, version, since, until):
                    before = labels.get(hour, (0, 0))
                    labels[hour] = before[0] + many, before[1] + right
            return Arrivals(served=dict(answers), labels=labels)

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
            answers = _answers(version, since, until).order_by()
            scores = answers.filter(rows=None).values_list("answer__score")
            some: list[float] = []
            for (score,) in scores.iterator(_CHUNK):
                some.append(float(score))
                if len(some) == _CHUNK:
                    counts += _binned(some, edges)
                    some = []
            counts += _binned(some, edges)
            lists = answers.exclude(rows=None).values_list("answer__scores")
            for (many,) in lists.iterator(_BATCHES):
                counts += _binned(many, edges)
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


def _labels(
    told: type[Feedback] | type[RowFeedback],
    version: ModelVersion,
    since: datetime,
    until: datetime,
) -> Iterable[tuple[datetime, int, int]]:
    """Labels by the hour, and how many answers they found right."""
    rows: Iterable[tuple[datetime, int, int]] = (
        told.objects.filter(
            version=version,
            hour__gte=since,
            hour__lt=until,
            prediction__key__mode=KeyMode.LIVE,
        )
        .values_list("hour")
        .annotate(many=Count("id"), right=Count("id", filter=Q(correct=True)))
        .order_by("hour")
    )
    return rows


def _binned(scores: Sequence[float], edges: Sequence[float]) -> Any:
    return np.bincount(np.searchsorted(edges, scores, side="right"), minlength=len(edges) + 1)


register_observer(Served())
