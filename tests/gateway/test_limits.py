"""Rates over threads, processes and stores: the bound holds, and a flood asks nobody."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connections

from gateway.buckets import Buckets, DatabaseBuckets, RedisBuckets
from gateway.errors import RateError
from gateway.gcra import SECOND, Ask, Grant, Rate, take
from gateway.limits import PAUSE, Bucket, Limiter
from gateway.models import RateBucket
from gateway.settings.env import BASE_DIR
from tests.factories.processes import database_url
from tests.factories.redis import Server

no_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server here")


class Clock:
    """Seconds that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Memory:
    """A store in this process's memory, by the test's clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.tats, self.asked = clock, dict[str, int](), 0

    def take(self, asks: Sequence[Ask]) -> list[Grant]:
        self.asked += 1
        now = int(self.clock() * SECOND)
        grants = [take(self.tats.get(ask.name, 0), now, ask) for ask in asks]
        if all(grant.tokens for grant in grants):
            self.tats |= {ask.name: one.tat for ask, one in zip(asks, grants, strict=True)}
        return grants


def bucket(per_second: int, burst: int) -> Bucket:
    return Bucket(f"license:{uuid4()}", Rate(per_second, burst))


def passed(limiter: Limiter, buckets: Sequence[Bucket], tries: int) -> int:
    """How many of so many calls are let through."""
    let = 0
    for _ in range(tries):
        try:
            limiter.take(buckets)
        except RateError:
            continue
        let += 1
    return let


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def settled(server: Server) -> None:
    """Let the server be old: what it does not know then was never there."""
    server.client.hset("portcullis:{limits}:era", mapping={
        "run": server.client.info("server")["run_id"], "at": -(2**53),
    })  # fmt: skip


def test_no_rate_asks_nobody() -> None:
    clock = Clock()
    store = Memory(clock)
    assert Limiter(None, store, clock=clock).take([]) is None
    assert store.asked == 0


def test_the_burst_and_then_the_rate() -> None:
    clock = Clock()
    store = Memory(clock)
    limiter, one = Limiter(None, store, clock=clock), bucket(10, 20)
    assert passed(limiter, [one], 50) == 20
    clock.now += 1
    assert passed(limiter, [one], 50) == 10
    clock.now += 100
    assert passed(limiter, [one], 50) == 20


def test_a_refused_flood_is_refused_from_memory() -> None:
    clock = Clock()
    store = Memory(clock)
    limiter, one = Limiter(None, store, clock=clock), bucket(10, 5)
    assert passed(limiter, [one], 10_000) == 5
    assert store.asked <= 6


def test_busy_processes_ask_seldom_and_idle_ones_keep_nothing() -> None:
    clock = Clock()
    store = Memory(clock)
    limiter, one = Limiter(None, store, clock=clock), bucket(100_000, 100_000)
    for _ in range(20_000):  # at 10,000 a second
        limiter.take([one])
        clock.now += 0.0001
    assert store.asked < 200
    clock.now += 1
    for _ in range(20):
        limiter.take([one])
        clock.now += 1
    held = store.tats[one.name] - int(clock() * SECOND)
    assert held <= 0  # after a quiet second the bucket is full: single tokens were taken


def test_two_processes_share_a_bucket() -> None:
    clock = Clock()
    store = Memory(clock)
    processes = [Limiter(None, store, clock=clock) for _ in range(2)]
    one = bucket(1000, 1000)
    let = sum(passed(processes[turn % 2], [one], 1) for turn in range(4000))
    assert 900 <= let <= 1000  # what the other holds is lost for a tenth of a second, at most


def test_a_token_of_each_bucket_or_of_none() -> None:
    clock = Clock()
    store = Memory(clock)
    limiter = Limiter(None, store, clock=clock)
    wide, narrow = bucket(100, 100), bucket(1, 2)
    assert passed(limiter, [wide, narrow], 10) == 2
    # Blocks count as used at the end of their tenth of a second: ten calls, at this rate.
    assert 85 <= passed(limiter, [wide], 200) <= 98
    with pytest.raises(RateError) as raised:
        limiter.take([narrow])
    assert raised.value.headers == {
        "RateLimit-Limit": "2",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "2",
        "Retry-After": "1",
    }


def test_what_is_left_is_told() -> None:
    clock = Clock()
    limiter, one = Limiter(None, Memory(clock), clock=clock), bucket(1, 10)
    told = [limiter.take([one]) for _ in range(10)]
    assert [left.remaining for left in told if left is not None] == list(range(9, -1, -1))
    assert {left.limit for left in told if left is not None} == {10}
    clock.now += 4.5
    left = limiter.take([one])
    assert left is not None
    assert (left.remaining, left.reset) == (3, 7)


def stores(server: Server) -> dict[str, Buckets]:
    settled(server)
    return {"redis": RedisBuckets(server.url), "database": DatabaseBuckets()}


@no_redis
@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["redis", "database"])
@pytest.mark.parametrize(
    ("rate", "burst", "want", "since"),
    [(10, 20, 1, 2**52), (10, 20, 64, 2**52), (1, 1, 64, 2**52), (10, 20, 8, 500_000),
     (2**53 - 1, 2**53 - 1, 2**53 - 1, 2**52), (1, 2**53 - 1, 2**40, 2**52), (7, 3, 2, 0)],
)  # fmt: skip
def test_each_store_judges_as_the_reference(
    redis_server: Server, kind: str, rate: int, burst: int, want: int, since: int
) -> None:
    store, one, tat = stores(redis_server)[kind], bucket(rate, burst), 0
    for _ in range(30):
        asked = Ask(one.name, one.rate.interval, one.rate.tolerance, want, 50_000, since)
        [grant] = store.take([asked])
        assert grant == take(tat, grant.now, asked)
        assert abs(grant.now - time.time_ns() // 1000) < 60 * SECOND
        tat = grant.tat if grant.tokens else tat


@no_redis
@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["redis", "database"])
def test_a_store_takes_of_all_or_of_none(redis_server: Server, kind: str) -> None:
    store, wide, narrow = stores(redis_server)[kind], bucket(1, 9), bucket(1, 1)
    asks = [Ask(one.name, one.rate.interval, one.rate.tolerance, 1, 0) for one in (wide, narrow)]
    assert [grant.tokens for grant in store.take(asks)] == [1, 1]
    assert store.take(asks)[1].tokens == 0
    given = 0
    while store.take(asks[:1])[0].tokens:
        given += 1
    assert given == 8


@pytest.mark.django_db(transaction=True)
def test_threads_never_pass_the_bound_in_the_database() -> None:
    one, began = bucket(20, 40), time.monotonic()
    limiters = [Limiter(None, DatabaseBuckets()) for _ in range(2)]

    def work(worker: int) -> int:
        try:
            return passed(limiters[worker % 2], [one], 400)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        let = sum(pool.map(work, range(4)))
    assert 20 <= let <= 40 + 20 * (time.monotonic() - began)
    assert RateBucket.objects.count() == 1


RACER = """
import sys, time
import django
django.setup()
from gateway.buckets import DatabaseBuckets, RedisBuckets
from gateway.errors import RateError
from gateway.gcra import Rate
from gateway.limits import Bucket, Limiter
name, url, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
limiter = Limiter(RedisBuckets(url) if url else None, DatabaseBuckets())
let, began = 0, time.time()
while time.time() - began < seconds:
    try:
        limiter.take([Bucket(name, Rate(200, 100))])
        let += 1
    except RateError:
        time.sleep(0.0005)
