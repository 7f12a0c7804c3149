"""Rates: how many calls a second, by key, license, customer and model, over all processes.

A process takes tokens in advance, for a tenth of a second, and counts calls by them in its memory;
under little load it asks for every call. `gateway.gcra` says why that never lets one call too many
through, `gateway.buckets` where the buckets are. What was refused is refused again from memory
until its next token is due, for a bucket's state only moves on.

Redis that does not answer is left alone for `PAUSE` seconds, and the database's buckets count. At
a change of stores, to or fro, every bucket counts as empty, since the other store's calls are not
known to this one. While processes change over at different moments both give, so that for at most
`PAUSE` seconds a change, and for as long as some processes reach Redis and others do not, the bound
is twice the rate and one more burst. Without either store nobody is served.
"""

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from redis.exceptions import RedisError

from gateway.buckets import Buckets, DatabaseBuckets, RedisBuckets
from gateway.errors import RateError
from gateway.gcra import LIFE, NEVER, SECOND, Ask, Grant, Rate

PAUSE: Final = 1.0  # seconds before Redis is asked again
MOST: Final = 256  # tokens in a block
CAPACITY: Final = 10_000  # buckets that a process remembers
_TRIES: Final = 8  # of a thread whose tokens others were quicker to use
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bucket:
    """A bucket that a call takes a token from."""

    name: str  # "license:<uuid>"
    rate: Rate


@dataclass(frozen=True)
class Left:
    """What the tightest bucket of a call still holds, as `RateLimit-*` tell it.

    draft-ietf-httpapi-ratelimit-headers-06: whole numbers, and seconds from now.
    """

    limit: int
    remaining: int
    reset: int  # seconds until it is full
    retry: int = 0  # seconds until it gives a token, where it gave none

    @property
    def headers(self) -> dict[str, str]:
        """The fields of an answer."""
        told = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }
        return told | ({"Retry-After": str(self.retry)} if self.retry else {})


