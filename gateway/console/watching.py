"""How a released version does in service: its windows in words, and the remedy that is proposed."""

from dataclasses import dataclass
from typing import Any, Final

from django.utils import timezone

from gateway.console import words
from gateway.console.proposals import Decision, decision_on
from governance.rbac import UserActor
from training import input_drift, watching
from training.models import ModelVersion, WatchWindow

_INPUTS: Final = 3  # features that a line names even where none is shifted


@dataclass(frozen=True)
class Row:
    """A window as its line shows it; "" for what was not measured, None for answers too few."""

    window: WatchWindow
    served: int | None
    accuracy: str
    interval: str
    psi: str
    chance: str
    inputs: list[tuple[str, str, str, bool]]  # feature, index, chance, whether it is shifted
    findings: list[tuple[str, str]]  # code and word


@dataclass(frozen=True)
class Watching:
    """What the page shows.

    Attributes:
        floor: the accuracy threshold as it is now; "" where the card holds no accuracy.
        reference: `card`, `window`, or "" while there is none.
        rows: the windows, the newest first.
        decision: the remedy that waits for approvals.
    """

    floor: str
    reference: str
    rows: list[Row]
    decision: Decision | None


def watching_of(version: ModelVersion, actor: UserActor) -> Watching | None:
    """A version's windows; None for one that was never released."""
    if version.released_at is None:
        return None
    reference = watching.reference_of(version)
    floor = watching.floor_of(version)
    proposal = watching.open_remedy(version, timezone.now())
    return Watching(
        floor="" if floor is None else f"{floor:.3f}",
        reference="" if reference is None else reference.source,
        rows=[_row(window) for window in version.windows.order_by("-number")],
        decision=None if proposal is None else decision_on(proposal, actor),
    )


def _row(window: WatchWindow) -> Row:
    accuracy = watching.accuracy_of(window)
    return Row(
        window=window,
        served=None if window.scores is None else sum(window.scores),
        accuracy="" if accuracy is None else f"{accuracy.value:.3f}",
        interval="" if accuracy is None else f"{accuracy.low:.3f} – {accuracy.high:.3f}",
        psi=_figure(window.psi),
        chance=_figure(window.chance),
        inputs=[
            (one.feature, f"{one.psi:.3f}", f"{one.chance:.3f}", one.shifted)
            for place, one in enumerate(input_drift.read(window.input_drift))
            if one.shifted or place < _INPUTS
        ],
        findings=[
            (found.value, words.word(words.FINDINGS, found.value))
            for found in watching.findings(window)
        ],
    )


def _figure(value: Any) -> str:
    return "" if value is None else f"{value:.3f}"
