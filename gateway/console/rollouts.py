"""A version's part in the service: which calls it answers, its end, and what it was as a shadow."""

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from gateway.comparing import compared
from gateway.models import License
from gateway.releases import affected
from gateway.shadow_bins import EDGES
from training.models import ModelState, ModelVersion


@dataclass(frozen=True)
class Part:
    """What the page shows.

    Attributes:
        licenses: those that an end concerns; empty where none was announced.
        rows: the shadow beside each version that answered.
        edges: upper ends of the distances that rows count.
    """

    licenses: list[License]
    rows: list[dict[str, Any]]
    edges: tuple[float, ...]


def part_of(version: ModelVersion, *, licenses: bool) -> Part | None:
    """A version's part; None for one that was withdrawn. `licenses`: whether they may be seen."""
    if version.state == ModelState.WITHDRAWN:
        return None
    told = licenses and version.sunset_at is not None
    return Part(
        licenses=affected(version, timezone.now()) if told else [],
        rows=compared(version),
        edges=EDGES,
    )
