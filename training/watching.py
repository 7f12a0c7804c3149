"""How a released version does in service: windows, their figures, and what they call for.

A window is closed when a boundary of the public schedule has passed (`WATCH_WINDOW_HOURS`, counted
from the Unix epoch) and enough has come in since the last one: `WATCH_SMALLEST` true labels, for
the accuracy, or as many answers, for their distribution. What is too little is counted with the
next window. Labels count when they come, answers when they are given: a label that comes late opens
nothing again.

    accuracy   right answers among labeled ones, with Wilson's (1927) 95 % interval
    PSI        Σ (q_i − p_i) · ln(q_i / p_i) over the score bins of the card, p the shares of the
               held-out release in the card and q those served; above 0.25 it is acted upon
               (Siddiqi, "Credit Risk Scorecards", 2006; `governance.quality.drift`)
    chance     the PSI that one population shows by itself in 95 of 100 pairs of such samples,
               with the noise that the card's counts carry: an index below it says nothing

A card without counts, or one whose noise left none, is replaced by the first measured window.

Inputs are counted by feature in public bins (`training.input_bins`), and each is compared with the
first window that counted `WATCH_SMALLEST` of them (`training.input_drift`).

The figures are about customers' answers and no training row is in them: they cost no ε.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

import numpy as np
from django.conf import settings
from django.db.models import QuerySet

from governance import approvals
from governance.models import Proposal
from governance.permissions import ProposalKind
from training import input_drift
from training.errors import WatchError
from training.input_bins import Counts, answers_in
from training.input_drift import Moved
from training.models import ModelVersion, WatchWindow

# A boundary counts once every request that began before it has committed or timed out.
SETTLED: Final = timedelta(minutes=10)
IN_A_ROW: Final = 3  # windows below the threshold
REMEDIES: Final = (ProposalKind.MODEL_RETRAINING, ProposalKind.MODEL_ROLLBACK)
_HOUR: Final = timedelta(hours=1)
_DRAWS: Final = 1_000
_CHANCE: Final = 0.95


class Finding(StrEnum):
    """What a window found."""

    STEADY = "steady"
    LOW = "low"  # accuracy
    SHIFTED = "shifted"  # scores
    INPUTS = "inputs"  # at least one feature of them
    UNMEASURED = "unmeasured"


@dataclass(frozen=True)
class Arrivals:
    """What came in since some moment, by the hour that it came in.

    Attributes:
        served: hour → answers.
        labels: hour → (labels, right answers among them).
    """

    served: Mapping[datetime, int]
    labels: Mapping[datetime, tuple[int, int]]


class Observer(Protocol):
    """Who knows what a version answered and what became of it: the package that serves."""

    def arrivals(self, version: ModelVersion, *, since: datetime, until: datetime) -> Arrivals:
        """What came in from `since` until just before `until`."""
        ...

    def histogram(
        self,
        version: ModelVersion,
        *,
        since: datetime,
        until: datetime,
        edges: Sequence[float],
    ) -> list[int]:
        """Answers by score: one count more than there are edges."""
        ...

    def inputs(self, version: ModelVersion, *, since: datetime, until: datetime) -> Counts:
        """Served inputs by feature and public bin; a few may be missing, none is there twice."""
        ...


_observers: list[Observer] = []


def register_observer(observer: Observer) -> None:
    """Say who observes; the serving package does so in `AppConfig.ready()`."""
    _observers[:] = [observer]


@dataclass(frozen=True)
class Reference:
    """What served scores are compared with.

    Attributes:
        source: `card`, or `window` for the first measured one.
        edges: of the bins.
        counts: held-out records, or answers, in each bin; noise may have left them no whole numbers
            below zero.
        noise: standard deviation of the noise in each count.
    """

    source: str
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    noise: float


@dataclass(frozen=True)
class Closing:
    """A window that is due, with its figures, not written yet. Fields as in `WatchWindow`."""

    number: int
    served_from: datetime
    labels_from: datetime
    ends_at: datetime
    scores: list[int] | None
    psi: float | None
    chance: float | None
    reference: str
    labeled: int | None
    correct: int | None
    floor: float | None
    inputs: Counts | None = None
    input_drift: list[dict[str, Any]] | None = None


def due(version: ModelVersion, now: datetime) -> Closing | None:
    """The next window of a released version, if it can be closed now.

    Raises:
        WatchError: `watch.nobody_observes`.
    """
    if version.released_at is None:
        return None
    last = WatchWindow.objects.filter(version=version).order_by("number").last()
    served_from, labels_from, ended = _beginnings(last, _whole_hour(version.released_at))
    observer = _observer()
    came = observer.arrivals(version, since=min(served_from, labels_from), until=now - SETTLED)
    end = _boundary(came, served_from, labels_from, ended, now - SETTLED)
    if end is None:
        return None
    served = sum(many for hour, many in came.served.items() if served_from <= hour < end)
    labels = [told for hour, told in came.labels.items() if labels_from <= hour < end]
    labeled, correct = sum(all_ for all_, _ in labels), sum(right for _, right in labels)
    scores = psi = chance = None
    reference = reference_of(version)
    if served >= settings.WATCH_SMALLEST:
        edges = _default_edges() if reference is None else reference.edges
        scores = observer.histogram(version, since=served_from, until=end, edges=edges)
        if reference is not None:
            psi, chance = stability(reference, scores)
    enough = labeled >= settings.WATCH_SMALLEST
    return Closing(
        number=1 if last is None else last.number + 1,
        served_from=served_from,
        labels_from=labels_from,
        ends_at=end,
        scores=scores,
        psi=psi,
        chance=chance,
        reference="" if scores is None or reference is None else reference.source,
        labeled=labeled if enough else None,
        correct=correct if enough else None,
        floor=floor_of(version) if enough else None,
        **_inputs(version, observer, end),
    )


def _inputs(version: ModelVersion, observer: Observer, end: datetime) -> dict[str, Any]:
    """The inputs of a window, if they are enough, and how far they have moved."""
    measured = WatchWindow.objects.filter(version=version, inputs__isnull=False).order_by("number")
    first, last = measured.first(), measured.last()
    since = last.ends_at if last is not None else version.released_at
    if since is None or since >= end:
        return {}
    counted = observer.inputs(version, since=_whole_hour(since), until=end)
    if answers_in(counted) < settings.WATCH_SMALLEST:
        return {}
    moved = None if first is None else input_drift.drift(first.inputs or {}, counted)
    return {"inputs": counted, "input_drift": moved}


def reference_of(version: ModelVersion) -> Reference | None:
    """The card's held-out scores; else those of the first measured window; None before it."""
    return _of_card(version) or _of_service(version)