class _Block:
    """What this process holds of one bucket."""

    __slots__ = (
        "asking", "bucket", "fetched", "given", "grant", "interval", "life", "since", "tokens",
        "tolerance", "until", "want",
    )  # fmt: skip

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.interval, self.tolerance = bucket.rate.interval, bucket.rate.tolerance
        self.life = min(LIFE, self.tolerance // 4)
        self.asking = threading.Lock()  # held while the store is asked for this bucket
        self.grant = Grant(0, 0, 0)
        self.fetched = 0.0  # when the store was asked
        self.until = 0.0  # when the tokens are void; or, without any, before when none are asked
        self.tokens = self.given = 0
        self.want = 1

    def refused(self, now: float) -> bool:
        """Whether the store said that there is none before a moment that is still to come."""
        return self.given == 0 and now < self.until

    def usable(self, now: float) -> bool:
        """Whether there is a token."""
        return self.tokens > 0 and now < self.until

    def ask(self, now: float, since: int) -> Ask:
        """What to ask for: as many as calls used of the last block, or twice that."""
        if self.given and not self.tokens and now - self.fetched < 4 * self.life / SECOND:
            self.want = min(2 * self.want, MOST)
        else:
            self.want = max(1, self.given - self.tokens)
        return Ask(self.bucket.name, self.interval, self.tolerance, self.want, self.life, since)

    def put(self, grant: Grant, asked: float, now: float) -> None:
        """Keep what the store gave. Its life counts from before it was asked."""
        self.grant, self.fetched = grant, asked
        self.tokens = self.given = grant.tokens
        if grant.tokens > 1:
            self.until = asked + self.life / SECOND
        elif grant.tokens:
            self.until = now + PAUSE  # for the thread that asked, at once
        else:
            wait = grant.tat + self.interval - self.tolerance - grant.now
            self.until = asked + min(wait / SECOND, PAUSE)

    def left(self, now: float) -> Left:
        """What the bucket holds, as far as this process knows."""
        grant = self.grant
        at = grant.now + int((now - self.fetched) * SECOND)
        ahead = max(grant.tat - at, 0)
        free = max(self.tolerance - ahead, 0) // self.interval
        wait = grant.tat + self.interval - self.tolerance - at
        return Left(
            limit=self.tolerance // self.interval,
            remaining=self.tokens + free if self.given else 0,
            reset=-(-ahead // SECOND),
            retry=0 if self.given else max(1, -(-wait // SECOND)),
        )


class Limiter:
    """The rates as one process keeps them; its threads share it.

    Args:
        redis: asked first, if there is one.
        database: asked otherwise.
        clock: seconds, that only go forward.
    """

    def __init__(
        self,
        redis: Buckets | None,
        database: Buckets,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis, self._database, self._clock = redis, database, clock
        self._blocks: OrderedDict[Bucket, _Block] = OrderedDict()
        self._lock = threading.Lock()  # over the blocks; held for microseconds
        self._on_redis = redis is not None
        self._changed: float | None = None  # when the stores were last changed
        self._redis_again = 0.0  # when Redis may be asked again

    def take(self, buckets: Sequence[Bucket]) -> Left | None:
        """Take one token of each bucket, or none of any; None where there are no buckets.

        Raises:
            RateError: `limit.rate_exceeded`, with when to come again.
            DatabaseError: no store answers.
        """
        if not buckets:
            return None
        for _ in range(_TRIES):
            left, short = self._taken(buckets)
            if left is not None:
                return left
            self._fetch(short)
        raise RateError(Left(1, 0, 1, 1).headers)

    def _taken(self, buckets: Sequence[Bucket]) -> tuple[Left | None, list[_Block]]:
        """The tightest bucket after one token of each was used, or those that lack one."""
        now = self._clock()
        with self._lock:
            blocks = [self._block(bucket) for bucket in buckets]
            empty = [block for block in blocks if block.refused(now)]
            if empty:
                for block in blocks:
                    if block.given == 1:
                        block.tokens = 0  # it was to be used at once
                raise RateError(
                    max((b.left(now) for b in empty), key=lambda left: left.retry).headers
                )
            short = [block for block in blocks if not block.usable(now)]
            if short:
                return None, short
            for block in blocks:
                block.tokens -= 1
            if len(blocks) == 1:
                return blocks[0].left(now), []
            return min((b.left(now) for b in blocks), key=lambda left: left.remaining), []

    def _block(self, bucket: Bucket) -> _Block:
        block = self._blocks.get(bucket)
        if block is None:
            block = self._blocks[bucket] = _Block(bucket)
            while len(self._blocks) > CAPACITY:
                self._blocks.popitem(last=False)  # its tokens are lost
        return block

    def _fetch(self, short: Sequence[_Block]) -> None:
        """Ask the store for what is short, unless another thread just did."""
        with ExitStack() as held:
            for block in sorted(short, key=lambda one: one.bucket.name):
                held.enter_context(block.asking)
            asked = self._clock()
            with self._lock:
                short = [
                    block for block in short if not (block.usable(asked) or block.refused(asked))
                ]
            if not short:
                return
            grants = self._asked(short)
            with self._lock:
                for block, grant in zip(short, grants, strict=True):
                    # All or none: of one that would have given, nothing is known but its state.
                    block.put(grant, asked, self._clock())
                if any(not grant.tokens for grant in grants):
                    for block in short:
                        block.tokens = 0

    def _asked(self, short: Sequence[_Block]) -> list[Grant]:
        if self._redis is not None and self._clock() >= self._redis_again:
            try:
                return self._redis.take(self._asks(short, on_redis=True))
            except RedisError as error:
                self._redis_again = self._clock() + PAUSE
                _log.warning("rates are kept in the database: %s", type(error).__name__)
        return self._database.take(self._asks(short, on_redis=False))

    def _asks(self, short: Sequence[_Block], *, on_redis: bool) -> list[Ask]:
        now = self._clock()
        if on_redis is not self._on_redis:
            self._on_redis, self._changed = on_redis, now
        changed = self._changed
        since = NEVER if changed is None else min(int((now - changed) * SECOND), NEVER)
        return [block.ask(now, since) for block in short]

    def forget(self) -> None:
        """Begin anew, as another process: after a fork, blocks and locks are the parent's."""
        self._blocks = OrderedDict()
        self._lock = threading.Lock()


def _of_this_process() -> Limiter:
    url = settings.LIMITS_REDIS_URL
    return Limiter(None if url is None else RedisBuckets(url), DatabaseBuckets())


LIMITER: Final = _of_this_process()
os.register_at_fork(after_in_child=LIMITER.forget)
