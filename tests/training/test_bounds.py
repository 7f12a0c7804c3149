"""Bounds that are paid for: close enough, noisy, and one mechanism for all columns."""

import math

import numpy as np
import pytest

from training.bounds import buy_bounds, edges
from training.errors import ConfigError, FeatureError
from training.mechanisms import Purpose
from training.randomness import seeded_source

ROWS = 5_000
GENERATOR = np.random.default_rng(0)
TABLE: dict[str, list[str | None]] = {
    "hours": [str(value) for value in GENERATOR.integers(1, 100, ROWS)],
    "signed": [str(value) for value in GENERATOR.normal(0, 50, ROWS)],
    "zero": ["0"] * ROWS,
    "empty": [None, "?", "abc", "inf"] * (ROWS // 4),
}


def buy(*names: str, sigma: float = 5.0) -> dict[str, tuple[float, float]]:
    return buy_bounds(TABLE, names, sigma, seeded_source(7, allow_seeded=True)).bounds


def test_bounds_enclose_all_but_a_few() -> None:
    bounds = buy("hours", "signed")
    assert bounds["hours"] == (1.0, 128.0)
    low, high = bounds["signed"]
    assert -512 <= low <= -128
    assert 128 <= high <= 512


@pytest.mark.parametrize("name", ["empty", "zero"])
def test_nothing_to_see_is_zero_to_something(name: str) -> None:
    low, high = buy(name)[name]
    assert low == 0
    assert 0 < high <= 1


def test_one_mechanism_whatever_the_number_of_columns() -> None:
    source = seeded_source(1, allow_seeded=True)
    bought = buy_bounds(TABLE, ["hours", "signed", "zero"], 4.0, source)
    assert bought.mechanism.noise_multiplier == 4.0
    assert bought.mechanism.purpose is Purpose.BOUNDS
    assert bought.mechanism.steps == 1


def test_one_record_moves_the_histograms_by_root_k() -> None:
    """The stated sensitivity: k one-hot vectors."""
    borders = edges()
    stacked = np.concatenate(
        [np.histogram([float(value)], borders)[0] for value in ("40", "-3.5", "0")]
    )
    assert np.linalg.norm(stacked) == pytest.approx(math.sqrt(3))


class Silent:
    """A source without noise, to see the scale alone."""

    name = "silent"

    def bernoulli(self, sampling: int, count: int) -> np.ndarray:
        return np.full(count, fill_value=sampling > 0)

    def gaussian(self, count: int) -> np.ndarray:
        return np.zeros(count)


@pytest.mark.parametrize(("columns", "seen"), [(1, True), (4, False)])
def test_noise_and_threshold_grow_with_root_k(columns: int, *, seen: bool) -> None:
    """Thirty equal records clear 4.3 sigma at sigma = 5, and not at 5 times the root of four."""
    names = [f"x{place}" for place in range(columns)]
    table = {name: ["1.5"] * 30 for name in names}
    bounds = buy_bounds(table, names, 5.0, Silent()).bounds
    assert (bounds["x0"] == (1.0, 2.0)) is seen


def test_a_few_outliers_are_not_seen() -> None:
    table = {"x": ["1.5"] * 4_990 + ["1e9"] * 10}
    bought = buy_bounds(table, ["x"], 5.0, seeded_source(2, allow_seeded=True))
    assert bought.bounds["x"] == (1.0, 2.0)


def test_refused() -> None:
    source = seeded_source(1, allow_seeded=True)
    with pytest.raises(FeatureError):
        buy_bounds(TABLE, [], 1.0, source)
    with pytest.raises(FeatureError) as caught:
        buy_bounds(TABLE, ["gone"], 1.0, source)
    assert caught.value.stable_code == "feature.column_missing"
    for sigma in (0.0, math.nan):
        with pytest.raises(ConfigError):
            buy_bounds(TABLE, ["hours"], sigma, source)
