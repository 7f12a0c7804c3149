"""A flood of bad keys is one entry a reason and a minute."""

import json
from typing import Any

import pytest

from audit.models import AuditEntry
from gateway.refusals import Refusals
from governance.rbac import SystemActor

pytestmark = pytest.mark.django_db

OTHER = SystemActor("other", frozenset())


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def bodies() -> list[dict[str, Any]]:
    return [json.loads(bytes(entry.body)) for entry in AuditEntry.objects.order_by("at")]


def test_a_flood_costs_one_row_a_minute_and_loses_no_count() -> None:
    clock = Clock()
    refusals = Refusals(clock=clock)
    for second in range(180):
        clock.now = float(second)
        for _ in range(10):
            refusals.note("key.malformed")
    refusals.flush(everything=True)
    counts = [body["facts"]["count"] for body in bodies()]
    assert sum(counts) == 1800
    assert len(counts) == 4  # the first at once, one at the end of each minute, the rest at exit
    assert {body["outcome"] for body in bodies()} == {"denied"}
    assert {body["event"] for body in bodies()} == {"access.call_refused"}


def test_reasons_and_known_keys_are_counted_apart() -> None:
    refusals = Refusals(clock=Clock())
    for _ in range(3):
        refusals.note("key.malformed")
        refusals.note("key.revoked", OTHER)
        refusals.note("key.unknown")
    refusals.flush(everything=True)
    told = sorted((body["reason"], body["actor"], body["facts"]["count"]) for body in bodies())
    assert told == [
        ("key.malformed", "system:door", 1),
        ("key.malformed", "system:door", 2),
        ("key.revoked", "system:other", 1),
        ("key.revoked", "system:other", 2),
        ("key.unknown", "system:door", 1),
        ("key.unknown", "system:door", 2),
    ]


def test_what_went_quiet_is_forgotten() -> None:
    clock = Clock()
    refusals = Refusals(clock=clock)
    refusals.note("key.unknown")
    clock.now = 61.0
    refusals.flush()
    assert refusals._counted == {}
    assert len(bodies()) == 1


def test_another_requests_refusal_brings_out_what_is_due() -> None:
    clock = Clock()
    refusals = Refusals(clock=clock)
    refusals.note("key.unknown")
    refusals.note("key.unknown")
    clock.now = 61.0
    refusals.note("key.malformed")
    assert [body["reason"] for body in bodies()] == ["key.unknown", "key.malformed", "key.unknown"]
