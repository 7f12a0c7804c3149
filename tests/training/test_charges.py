"""What is reserved, paid and left, step by step."""

import pytest

from training.charges import Charge, Part, covers, less
from training.mechanisms import WHOLE, Mechanism, Purpose


def steps(count: int, noise: float = 1.5) -> Charge:
    return Charge(Mechanism(noise, WHOLE // 10, count))


BOUNDS = Charge(Mechanism(9.0, purpose=Purpose.BOUNDS))
HELD_OUT = Charge(Mechanism(4.0, purpose=Purpose.EVALUATION), Part.HELD_OUT)
PLAN = (BOUNDS, steps(45), HELD_OUT)


@pytest.mark.parametrize(
    ("paid", "left"),
    [
        ((), PLAN),
        ((BOUNDS,), (steps(45), HELD_OUT)),
        ((BOUNDS, steps(20)), (steps(25), HELD_OUT)),
        ((BOUNDS, steps(20), steps(25)), (HELD_OUT,)),
        (PLAN, ()),
        ((steps(20, noise=2.0),), PLAN),  # another mechanism pays for nothing here
        ((Charge(HELD_OUT.mechanism, Part.TRAIN),), PLAN),  # nor does another part of the rows
        ((steps(60),), (BOUNDS, HELD_OUT)),
    ],
)
def test_what_is_left_to_pay(paid: tuple[Charge, ...], left: tuple[Charge, ...]) -> None:
    assert less(PLAN, paid) == left
    assert covers(PLAN, left)


def test_the_same_mechanism_twice_is_paid_for_twice() -> None:
    assert less((steps(10), steps(10)), (steps(15),)) == (steps(5),)
