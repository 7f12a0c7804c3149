"""Who may wait is bounded; what is in hand is answered; a refusal charges and writes nothing."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from gateway.coalescing import Coalescer
from gateway.errors import OverloadedError
from gateway.models import Prediction, UsageEvent
from gateway.refusals import REFUSALS
from gateway.shedding import CALLS, Line
from governance.scoping import across_tenants
from tests.factories.gateway import ROW, Shop, make_shop


class Held:
    """A coalescer whose first piece of work waits for `go_on`."""

    def __init__(self, *, room: int = 100, patience: float = 60.0, most: int = 4) -> None:
        self.line = Line(room=lambda: room, patience=lambda: patience)
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.done: list[int] = []
        self.coalescer: Coalescer[int, int] = Coalescer(self._work, line=self.line, most=most)

    def _work(self, items: Sequence[int]) -> list[int]:
        if not self.done:
            self.entered.set()
            assert self.go_on.wait(10)
        self.done.extend(items)
        return [item * 2 for item in items]

    def wait_for(self, waiting: int) -> None:
        until = time.monotonic() + 10
        while self.line.waiting != waiting and time.monotonic() < until:
            time.sleep(0.001)
        assert self.line.waiting == waiting


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def test_no_more_wait_than_there_is_room_for(pool: ThreadPoolExecutor) -> None:
    held = Held(room=2)
    first = pool.submit(held.coalescer.submit, 0)
    assert held.entered.wait(10)
    others = [pool.submit(held.coalescer.submit, number) for number in (1, 2)]
    held.wait_for(2)
    assert held.line.full
    with pytest.raises(OverloadedError) as refused:
        held.coalescer.submit(3)
    assert refused.value.retry_after >= 1
    with pytest.raises(OverloadedError):
        held.coalescer.check()
    held.go_on.set()
    assert [first.result(), *(one.result() for one in others)] == [0, 2, 4]
    assert held.coalescer.submit(5) == 10  # the line is empty again
    assert 3 not in held.done


def test_who_waited_too_long_leaves_and_is_never_worked_on(pool: ThreadPoolExecutor) -> None:
    held = Held(patience=0.05)
    first = pool.submit(held.coalescer.submit, 0)
    assert held.entered.wait(10)
    with pytest.raises(OverloadedError):
        held.coalescer.submit(1)
    held.go_on.set()
    assert first.result() == 0
    assert held.done == [0]
    assert held.line.waiting == 0


def test_what_was_taken_up_is_answered_however_long_it_takes() -> None:
    """Its own thread's patience ends while another thread works on it."""
    entered, taken = threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> list[int]:
        if 0 in items:
            entered.set()
            time.sleep(0.03)  # shorter than the patience of who waits
        else:
            taken.set()
            time.sleep(0.3)  # longer
        return [item * 2 for item in items]

    line = Line(room=lambda: 10, patience=lambda: 0.15)
    coalescer: Coalescer[int, int] = Coalescer(work, line=line)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(coalescer.submit, 0)
        assert entered.wait(10)
        others = [pool.submit(coalescer.submit, number) for number in (1, 2, 3)]
        assert taken.wait(10)
        assert [first.result(), *(one.result() for one in others)] == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("waiting", "began", "pace", "expected"),
    [
        (0, None, 1.0, 0.0),  # nobody works: at once
        (0, 10.0, 1.0, 0.5),  # half a piece is left
        (3, 10.0, 1.0, 0.5),  # and there is room in the next
        (4, 10.0, 1.0, 1.5),  # the next piece is full
        (9, 10.0, 1.0, 2.5),
        (4, 7.0, 1.0, 3.5),  # stalled: as slow as the piece under way
    ],
)
def test_the_wait_is_reckoned_by_pieces_of_work(
    waiting: int, began: float | None, pace: float, expected: float
) -> None:
    line = Line(room=lambda: 100, patience=lambda: 2.0)
    line.waiting, line.began, line.pace = waiting, began, pace
    assert line.expected(4, now=10.5) == pytest.approx(expected)
    if expected > 2.0:
        with pytest.raises(OverloadedError):
            line.check(4, now=10.5)
    else:
        line.check(4, now=10.5)


