"""A released version over a run that was asked for, and what is told of its service."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from audit.canonical import digest
from governance.models import DatasetVersion
from governance.scoping import tenant_scope
from tests.factories.gateway import stored
from tests.factories.people import House
from tests.factories.training import ask
from training import watching
from training.input_bins import Counts, added
from training.models import Guarantee, Model, ModelState, ModelVersion, Run, RunState
from training.watching import Arrivals

BINS: Final = 18
EVEN: Final = [100] * BINS
SKEWED: Final = [10] * 9 + [190] * 9  # PSI against `EVEN`: far above 0.25


def card(
    accuracy: str = "0.9", counts: Sequence[int] | None = EVEN, noise: str = "0.00"
) -> dict[str, Any]:
    """What a card says of the held-out rows."""
    from training.evaluation import EDGES

    return {
        "target": {"column": "income", "positive": ">50K", "negative": "<=50K"},
        "evaluation": {
            "accuracy": {"value": accuracy, "low": "0.85", "high": "0.95"},
            "release": {
                "score_edges": [f"{edge:.4f}" for edge in EDGES],
                "count_noise": noise,
                **({} if counts is None else {"score_counts": [list(counts), [0] * BINS]}),
            },
        },
    }


def release(
    house: House, dataset: DatasetVersion, *, said: Mapping[str, Any] | None = None, **asked: Any
) -> ModelVersion:
    """A version of a run that was requested, and whose end and release are told: nothing trains.

    Released ten days ago, at a whole hour.
    """
    run = ask(house, dataset, **asked)
    told = dict(card() if said is None else said)
    with tenant_scope(house.id):
        for state in (RunState.RUNNING, RunState.FINISHED):
            Run.objects.filter(pk=run.pk).update(state=state)
        model = Model.objects.get(slug=run.model_name)
        data = f"weights {model.versions.count()}".encode()
        version: ModelVersion = ModelVersion.objects.create(
            tenant=house.tenant,
            model=model,
            number=model.versions.count() + 1,
            run=run,
            artifact=stored(house.tenant, "artifact", data),
            artifact_digest=hashlib.sha256(data).hexdigest(),
            guarantee=Guarantee.DP,
            card=told,
            card_digest=digest(told),
            state=ModelState.RELEASED,
            released_at=midnight(10),
        )
    return version


def midnight(days_ago: int) -> datetime:
    """The beginning of a day, UTC."""
    now = timezone.now().astimezone(UTC)
    return now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)


@dataclass
class Service:
    """An observer that tells what a test wrote down.

    Attributes:
        answers: hour → a histogram of scores.
        labels: hour → (labels, right answers among them).
        counted: hour → inputs by feature and bin.
    """

    answers: dict[datetime, list[int]] = field(default_factory=dict)
    labels: dict[datetime, tuple[int, int]] = field(default_factory=dict)
    counted: dict[datetime, Counts] = field(default_factory=dict)

    def day(
        self,
        days_ago: int,
        *,
        labels: tuple[int, int] = (0, 0),
        scores: Sequence[int] = (),
        inputs: Counts | None = None,
    ) -> None:
        """What came in at noon of a day."""
        noon = midnight(days_ago) + timedelta(hours=12)
        if scores:
            self.answers[noon] = list(scores)
        if labels[0]:
            self.labels[noon] = labels
        if inputs:
            self.counted[noon] = inputs

    def arrivals(self, version: ModelVersion, *, since: datetime, until: datetime) -> Arrivals:
        """As the protocol says."""
        del version
        return Arrivals(
            {hour: sum(told) for hour, told in self.answers.items() if since <= hour < until},
            {hour: told for hour, told in self.labels.items() if since <= hour < until},
        )

    def histogram(
        self, version: ModelVersion, *, since: datetime, until: datetime, edges: Sequence[float]
    ) -> list[int]:
        """As the protocol says."""
        del version
        told = [one for hour, one in self.answers.items() if since <= hour < until]
        return [sum(column) for column in zip(*told, strict=True)] or [0] * (len(edges) + 1)

    def inputs(self, version: ModelVersion, *, since: datetime, until: datetime) -> Counts:
        """As the protocol says."""
        del version
        total: Counts = {}
        for hour, counts in self.counted.items():
            if since <= hour < until:
                total = added(total, counts)
        return total


@contextmanager
def observed_by(service: Service) -> Iterator[Service]:
    """What is observed inside comes from here; from the gateway again afterwards."""
    before = list(watching._observers)
    watching.register_observer(service)
    try:
        yield service
    finally:
        watching._observers[:] = before
