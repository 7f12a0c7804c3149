"""Served inputs: counted in memory, flushed into one row, and what the watch makes of them."""

import itertools
import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client

from audit.models import AuditEntry
from gateway.feedback import hour_of
from gateway.inputs import COUNTER, FEWEST, InputCounter
from gateway.models import InputCounts, KeyMode
from gateway.serving import loaded
from gateway.watching import Served
from governance.models import User
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import ROW, Shop, make_key, make_shop
from tests.factories.watching import midnight
from tests.gateway.test_watching import history
from training import watcher, watching
from training.input_bins import InputBins, answers_in
from training.models import WatchWindow

pytestmark = pytest.mark.django_db

SECRET = "Zhang Wei 13800138000"


@pytest.fixture
def shop() -> Shop:
    return make_shop(quota=1_000)


def call(
    shop: Shop, *, secret: str | None = None, times: int = 1, key: str = "", **row: Any
) -> None:
    headers = {"Authorization": f"Bearer {secret or shop.secret}"}
    if key:
        headers["Idempotency-Key"] = key
    for _ in range(times):
        response = Client().post(
            "/api/v1/models/income/predict",
            data=json.dumps({"row": {**ROW, **row}}),
            content_type="application/json",
            headers=headers,
        )
        assert response.status_code == 200, response.content


def rows() -> list[InputCounts]:
    with across_tenants(reason="a test looks"):
        return list(InputCounts.objects.order_by("hour", "id"))


def bins(shop: Shop) -> InputBins:
    with tenant_scope(shop.house.id):
        return loaded(shop.version).input_bins


def test_live_calls_are_counted_in_public_bins_and_belong_to_the_owner(shop: Shop) -> None:
    call(shop, times=FEWEST)
    call(shop, times=2, age=200, education=None, note=SECRET)
    assert rows() == []  # a call writes nothing
    COUNTER.flush()
    [row] = rows()
    assert row.tenant_id == shop.house.tenant.pk
    assert row.hour == hour_of(row.hour)
    assert row.counts == {
        "age": {"3": FEWEST, "8": 2},
        "hours": {"3": FEWEST + 2},
        "education": {"2": FEWEST, "3": 2},
    }  # and no note
    with tenant_scope(shop.customer.id):
        assert not InputCounts.objects.exists()
    with tenant_scope(shop.house.id):
        assert InputCounts.objects.exists()


def test_what_is_not_a_live_answer_is_not_counted(shop: Shop) -> None:
    test_key = make_key(shop.house, shop.license, mode=KeyMode.TEST)
    call(shop, secret=test_key.secret, times=FEWEST)
    call(shop, key="again", times=FEWEST)  # one answer, and nine replays
    for _ in range(FEWEST):
        Client().post(
            "/api/v1/models/income/predict",
            data=json.dumps({"row": {**ROW, "age": "old"}}),
            content_type="application/json",
            headers={"Authorization": f"Bearer {shop.secret}"},
        )
    COUNTER.flush()
    assert rows() == []  # one live answer waits for nine others
    call(shop, times=FEWEST - 1)
    COUNTER.flush()
    assert answers_in(rows()[0].counts) == FEWEST


def test_no_write_is_of_fewer_than_ten_calls(shop: Shop) -> None:
    """Neither a row nor the difference of two states of it says where one call lay."""
    seen = []
    for _ in range(3 * FEWEST + 4):
        call(shop)
        COUNTER.flush()
        seen.append(sum(answers_in(row.counts) for row in rows()))
    steps = {later - before for before, later in itertools.pairwise(seen)}
    assert steps == {0, FEWEST}
    assert seen[-1] == 3 * FEWEST


def test_the_process_has_one_row_an_hour_and_a_second_write_counts_nothing_twice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted, known = 0, bins(shop)

    def note(times: int) -> None:
        for _ in range(times):
            COUNTER.note(shop.version, known, {**ROW, "age": "20", "hours": "20"})

    def at(hour: int) -> None:
        monkeypatch.setattr(
            "gateway.inputs.timezone.now", lambda: datetime(2026, 3, 1, hour, 30, tzinfo=UTC)
        )

    for hour, times in ((8, 10), (8, 15), (9, 12)):
        at(hour)
        note(times)
        noted += times
        COUNTER.flush()
        COUNTER.flush()
    assert [(row.hour.hour, answers_in(row.counts)) for row in rows()] == [(8, 25), (9, 12)]
    with monkeypatch.context() as patch:
        note(11)
        patch.setattr("gateway.inputs.across_tenants", _broken)
        with pytest.raises(DatabaseError):
            COUNTER.flush()
    at(10)
    COUNTER.flush()  # what could not be written is, and in the hour that it was meant for
    assert [answers_in(row.counts) for row in rows()] == [25, 23]
    assert len({row.process for row in rows()}) == 1
    assert COUNTER._rows == {}


def _broken(**_: Any) -> Any:
    raise DatabaseError


def test_processes_have_rows_of_their_own(shop: Shop) -> None:
    known = bins(shop)
    for counter in (InputCounter(), InputCounter()):
        for _ in range(FEWEST):
            counter.note(shop.version, known, {**ROW, "age": "20", "hours": "20"})
        counter.flush()
    assert [answers_in(row.counts) for row in rows()] == [FEWEST, FEWEST]
    with tenant_scope(shop.house.id):
        since = rows()[0].hour
        told = Served().inputs(shop.version, since=since, until=since + timedelta(hours=1))
        none = Served().inputs(shop.version, since=since - timedelta(hours=1), until=since)
    assert (answers_in(told), none) == (2 * FEWEST, {})