def _of_card(version: ModelVersion) -> Reference | None:
    release = (version.card.get("evaluation") or {}).get("release")
    if not isinstance(release, dict) or not release.get("score_counts"):
        return None
    told = np.array(release["score_counts"], dtype=np.float64)  # (labels, bins)
    counts = np.maximum(told.sum(axis=0), 0.0)
    if counts.sum() < settings.WATCH_SMALLEST:
        return None
    return Reference(
        "card",
        tuple(float(edge) for edge in release["score_edges"]),
        tuple(counts.tolist()),
        float(release["count_noise"]) * math.sqrt(len(told)),  # of a sum over the labels
    )


def _of_service(version: ModelVersion) -> Reference | None:
    edges = _default_edges()
    measured = WatchWindow.objects.filter(version=version, scores__isnull=False)
    first = measured.order_by("number").first()
    if first is None or first.scores is None or len(first.scores) != len(edges) + 1:
        return None
    return Reference("window", edges, tuple(float(many) for many in first.scores), 0.0)


def stability(reference: Reference, served: Sequence[int]) -> tuple[float, float]:
    """PSI of served scores against a reference, and the PSI that chance and noise alone reach.

    Chance: both samples are drawn anew from the reference's shares, of the sizes that they have,
    the reference with new noise; the 95 % point of a thousand such indices. The draws need no
    secrecy, so that the figure can be repeated.
    """
    from governance.quality.drift import stability_index  # noqa: PLC0415 - loads polars

    known, new = np.array(reference.counts), np.array(served, dtype=np.float64)
    shares = known / known.sum()
    psi = stability_index(shares, new / new.sum())
    generator = np.random.Generator(np.random.Philox(0))
    again = generator.multinomial(round(known.sum()), shares, _DRAWS).astype(np.float64)
    again += reference.noise * generator.standard_normal(again.shape)
    again = np.maximum(again, 0.0)
    drawn = generator.multinomial(int(new.sum()), shares, _DRAWS) / new.sum()
    indices = [
        stability_index(old / max(float(old.sum()), 1.0), one)
        for old, one in zip(again, drawn, strict=True)
    ]
    return round(psi, 6), round(float(np.quantile(indices, _CHANCE)), 6)


