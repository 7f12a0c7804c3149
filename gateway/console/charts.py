"""A line chart's geometry, for a template to draw as SVG: no script, nothing from elsewhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 560
HEIGHT: Final = 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 26
_TICKS: Final = 4


@dataclass(frozen=True)
class Tick:
    """A line of the grid: where it is in pixels, and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """One curve over steps.

    Attributes:
        path: SVG path data of the curve.
        area: the same, closed down to the axis.
        last: the newest point, in pixels.
        x, y: ticks of the two axes.
    """

    path: str
    area: str
    last: tuple[float, float]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def line(points: Sequence[tuple[float, float]], *, steps: int, zero: bool) -> Chart | None:
    """The chart of (step, value) points, in order; None of fewer than two finite ones.

    Args:
        points: the curve.
        steps: where the horizontal axis ends.
        zero: whether the vertical axis shows 0.
    """
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if len(finite) < 2:  # noqa: PLR2004 - a line
        return None
    low, high = min(y for _, y in finite), max(y for _, y in finite)
    marks = _nice(min(0.0, low) if zero else low, high)
    low, high = marks[0], marks[-1]
    end = max(steps, 1)

    def across(step: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * step / end, 1)

    def up(value: float) -> float:
        share = (value - low) / (high - low)
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share, 1)

    drawn = [(across(x), up(y)) for x, y in finite]
    path = "M" + " L".join(f"{x} {y}" for x, y in drawn)
    floor = HEIGHT - _BOTTOM
    return Chart(
        path=path,
        area=f"{path} L{drawn[-1][0]} {floor} L{drawn[0][0]} {floor} Z",
        last=drawn[-1],
        x=tuple(Tick(across(x), f"{x:g}") for x in _whole(end)),
        y=tuple(Tick(up(y), f"{y:g}") for y in marks),
    )


def _nice(low: float, high: float) -> list[float]:
    """Round marks that enclose the values: 1, 2, 2.5 or 5 times a power of ten apart."""
    if high <= low:
        high = low + (abs(low) or 1.0) * 0.1
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * i, 10) for i in range(first, last + 1)]


def _whole(end: int) -> list[int]:
    """Round marks on whole steps, from 0 to the end or just before it."""
    marks = _nice(0.0, float(end))
    return [int(mark) for mark in marks if mark <= end and mark == int(mark)]
