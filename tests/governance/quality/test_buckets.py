"""Numbers in buckets: they merge exactly, and are off by no more than they say."""

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.quality.buckets import Buckets, code_of

NUMBERS = st.lists(
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(-100, 100).map(float),
    max_size=60,
)


def counted(numbers: list[float], capacity: int = 8) -> Buckets:
    made = Buckets(capacity)
    made.add(np.array(numbers, np.float64), np.ones(len(numbers), np.int64))
    return made


@settings(max_examples=60, deadline=None)
@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_merge_is_the_sketch_of_all(a: list[float], b: list[float], c: list[float]) -> None:
    whole = counted(a + b + c).as_dict()
    for order in itertools.permutations([a, b, c]):
        merged = Buckets(8)
        for part in order:
            merged.merge(counted(part))
        assert merged.as_dict() == whole
    nested = counted(b)
    nested.merge(counted(c))
    outer = counted(a)
    outer.merge(nested)
    assert outer.as_dict() == whole


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=80), st.floats(0, 1))
def test_a_quantile_is_as_near_as_width_says(numbers: list[float], share: float) -> None:
    sketch = counted(numbers, 32)
    exact = sorted(0.0 if abs(x) < 1e-300 else x for x in numbers)
    wanted = exact[math.floor(share * (len(exact) - 1))]
    assert abs(sketch.quantile(share) - wanted) <= sketch.width * abs(wanted) * (1 + 1e-9)
    assert len(sketch.codes) <= 32
    assert sketch.total == len(numbers)


def test_small_integers_stay_apart() -> None:
    sketch = counted([float(n) for n in range(17, 91)] * 3, 512)
    assert sketch.level == 0
    assert len(sketch.codes) == 74
    assert [round(x) for x in sketch.numbers()] == list(range(17, 91))


def test_bounds() -> None:
    sketch = counted([float(n) for n in range(17, 91)], 512)
    assert (sketch.below(17), sketch.above(90), sketch.below(20), sketch.above(88)) == (0, 0, 3, 2)
    assert not sketch.lowest_below(17)
    assert sketch.lowest_below(17.1)
    assert not sketch.highest_above(90)
    assert sketch.highest_above(89.9)


def test_a_long_number_is_not_kept() -> None:
    """An account number falls together with the millions of others that share four digits."""
    assert code_of(np.array([6217000012345678.0])) == code_of(np.array([6217000099999999.0]))


def test_mean_and_deviation() -> None:
    numbers = np.random.default_rng(0).lognormal(9, 1, 20_000)
    sketch = Buckets()
    sketch.add(numbers, np.ones(len(numbers), np.int64))
    assert abs(sketch.mean() / numbers.mean() - 1) < sketch.width
    assert abs(sketch.deviation() / numbers.std() - 1) < 3 * sketch.width
    assert sketch.width < 0.02


def test_nothing() -> None:
    empty = Buckets()
    assert math.isnan(empty.mean())
    assert math.isnan(empty.deviation())
    assert math.isnan(empty.quantile(0.5))
    assert Buckets.from_dict(empty.as_dict(), 512).as_dict() == empty.as_dict()