print(let, began, time.time())
"""


def raced(name: str, url: str, seconds: float) -> tuple[int, float]:
    """Calls that three processes let through, and the seconds between first and last."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "gateway.settings.test",
        "PORTCULLIS_TEST_HOME": str(settings.PORTCULLIS_HOME),
        "DATABASE_URL": database_url(),
    }
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RACER, name, url, str(seconds)],
            env=environment,
            cwd=BASE_DIR,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    told = [racer.communicate(timeout=120)[0].split()[-3:] for racer in racers]
    first, last = min(float(one[1]) for one in told), max(float(one[2]) for one in told)
    return sum(int(one[0]) for one in told), last - first


@pytest.mark.slow
@no_redis
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["redis", "database"])
def test_processes_never_pass_the_bound(redis_server: Server, kind: str) -> None:
    settled(redis_server)
    let, seconds = raced(str(uuid4()), redis_server.url if kind == "redis" else "", 1.5)
    assert let <= 100 + 200 * seconds
    assert let >= 150  # and they are not all refused


@no_redis
def test_a_redis_that_was_just_started_has_empty_buckets(redis_server: Server) -> None:
    store, one = RedisBuckets(redis_server.url), bucket(10, 20)
    asked = Ask(one.name, one.rate.interval, one.rate.tolerance, 1, 0)
    assert store.take([asked])[0].tokens == 0  # a server that nobody knew: it starts empty
    settled(redis_server)
    while store.take([asked])[0].tokens:
        pass
    for lost in ("emptied", "restarted"):
        if lost == "restarted":
            redis_server.kill()
            redis_server.start()
        redis_server.client.flushall()
        assert store.take([asked])[0].tokens == 0
        time.sleep(0.35)
        let = 0
        while store.take([asked])[0].tokens:
            let += 1
        assert 3 <= let <= 6  # 0.35 s at ten a second, and not the burst


@no_redis
@pytest.mark.django_db
def test_without_redis_the_database_counts_and_back(redis_server: Server) -> None:
    settled(redis_server)
    clock = Clock()
    limiter = Limiter(RedisBuckets(redis_server.url), DatabaseBuckets(), clock=clock)
    one = bucket(5, 50)
    assert passed(limiter, [one], 60) >= 50
    redis_server.kill()
    clock.now += 1
    # The database knows nothing of the fifty: its bucket is empty, and fills at the rate.
    assert passed(limiter, [one], 60) == 0
    assert RateBucket.objects.filter(name=one.name).exists()
    time.sleep(0.5)
    clock.now += 0.5
    assert 1 <= passed(limiter, [one], 60) <= 5
    redis_server.start()
    settled(redis_server)
    clock.now += PAUSE
    assert passed(limiter, [one], 60) == 0  # nor does Redis know of the database's


@no_redis
def test_without_any_store_nobody_is_served(redis_server: Server) -> None:
    class Gone:
        def take(self, asks: Sequence[Ask]) -> list[Grant]:
            raise OSError(len(asks))

    redis_server.kill()
    limiter = Limiter(RedisBuckets(redis_server.url), Gone())
    with pytest.raises(OSError, match="1"):
        limiter.take([bucket(5, 5)])


def test_a_forked_child_takes_nothing_of_its_parents() -> None:
    clock = Clock()
    limiter, one = Limiter(None, Memory(clock), clock=clock), bucket(10_000, 10_000)
    for _ in range(50):
        limiter.take([one])
    assert any(block.tokens for block in limiter._blocks.values())
    with limiter._lock:  # as a fork in the middle of a call would leave it
        limiter.forget()
    assert not limiter._blocks
    assert limiter.take([one]) is not None
