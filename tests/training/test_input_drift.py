"""Drift of inputs: golden indices, and what a steady population is found to do."""

import numpy as np
import pytest

from training import input_drift
from training.input_drift import JUDGED, drift, read

EVEN = {"0": 100, "1": 200, "2": 300, "3": 400}


@pytest.mark.parametrize(
    ("served", "psi"),
    [
        ({"0": 100, "1": 200, "2": 300, "3": 400}, 0.0),
        ({"0": 20, "1": 20, "2": 30, "3": 30}, 0.098083),  # as of scores: by hand
        ({"0": 40, "1": 30, "2": 20, "3": 10}, 0.91287),
        ({"3": 500}, 5.160389),  # an empty bin as 0.0001
        ({"9": 500}, 17.136825),  # Σ (s − 0.0001)·ln(s / 0.0001) + 0.9999·ln(10⁴)
    ],
)
def test_golden_indices(served: dict[str, int], psi: float) -> None:
    [one] = read(drift({"f": EVEN}, {"f": served}))
    assert one.psi == pytest.approx(psi, abs=5e-5)
    assert one.shifted is (psi > 0.25)


def test_chance_is_corrected_for_the_number_of_features() -> None:
    """Yurdakul and Naranjo (2020): (1/n + 1/m)·χ²(3), at 1 − 0.05/F."""
    even = {str(place): 500 for place in range(4)}
    points = {1: 7.815, 10: 12.838, 100: 17.730}  # of χ²(3) at 0.95, 0.995, 0.9995
    for features, point in points.items():
        counts = {f"f{number}": even for number in range(features)}
        [first, *_] = read(drift(counts, counts))
        assert first.chance == pytest.approx((1 / 2000 + 1 / 2000) * point, rel=0.15)


def test_chance_of_a_long_list_is_that_of_many_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its mean and deviation, and by its own tail."""
    counts = {f"f{one}": {str(place): 20 + place % 7 for place in range(600)} for one in range(5)}
    by_deviation = read(drift(counts, counts))[0].chance
    monkeypatch.setattr(input_drift, "_LONG", 10_000)
    assert by_deviation == pytest.approx(read(drift(counts, counts))[0].chance, rel=0.05)


def test_a_steady_population_is_rarely_found_to_have_moved() -> None:
    """40 features, 60 answers each: many an index is above 0.25, few above chance."""
    generator = np.random.default_rng(1)
    shares = np.full(10, 0.1)

    def window() -> dict[str, dict[str, int]]:
        return {
            f"f{number}": {
                str(place): int(many)
                for place, many in enumerate(generator.multinomial(60, shares))
                if many
            }
            for number in range(40)
        }

    found = [read(drift(window(), window())) for _ in range(10)]
    assert sum(one.psi > 0.25 for window in found for one in window) > 100
    assert sum(any(one.shifted for one in window) for window in found) <= 3


def test_the_worst_come_first_and_no_more_than_are_judged() -> None:
    reference = {f"f{number:02}": {"0": 50, "1": 50} for number in range(30)}
    served = {f"f{number:02}": {"0": 50 + number, "1": 50 - number} for number in range(30)}
    told = read(drift(reference, {**served, "new": {"0": 100}, "f01": {}}))
    assert [one.feature for one in told] == [f"f{29 - place:02}" for place in range(JUDGED)]
    assert drift(reference, served) == drift(reference, served)
    assert drift({}, {}) == []
    assert read(None) == []