def floor_of(version: ModelVersion) -> float | None:
    """The accuracy below which a window is low; None where the card holds no accuracy."""
    accuracy = (version.card.get("evaluation") or {}).get("accuracy") or {}
    if "value" not in accuracy:
        return None
    return round(settings.WATCH_ACCURACY_SHARE * float(accuracy["value"]), 6)


@dataclass(frozen=True)
class Accuracy:
    """Right answers among labeled ones, with the 95 % interval."""

    value: float
    low: float
    high: float


def accuracy_of(window: WatchWindow | Closing) -> Accuracy | None:
    """A window's accuracy; None where too few labels came."""
    from governance.measurement.scoring import Share  # noqa: PLC0415 - loads the recognizers' words

    if not window.labeled or window.correct is None:
        return None
    share = Share.of(window.correct, window.labeled)
    return Accuracy(window.correct / window.labeled, share.low, share.high)


def findings(window: WatchWindow | Closing) -> list[Finding]:
    """What a window found; `steady` where something was measured and nothing is wrong."""
    found = []
    if is_low(window):
        found.append(Finding.LOW)
    if is_shifted(window):
        found.append(Finding.SHIFTED)
    if moved_inputs(window):
        found.append(Finding.INPUTS)
    measured = (
        window.psi is not None
        or (window.labeled and window.floor is not None)
        or window.input_drift is not None
    )
    return found or [Finding.STEADY if measured else Finding.UNMEASURED]


def is_low(window: WatchWindow | Closing) -> bool:
    """Whether the accuracy is below the threshold that held when the window was closed."""
    if not window.labeled or window.correct is None or window.floor is None:
        return False
    return window.correct / window.labeled < window.floor


def is_shifted(window: WatchWindow | Closing) -> bool:
    """Whether the scores are distributed otherwise, and not by chance."""
    from governance.quality.drift import ACT  # noqa: PLC0415 - loads polars

    return window.psi is not None and window.psi > max(ACT, window.chance or 0.0)


def moved_inputs(window: WatchWindow | Closing) -> list[Moved]:
    """The features that are distributed otherwise, and not by chance, worst first."""
    return [one for one in input_drift.read(window.input_drift) if one.shifted]


@dataclass(frozen=True)
class Decline:
    """What calls for a remedy: the newest window that it was seen in, and the finding."""

    window: int
    finding: Finding


def decline(version: ModelVersion) -> Decline | None:
    """What a version's newest windows call for, if no proposal has answered it.

    A shift in the newest window that measured scores, or in the newest that measured inputs; or
    accuracy below the threshold in the newest three that measured accuracy.
    """
    windows = WatchWindow.objects.filter(version=version).order_by("-number")
    found = []
    scored = windows.filter(psi__isnull=False).first()
    if scored is not None and is_shifted(scored):
        found.append(Decline(scored.number, Finding.SHIFTED))
    labeled = list(windows.filter(labeled__isnull=False)[:IN_A_ROW])
    if len(labeled) == IN_A_ROW and all(is_low(window) for window in labeled):
        found.append(Decline(labeled[0].number, Finding.LOW))
    counted = windows.filter(input_drift__isnull=False).first()
    if counted is not None and moved_inputs(counted):
        found.append(Decline(counted.number, Finding.INPUTS))
    newest = max(found, key=lambda one: one.window, default=None)
    if newest is None or newest.window <= _answered(version):
        return None
    return newest


