"""GCRA, the generic cell rate algorithm: one whole number a bucket, and never a float.

ITU-T Recommendation I.371 (Annex A), in its form of virtual scheduling. A bucket's state is its
*theoretical arrival time* (TAT), in microseconds since the Unix epoch: the moment at which it is
full again. A token moves it on by T, the interval of the rate; a token is there while the TAT stays
within B = burst · T of now.

In any stretch of t seconds no more than burst + rate · t tokens are used. That holds for tokens
taken in advance as well: a block that may be used until now + L counts as used at now + L, so

    TAT' = max(TAT, now + L) + n · T        if it stays within        now + B

and the uses of a stretch [a, b] have moved the TAT from a or later to b + B or earlier. What was
taken in advance and not used is lost: fewer calls, never more.

A clock that goes back finds a TAT further ahead than B: the bucket counts as empty now. One that
jumps ahead fills a bucket once. Rounding makes T longer and B shorter: it takes, and never gives.
"""

from dataclasses import dataclass
from typing import Final

from audit.canonical import LARGEST
from governance.errors import InvalidError

SECOND: Final = 1_000_000  # microseconds
# The longest B: added to any moment before the year 2250 it is an integer that a double holds.
SPAN: Final = 2**52
LIFE: Final = SECOND // 10  # L: how long tokens taken in advance are good
NEVER: Final = SPAN  # microseconds since a bucket was last known to be empty, where it never was


@dataclass(frozen=True)
class Rate:
    """How fast a bucket fills, and how much it holds.

    Attributes:
        per_second: tokens, 1 to 2**53 - 1. T is rounded up to a microsecond, so that more than a
            million a second is a million.
        burst: tokens that a full bucket holds, 1 to 2**53 - 1; fewer if they took B beyond `SPAN`.
    """

    per_second: int
    burst: int

    @property
    def interval(self) -> int:
        """T, microseconds."""
        return -(-SECOND // self.per_second)

    @property
    def tolerance(self) -> int:
        """B, microseconds: a multiple of T."""
        return min(self.burst, SPAN // self.interval) * self.interval


@dataclass(frozen=True)
class Ask:
    """What is asked of a bucket.

    Attributes:
        name: of the bucket.
        interval, tolerance: T and B.
        want: tokens, at most.
        life: L, for which a block is good.
        since: microseconds since the bucket has to be taken for empty (its state was lost, or kept
            elsewhere), or `NEVER`.
    """

    name: str
    interval: int
    tolerance: int
    want: int
    life: int
    since: int = NEVER


@dataclass(frozen=True)
class Grant:
    """What a bucket gave.

    Attributes:
        tokens: none, one to use at once, or a block of two and more, good for L.
        tat: the state after it, as it was judged.
        now: when, by the store's clock.
    """

    tokens: int
    tat: int
    now: int


def take(tat: int, now: int, ask: Ask) -> Grant:
    """Judge one ask by a bucket's state.

    No block takes more than half of what there is: the rest is for other processes, and a bucket
    that is nearly empty gives its tokens one by one.
    """
    full = now + ask.tolerance
    tat = min(max(tat, now - ask.since + ask.tolerance), full)
    block = min(ask.want, (full - max(tat, now + ask.life)) // ask.interval // 2)
    if block > 1:
        return Grant(block, max(tat, now + ask.life) + block * ask.interval, now)
    if full - max(tat, now) >= ask.interval:
        return Grant(1, max(tat, now) + ask.interval, now)
    return Grant(0, tat, now)


def checked_rate(rate: int | None, burst: int | None) -> tuple[int | None, int | None]:
    """A rate with its burst, which is as large as the rate where only that is told.

    Raises:
        InvalidError: `limit.rate_invalid`, `limit.burst_invalid`.
    """
    if rate is None and burst is None:
        return None, None
    if rate is None or not 0 < rate <= LARGEST:
        raise InvalidError(
            "a rate is a whole number of calls a second, from 1 to 2**53 - 1",
            code="limit.rate_invalid",
            pointer="/rate",
        )
    burst = rate if burst is None else burst
    if not 0 < burst <= LARGEST:
        raise InvalidError(
            "a burst is a whole number of calls, from 1 to 2**53 - 1",
            code="limit.burst_invalid",
            pointer="/burst",
        )
    return rate, burst
