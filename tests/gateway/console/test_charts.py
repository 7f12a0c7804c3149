"""The geometry of a curve."""

import math

import pytest

from gateway.console.charts import HEIGHT, WIDTH, line


@pytest.mark.parametrize(
    "points",
    [
        [(0, 1.0), (1, 2.0)],
        [(0, 0.0), (10, 1e-9)],
        [(0, -1e6), (10, 1e6)],
        [(1, 5.0), (2, 5.0)],
        [(1, 0.0), (2, 0.0)],
        [(5, 1.0), (7, math.nan), (9, math.inf), (10, 2.0)],
    ],
)
def test_a_curve_stays_inside_its_frame(points: list[tuple[float, float]]) -> None:
    for zero in (True, False):
        chart = line(points, steps=10, zero=zero)
        assert chart is not None
        pairs = [pair.split(" ") for pair in chart.path.removeprefix("M").split(" L")]
        assert all(chart.left <= float(x) <= chart.right for x, _ in pairs)
        assert all(chart.top <= float(y) <= chart.bottom for _, y in pairs)
        assert len(pairs) == sum(math.isfinite(y) for _, y in points)
        assert 2 <= len(chart.y) <= 8
        assert (chart.width, chart.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("points", [[], [(1, 2.0)], [(1, math.nan), (2, 3.0)]])
def test_less_than_a_line_is_not_drawn(points: list[tuple[float, float]]) -> None:
    assert line(points, steps=10, zero=False) is None


def test_marks_are_round_and_begin_at_zero_where_asked() -> None:
    chart = line([(0, 0.2), (100, 0.9)], steps=100, zero=True)
    assert chart is not None
    assert [tick.label for tick in chart.y] == ["0", "0.25", "0.5", "0.75", "1"]
    assert [tick.label for tick in chart.x] == ["0", "25", "50", "75", "100"]