def test_nobody_is_lost_when_many_leave(pool: ThreadPoolExecutor) -> None:
    """Patience that ends at every moment: each item is done once, or refused and never done."""
    done: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        time.sleep(0.001)
        done.extend(items)
        return list(items)

    line = Line(room=lambda: 5, patience=lambda: 0.0015)
    coalescer: Coalescer[int, int] = Coalescer(work, line=line, most=2)
    answered: list[int] = []

    def many(thread: int) -> None:
        for number in range(thread * 100, thread * 100 + 100):
            try:
                answered.append(coalescer.submit(number))
            except OverloadedError:
                continue

    list(pool.map(many, range(8)))
    assert sorted(done) == sorted(answered)
    assert 0 < len(done) < 800
    assert not coalescer._waiting
    assert not coalescer._led
    assert (line.waiting, line.began) == (0, None)


@pytest.fixture
def shop() -> Shop:
    return make_shop()


def call(shop: Shop, feature: str = "predict", **headers: str) -> Any:
    return Client().post(
        f"/api/v1/models/income/{feature}",
        data={"row": ROW},
        content_type="application/json",
        headers={"Authorization": f"Bearer {shop.secret}"} | headers,
    )


@pytest.fixture
def overloaded(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.SERVE_TIMEOUT = 2.0
    monkeypatch.setattr(CALLS, "began", time.monotonic() - 1)
    monkeypatch.setattr(CALLS, "pace", 30.0)


def refusals() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(event="access.call_refused"))


@pytest.mark.django_db
@pytest.mark.parametrize("feature", ["predict", "explain"])
def test_an_overloaded_call_is_refused_before_anything(
    shop: Shop, overloaded: None, feature: str
) -> None:
    entries = AuditEntry.objects.count()
    answers = [call(shop, feature) for _ in range(5)]
    assert {one.status_code for one in answers} == {503}
    assert answers[0].json()["code"] == "serving.overloaded"
    assert 28 <= int(answers[0].headers["Retry-After"]) <= 30
    assert shop.reload().used == 0
    with across_tenants(reason="a test looks"):
        assert (Prediction.objects.count(), UsageEvent.objects.count()) == (0, 0)
    assert AuditEntry.objects.count() == entries  # counted, and no row each
    REFUSALS.flush(everything=True)
    (entry,) = refusals()
    assert b'"count":5' in bytes(entry.body)
    assert b"serving.overloaded" in bytes(entry.body)


@pytest.mark.django_db
def test_a_replay_needs_no_place_in_the_line(shop: Shop, request: pytest.FixtureRequest) -> None:
    key = {"Idempotency-Key": "order-1"}
    first = call(shop, **key)
    request.getfixturevalue("overloaded")
    again = call(shop, **key)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    other = call(shop, **{"Idempotency-Key": "order-2"})
    assert other.status_code == 503


@pytest.mark.django_db
def test_a_refused_call_may_come_again_under_its_key(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Idempotency-Key": "order-1"}
    with monkeypatch.context() as patched:
        patched.setattr(CALLS, "began", time.monotonic())
        patched.setattr(CALLS, "pace", 100.0)
        assert call(shop, **key).status_code == 503
    assert call(shop, **key).status_code == 200
    assert shop.reload().used == 1


def test_a_piece_that_ends_while_it_is_looked_at_holds_nobody_up() -> None:
    """Who asks without the lock may find that it ended between two looks."""

    class Ending(Line):
        looks = 0

        @property  # an attribute there, which another thread changes
        def began(self) -> float | None:
            self.looks += 1
            return None if self.looks > 1 else 0.0

        @began.setter
        def began(self, value: float | None) -> None: ...

    assert Ending(room=lambda: 8, patience=lambda: 5.0).expected(4, 1.0) == 0.0
    Ending(room=lambda: 8, patience=lambda: 5.0).check(4, 1.0)
