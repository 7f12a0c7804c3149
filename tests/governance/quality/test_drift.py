"""Drift from sketches, against the same figures reckoned from all the numbers."""

from collections.abc import Iterable

import numpy as np
import pytest
from scipy import stats

from governance.quality.buckets import Floats
from governance.quality.drift import (
    Basis,
    Drift,
    Level,
    column_drift,
    compare,
    stability_index,
)
from governance.quality.sketches import TableSketch
from governance.quality.telling import worst

KEY = b"k" * 32
RNG = np.random.default_rng(11)


def sketch(cells: Iterable[object]) -> TableSketch:
    made = TableSketch(["a"], key=KEY)
    made.add({"a": [None if cell is None else str(cell) for cell in cells]})
    return made


def drift(old: Iterable[object], new: Iterable[object]) -> Drift:
    return column_drift("a", sketch(old).column("a"), sketch(new).column("a"))


def exact_psi(old: Floats, new: Floats) -> float:
    edges = np.quantile(old, np.arange(1, 10) / 10)
    p = np.bincount(np.searchsorted(edges, old), minlength=10) / len(old)
    q = np.bincount(np.searchsorted(edges, new), minlength=10) / len(new)
    return stability_index(p, q)


@pytest.mark.parametrize(
    ("shift", "scale", "level"),
    [(0.0, 1.0, Level.STABLE), (0.2, 1.0, Level.STABLE), (0.4, 1.0, Level.WARN),
     (1.0, 1.0, Level.ACT), (0.0, 2.0, Level.ACT)],
)  # fmt: skip
def test_numbers_against_all_of_them(shift: float, scale: float, level: Level) -> None:
    old, new = RNG.lognormal(3, 1, 20_000), RNG.lognormal(3 + shift, scale, 15_000)
    found = drift(old, new)
    assert found.basis is Basis.NUMBERS
    # A bucket is some 1.5 % wide: a decile's edge moves by a share of about 0.005 at most.
    assert found.psi == pytest.approx(exact_psi(old, new), abs=0.01 + 0.03 * exact_psi(old, new))
    assert found.ks == pytest.approx(stats.ks_2samp(old, new).statistic, abs=0.005)
    pooled = np.sqrt((old.var() + new.var()) / 2)
    assert found.effect == pytest.approx((new.mean() - old.mean()) / pooled, abs=0.01)
    assert found.level is level


def test_few_whole_numbers_are_exact() -> None:
    old, new = RNG.integers(17, 91, 5_000), RNG.integers(20, 91, 5_000)
    found = drift(old, new)
    assert found.ks == pytest.approx(stats.ks_2samp(old, new).statistic, abs=1e-12)


def test_categories_are_exact() -> None:
    old, new = ["a"] * 600 + ["b"] * 400, ["a"] * 500 + ["b"] * 400 + ["c"] * 100
    found = drift(old, new)
    assert found.basis is Basis.CATEGORIES
    wanted = stability_index(np.array([0.6, 0.4, 0.0]), np.array([0.5, 0.4, 0.1]))
    assert found.psi == pytest.approx(wanted)
    assert found.new == pytest.approx(0.1)
    assert found.level is Level.ACT


def test_the_index_is_jeffreys_divergence() -> None:
    """Worked by hand: (0.6 - 0.5)·ln(0.6/0.5) + (0.4 - 0.5)·ln(0.4/0.5)."""
    found = stability_index(np.array([0.5, 0.5]), np.array([0.6, 0.4]))
    assert found == pytest.approx(0.1 * np.log(1.2) - 0.1 * np.log(0.8))


def test_chance_is_not_drift() -> None:
    """Forty rows against forty of one population: the index is large, and says nothing."""
    levels = [
        drift(RNG.normal(size=40), RNG.normal(size=40)).level is Level.STABLE for _ in range(40)
    ]
    assert sum(levels) >= 34


def test_the_noise_is_the_chi_square_point() -> None:
    old, new = ["a", "b", "c", "d"] * 100, ["a", "b", "c", "d"] * 50
    found = drift(old, new)
    assert found.noise == pytest.approx((1 / 400 + 1 / 200) * stats.chi2.ppf(0.95, 3), rel=0.01)
    assert found.psi == pytest.approx(0)


@pytest.mark.parametrize(
    ("old", "new", "level"),
    [
        (["1"] * 100, ["1"] * 97 + [""] * 3, Level.WARN),  # 3 % went missing
        (["1"] * 100, ["1"] * 99 + ["?"], Level.STABLE),
        (["1", "2"] * 50, ["one", "two"] * 50, Level.ACT),  # of another type
        (["1", "2"] * 50, [""] * 100, Level.WARN),
        ([""] * 5, [""] * 5, Level.STABLE),
        ([], [], Level.STABLE),
    ],
)
def test_what_else_is_drift(old: list[str], new: list[str], level: Level) -> None:
    assert drift(old, new).level is level


def test_texts_are_compared_by_length() -> None:
    old = [f"value {i}" for i in range(2_000)]
    found = drift(old, [text * 6 for text in old])
    assert found.basis is Basis.LENGTHS
    assert found.level is Level.ACT
    assert found.new is None


def test_two_versions() -> None:
    old = TableSketch(["a", "gone"], key=KEY)
    old.add({"a": ["1", "2"] * 200, "gone": ["x"] * 400})
    new = TableSketch(["a", "fresh"], key=KEY)
    new.add({"a": ["8", "9"] * 200, "fresh": ["x"] * 400})
    told = compare(old, new)
    assert (told["added"], told["removed"], told["level"]) == (["fresh"], ["gone"], "act")
    assert [column["name"] for column in worst(told)] == ["a"]
    assert worst(compare(old, old)) == []