def test_threads_lose_no_count_while_another_flushes(shop: Shop) -> None:
    known, row = bins(shop), {**ROW, "age": "20", "hours": "20"}
    noted, enough = [0, 0], threading.Event()

    def count(place: int) -> None:
        while not enough.is_set():
            COUNTER.note(shop.version, known, row)
            noted[place] += 1

    threads = [threading.Thread(target=count, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        time.sleep(0.005)
        COUNTER._take()
    enough.set()
    for thread in threads:
        thread.join()
    COUNTER.flush()
    waiting = sum(one.calls for one in COUNTER._waiting.values())
    assert min(noted) > FEWEST
    assert answers_in(rows()[0].counts) + waiting == sum(noted)


def test_a_forked_child_begins_with_nothing_and_is_another_process(shop: Shop) -> None:
    known, parent = bins(shop), COUNTER._process
    for _ in range(FEWEST):
        COUNTER.note(shop.version, known, {**ROW, "age": "20", "hours": "20"})
    reading, writing = os.pipe()
    with COUNTER._lock:  # as a thread of the parent may hold it
        child = os.fork()
        if child == 0:
            free = COUNTER._lock.acquire(blocking=False)
            new = free and not COUNTER._waiting and COUNTER._process != parent
            os.write(writing, b"new" if new else b"old")
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 3) == b"new"
    assert len(COUNTER._waiting) == 1


def test_a_fault_in_counting_spoils_no_answer_and_quotes_no_value(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Any, row: Any) -> Any:
        raise ValueError(SECRET)

    monkeypatch.setattr(InputBins, "places", broken)
    call(shop)
    assert "were not counted: ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_the_timer_flushes_by_itself_and_tries_again(
    shop: Shop, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.INPUT_COUNTS_EVERY = 0.02
    known, counter, tried = bins(shop), InputCounter(), []

    def flush() -> None:
        tried.append(threading.current_thread().name)
        if len(tried) == 1:
            raise DatabaseError

    monkeypatch.setattr(counter, "flush", flush)
    monkeypatch.setattr("gateway.inputs.connections.close_all", lambda: None)
    for _ in range(5):
        counter.note(shop.version, known, {**ROW, "age": "20", "hours": "20"})
    until = time.monotonic() + 10
    while len(tried) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(tried) == 2  # one that failed, one that did not, and none without calls
    assert threading.current_thread().name not in tried


# From calls to a finding


def aside(shop: Shop, days_ago: int) -> None:
    """Let what was counted have been answered one morning, by another process."""
    morning = midnight(days_ago) + timedelta(hours=8)
    COUNTER.flush()
    COUNTER.forget()
    with across_tenants(reason="a test tells when"):
        InputCounts.objects.filter(hour__gte=midnight(0)).update(hour=morning)
    history(shop, days_ago, [0.4] * 22)  # predictions are only added, so these were made then


def test_from_calls_to_a_finding_and_a_proposal(shop: Shop, settings: Any) -> None:
    settings.WATCH_SMALLEST = 20
    settings.WATCH_WINDOW_HOURS = 24
    with tenant_scope(shop.house.id):
        shop.version.released_at = midnight(5)
        shop.version.save()
    for ago, ages in ((4, (30, 40)), (3, (30, 40)), (2, (75, 85))):
        for age in ages:
            call(shop, times=11, age=age)
        aside(shop, ago)
        watcher.look_at_all()
    with tenant_scope(shop.house.id):
        first, second, third = WatchWindow.objects.order_by("number")
        [proposal] = watching.remedies(shop.version)
    assert answers_in(first.inputs or {}) == 22
    assert first.input_drift is None  # the reference
    assert [one["psi"] for one in second.input_drift or ()] == [0.0, 0.0, 0.0]
    assert watching.findings(second) == [watching.Finding.STEADY]
    assert watching.Finding.INPUTS in watching.findings(third)
    assert [one.feature for one in watching.moved_inputs(third)] == ["age"]
    _the_doors_name_it(shop, str(proposal.pk))
    facts = json.loads(
        bytes(AuditEntry.objects.filter(event="model.window_closed").latest("at").body)
    )["facts"]
    assert (facts["inputs"], facts["inputs_shifted"]) == (22, 1)
    assert "age" not in json.dumps(facts)


def _the_doors_name_it(shop: Shop, proposal: str) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(pk=shop.house.owner.user_id))
    [version] = client.get("/api/v1/models/income/watching").json()["versions"]
    window = version["windows"][2]
    assert window["inputs_counted"] == 22
    assert [(one["feature"], one["shifted"]) for one in window["inputs"]] == [
        ("age", True), ("education", False), ("hours", False),
    ]  # fmt: skip
    assert "inputs" in window["findings"]
    address = f"/admin/training/modelversion/{shop.version.pk}/"
    page = client.get(address).content.decode()
    for said in ("<b>age</b>", "inputs distributed otherwise", "first window that measured them"):
        assert said in page, said
    chinese = client.get(address, headers={"Accept-Language": "zh-hans"}).content.decode()
    assert "输入分布发生变化" in chinese
    for who in (shop.admin.user_id, None):  # the customer's admin, and the customer's key
        other = Client(raise_request_exception=False)
        headers = {} if who else {"Authorization": f"Bearer {shop.secret}"}
        if who:
            other.force_login(User.objects.get(pk=who))
        assert other.get("/api/v1/models/income/watching", headers=headers).status_code == 404
    with tenant_scope(shop.customer.id):
        assert not WatchWindow.objects.exists()
