"""GCRA against the bound that it promises: in any stretch, no more than burst + rate · t."""

import bisect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.gcra import LIFE, NEVER, SECOND, SPAN, Ask, Rate, checked_rate, take
from governance.errors import InvalidError

NOW = 1_800_000_000 * SECOND
LARGEST = 2**53 - 1

rates = st.builds(Rate, st.integers(1, 5000), st.integers(1, 200))


def ask(rate: Rate, *, want: int = 1, life: int = 0, since: int = NEVER) -> Ask:
    return Ask("b", rate.interval, rate.tolerance, want, life, since)


def keeps_the_bound(uses: list[int], rate: Rate) -> bool:
    """Whether no stretch between two uses holds more than burst + rate · t; uses in order."""
    return all(
        (last - first + 1 - rate.burst) * SECOND <= rate.per_second * (ended - began)
        for first, began in enumerate(uses)
        for last, ended in enumerate(uses[first:], first)
    )


@settings(deadline=None)
@given(rates, st.lists(st.integers(0, 400_000), max_size=60))
def test_one_by_one_never_more_than_the_bound(rate: Rate, gaps: list[int]) -> None:
    tat, now = 0, NOW
    uses: list[int] = []
    for gap in gaps:
        now += gap
        grant = take(tat, now, ask(rate))
        uses += [now] * grant.tokens
        tat = grant.tat
    assert keeps_the_bound(uses, rate)


@settings(deadline=None)
@given(
    rate=st.builds(Rate, st.integers(100, 5000), st.integers(20, 200)),
    asks=st.lists(
        st.tuples(st.sampled_from((0, 1, LIFE // 4, LIFE)), st.integers(1, 200)), max_size=40
    ),
    late=st.booleans(),
)
def test_blocks_used_as_late_as_may_be_keep_the_bound(
    rate: Rate, asks: list[tuple[int, int]], *, late: bool
) -> None:
    """Some drained until nothing is left: there a life that was not counted would show."""
    tat, now = 0, NOW
    uses: list[int] = []
    life = min(LIFE, rate.tolerance // 4)
    for gap, want in asks:
        now += gap
        grant = take(tat, now, ask(rate, want=want, life=life))
        while grant.tokens:
            assert grant.tokens <= max(want, 1)
            used = now + (life if late and grant.tokens > 1 else 0)
            for _ in range(grant.tokens):
                bisect.insort(uses, used)
            tat = grant.tat
            if want % 2:
                break
            grant = take(tat, now, ask(rate, want=want, life=life))
    assert keeps_the_bound(uses, rate)


@settings(deadline=None)
@given(rates, st.integers(1, 400))
def test_a_full_bucket_gives_its_burst_and_not_one_more(rate: Rate, want: int) -> None:
    tat, given = 0, 0
    while True:
        grant = take(tat, NOW, ask(rate, want=want))
        if not grant.tokens:
            break
        given, tat = given + grant.tokens, grant.tat
    assert given == rate.burst
    again = tat + rate.interval - rate.tolerance
    assert take(tat, again - 1, ask(rate)).tokens == 0
    assert take(tat, again, ask(rate)).tokens == 1


@settings(deadline=None)
@given(rates, st.lists(st.integers(-3_000_000, 1_000_000), max_size=40))
def test_a_clock_that_goes_back_never_gives_more(rate: Rate, steps: list[int]) -> None:
    """Judged by true time, which the clock tells wrongly by jumps to the past."""
    tat, clock, true = 0, NOW, NOW
    uses: list[int] = []
    for step in steps:
        clock += step
        true += max(step, 0)
        grant = take(tat, clock, ask(rate))
        uses += [true] * grant.tokens
        tat = grant.tat
    assert keeps_the_bound(uses, rate)


def test_after_a_step_back_of_a_year_calls_go_on() -> None:
    rate = Rate(10, 10)
    full = take(0, NOW, ask(rate)).tat
    back = NOW - 365 * 86_400 * SECOND
    refused = take(full, back, ask(rate))
    assert (refused.tokens, refused.tat) == (0, back + rate.tolerance)
    assert take(refused.tat, back + rate.interval, ask(rate)).tokens == 1


@pytest.mark.parametrize("since", [0, 1, 99_999, 100_000, 250_000])
def test_what_was_lost_counts_as_empty(since: int) -> None:
    rate = Rate(10, 3)
    given, tat = 0, 0
    while (grant := take(tat, NOW, ask(rate, since=since))).tokens:
        given, tat = given + 1, grant.tat
    assert given == min(since // rate.interval, 3)


@settings(deadline=None)
@given(
    st.integers(1, LARGEST), st.integers(1, LARGEST), st.integers(1, LARGEST), st.integers(0, LIFE)
)
def test_no_number_leaves_what_a_double_holds(
    per_second: int, burst: int, want: int, life: int
) -> None:
    rate = Rate(per_second, burst)
    assert 1 <= rate.tolerance // rate.interval <= burst
    grant = take(0, NOW, ask(rate, want=want, life=life))
    assert grant.tokens >= 1
    assert NOW <= grant.tat <= NOW + SPAN < 2**53
    # Rounding takes, and never gives: T is no shorter than the rate says.
    assert rate.interval * per_second >= SECOND


@pytest.mark.parametrize(
    ("rate", "burst", "code"),
    [
        (0, None, "limit.rate_invalid"),
        (-1, 1, "limit.rate_invalid"),
        (LARGEST + 1, 1, "limit.rate_invalid"),
        (None, 5, "limit.rate_invalid"),
        (5, 0, "limit.burst_invalid"),
        (5, LARGEST + 1, "limit.burst_invalid"),
    ],
)
def test_bad_rates(rate: int | None, burst: int | None, code: str) -> None:
    with pytest.raises(InvalidError) as raised:
        checked_rate(rate, burst)
    assert raised.value.stable_code == code


def test_a_rate_alone_is_its_own_burst() -> None:
    assert checked_rate(7, None) == (7, 7)
    assert checked_rate(None, None) == (None, None)