def remedies(version: ModelVersion) -> QuerySet[Proposal]:
    """Every retraining and rollback that was proposed for a version, the newest first."""
    rows: QuerySet[Proposal] = Proposal.objects.filter(
        subject=version.reference, kind__in=[kind.value for kind in REMEDIES]
    ).order_by("-created_at")
    return rows


def open_remedy(version: ModelVersion, now: datetime) -> Proposal | None:
    """The remedy that waits for its approvals, if one does."""
    return next((one for one in remedies(version) if one.is_open(now)), None)


def shown(version: ModelVersion, now: datetime) -> dict[str, Any]:
    """How a version does, as API and command print it."""
    proposal = open_remedy(version, now)
    floor = floor_of(version)
    return {
        "number": version.number,
        "state": version.state,
        "accuracy_floor": floor,
        "windows": [_shown(window) for window in version.windows.order_by("number")],
        "proposal": None if proposal is None else str(proposal.id),
        "proposed": None if proposal is None else proposal.kind,
    }


def _shown(window: WatchWindow) -> dict[str, Any]:
    accuracy = accuracy_of(window)
    return {
        "number": window.number,
        "answers_from": window.served_from.isoformat(),
        "labels_from": window.labels_from.isoformat(),
        "ends": window.ends_at.isoformat(),
        "served": None if window.scores is None else sum(window.scores),
        "labeled": window.labeled,
        "correct": window.correct,
        "accuracy": None if accuracy is None else round(accuracy.value, 6),
        "low": None if accuracy is None else round(accuracy.low, 6),
        "high": None if accuracy is None else round(accuracy.high, 6),
        "floor": window.floor,
        "psi": window.psi,
        "chance": window.chance,
        "reference": window.reference,
        "inputs_counted": None if window.inputs is None else answers_in(window.inputs),
        "inputs": [
            {**asdict(one), "shifted": one.shifted} for one in input_drift.read(window.input_drift)
        ],
        "findings": [finding.value for finding in findings(window)],
    }


def _answered(version: ModelVersion) -> int:
    """The newest window that a remedy was proposed for; 0 for none."""
    return max(
        (int(approvals.payload_of(one)["window"]) for one in remedies(version)),
        default=0,
    )


def _observer() -> Observer:
    if not _observers:
        raise WatchError("nothing that serves is installed", code="watch.nobody_observes")
    return _observers[0]


def _default_edges() -> tuple[float, ...]:
    from training.evaluation import EDGES  # noqa: PLC0415 - who only reads windows needs no figures

    return tuple(float(edge) for edge in EDGES)


def _beginnings(
    last: WatchWindow | None, released: datetime
) -> tuple[datetime, datetime, datetime]:
    """Where answers and labels of the next window begin, and where the last window ended."""
    if last is None:
        return released, released, released
    return (
        last.served_from if last.scores is None else last.ends_at,
        last.labels_from if last.labeled is None else last.ends_at,
        last.ends_at,
    )


def _boundary(
    came: Arrivals,
    served_from: datetime,
    labels_from: datetime,
    ended: datetime,
    until: datetime,
) -> datetime | None:
    """The first boundary after the last window by which enough had come in; None before `until`."""
    served: dict[datetime, int] = {}
    labels: dict[datetime, int] = {}
    first = _next_boundary(ended)
    for hour, many in came.served.items():
        if hour >= served_from:
            place = max(first, _next_boundary(hour))
            served[place] = served.get(place, 0) + many
    for hour, (many, _) in came.labels.items():
        if hour >= labels_from:
            place = max(first, _next_boundary(hour))
            labels[place] = labels.get(place, 0) + many
    so_far = [0, 0]
    for place in sorted(served.keys() | labels.keys()):
        so_far[0] += served.get(place, 0)
        so_far[1] += labels.get(place, 0)
        if place <= until and max(so_far) >= settings.WATCH_SMALLEST:
            return place
    return None


def _next_boundary(after: datetime) -> datetime:
    """The first boundary of the schedule after a moment."""
    length = int(settings.WATCH_WINDOW_HOURS) * 3600
    return datetime.fromtimestamp((int(after.timestamp()) // length + 1) * length, UTC)


def _whole_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
