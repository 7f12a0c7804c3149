"""Where rate buckets are kept: in Redis, and in the database where there is none or it is down.

Both answer the same asks by the same rule (`gateway.gcra`), by their own server's clock, all
buckets of a call or none of them.

What a store has lost must not be given again. The database loses nothing. Redis does: a restart, a
`FLUSHALL` and a failover to a replica leave other states behind, or none. So Redis keeps beside the
buckets which server wrote them (its `run_id`) and since when; under another id, or without one,
every bucket counts as empty at that moment and fills at its rate. A bucket that is not there and
was not lost is full. What cannot be told is that Redis evicted single buckets: it must run with
`maxmemory-policy noeviction`.
"""

import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

import redis
from django.db import connection

from gateway.gcra import Ask, Grant, take

PREFIX: Final = "portcullis:{limits}:"  # the braces keep all buckets of a cluster on one node
_PATIENCE: Final = 0.25  # seconds that Redis has for an answer
_TRIES: Final = 50  # of a conditional UPDATE; each that fails let another process go on


class Buckets(Protocol):
    """A store."""

    def take(self, asks: Sequence[Ask]) -> list[Grant]:
        """What each bucket gives, in order; if one gives nothing, none was changed."""


# `gcra.take`, once more. Numbers are doubles, exact below 2**53 (`gcra.SPAN`), and are written
# without an exponent. A key lives until its bucket is full.
_SCRIPT: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local era = redis.call('HMGET', KEYS[1], 'run', 'at')
local began = tonumber(era[2])
if era[1] ~= run or began == nil then
  began = now
  redis.call('HSET', KEYS[1], 'run', run, 'at', string.format('%.0f', now))
end
local grants, tats, given = {}, {}, true
for i = 2, #KEYS do
  local at = (i - 2) * 5
  local interval, tolerance = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local want, life = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local empty = math.max(began, now - tonumber(ARGV[at + 5]))
  local tat = tonumber(redis.call('GET', KEYS[i]) or '0')
  local full = now + tolerance
  tat = math.min(math.max(tat, empty + tolerance), full)
  local ahead = math.max(tat, now + life)
  local block = math.min(want, math.floor(math.floor((full - ahead) / interval) / 2))
  if block > 1 then
    grants[i], tats[i] = block, ahead + block * interval
  elseif full - math.max(tat, now) >= interval then
    grants[i], tats[i] = 1, math.max(tat, now) + interval
  else
    grants[i], tats[i], given = 0, tat, false
  end
end
local told = {now}
for i = 2, #KEYS do
  if given then
    local text = string.format('%.0f', tats[i])
    local ends = string.format('%.0f', math.floor(tats[i] / 1000) + 1000)
    redis.call('SET', KEYS[i], text, 'PXAT', ends)
  end
  told[#told + 1] = grants[i]
  told[#told + 1] = tats[i]
end
return told
"""


class RedisBuckets:
    """One script, one round trip."""

    def __init__(self, url: str) -> None:
        client = redis.Redis.from_url(
            url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE
        )
        self._script: Any = client.register_script(_SCRIPT)

    def take(self, asks: Sequence[Ask]) -> list[Grant]:
        """As `Buckets`.

        Raises:
            RedisError: it does not answer. Whatever it took is lost.
        """
        numbers: list[int] = []
        for ask in asks:
            numbers += [ask.interval, ask.tolerance, ask.want, ask.life, ask.since]
        now, *told = self._script(
            keys=[f"{PREFIX}era", *(PREFIX + ask.name for ask in asks)], args=numbers
        )
        pairs = zip(told[::2], told[1::2], strict=True)
        return [Grant(tokens, tat, now) for tokens, tat in pairs]


_ADD: Final = """
    INSERT INTO gateway_ratebucket (name, tat) VALUES (%s, 0) ON CONFLICT (name) DO NOTHING
"""
_MOVE: Final = "UPDATE gateway_ratebucket SET tat = %s WHERE name = %s AND tat = %s"


class DatabaseBuckets:
    """A row a bucket, moved on by a conditional UPDATE: whoever read an old state tries again.

    On PostgreSQL by the server's clock; SQLite has one machine, whose clock it is. The rows are as
    durable as any: a table that a crash empties would give what was taken before it once more.
    """

    def take(self, asks: Sequence[Ask]) -> list[Grant]:
        """As `Buckets`. Outside any transaction, so that no row stays locked."""
        read = [self._judged(ask) for ask in asks]
        if any(not grant.tokens for _, grant in read):
            return [grant for _, grant in read]
        return [
            grant if self._moved(ask, tat, grant) else self._again(ask)
            for ask, (tat, grant) in zip(asks, read, strict=True)
        ]

    def _again(self, ask: Ask) -> Grant:
        for _ in range(_TRIES):
            tat, grant = self._judged(ask)
            if not grant.tokens or self._moved(ask, tat, grant):
                return grant
        return Grant(0, tat, grant.now)  # unknown means refused

    def _judged(self, ask: Ask) -> tuple[int, Grant]:
        """A bucket's state, and what it would give."""
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(
                    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
                    " (SELECT tat FROM gateway_ratebucket WHERE name = %s)",
                    [ask.name],
                )
                now, tat = cursor.fetchone()
            else:
                cursor.execute("SELECT tat FROM gateway_ratebucket WHERE name = %s", [ask.name])
                now, (tat,) = time.time_ns() // 1000, cursor.fetchone() or (None,)
            if tat is None:
                cursor.execute(_ADD, [ask.name])
        return tat or 0, take(tat or 0, now, ask)

    def _moved(self, ask: Ask, tat: int, grant: Grant) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(_MOVE, [grant.tat, ask.name, tat])
            return bool(cursor.rowcount == 1)
