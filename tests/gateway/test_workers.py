"""Real worker processes: revocation reaches each, a key is answered once, a crash costs nothing."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from gateway.actions.keys import revoke_key
from gateway.inputs import FEWEST
from gateway.models import InputCounts, Prediction
from gateway.processes import Command, Processes, free_port, wait_for_port
from gateway.settings.env import BASE_DIR
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import ROW, Shop, make_shop
from tests.factories.processes import database_url
from training.input_bins import answers_in

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(180),
    pytest.mark.slow,
]

LAW = 5.0  # seconds
# What a process does at the worst moment: it is gone, and nothing that it meant to do is done.
CRASH = """
import os, sys
import django
django.setup()
from django.test import Client
import gateway.calls, gateway.committing, gateway.receipts, gateway.serving
for where in sys.argv[3:]:
    child = os.fork()
    if child == 0:
        module, name = where.rsplit(".", 1)
        setattr(sys.modules[module], name, lambda *_, **__: os._exit(9))
        Client().post(
            "/api/v1/models/income/predict", data=sys.argv[1], content_type="application/json",
            headers={"Authorization": "Bearer " + sys.argv[2], "Idempotency-Key": where},
        )
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, where
"""

# Two processes that answer as many calls: one is killed, one ends in order.
COUNT = """
import os, signal, sys
import django
django.setup()
from django.test import Client
import gateway.calls
for end in ("killed", "in order"):
    child = os.fork()
    if child == 0:
        for _ in range(12):
            answer = Client().post(
                "/api/v1/models/income/predict", data=sys.argv[1], content_type="application/json",
                headers={"Authorization": "Bearer " + sys.argv[2]},
            )
            assert answer.status_code == 200, answer.content
        if end == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit()
    os.waitpid(child, 0)
"""


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "gateway.settings.test",
        "PORTCULLIS_TEST_HOME": str(settings.PORTCULLIS_HOME),
        "DATABASE_URL": database_url(),
        "OMP_NUM_THREADS": "1",
    }


@dataclass(frozen=True)
class Server:
    """gunicorn with two workers, on the test's database."""

    port: int

    def ask(self, address: str, secret: str, *, row: object = None, key: str = "") -> Any:
        """Status and body; a connection of its own, so that either worker may take it."""
        body = None if row is None else json.dumps({"row": row}).encode()
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/{address}", data=body, headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - loopback
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@pytest.fixture
def shop() -> Shop:
    return make_shop()


@pytest.fixture
def server(shop: Shop) -> Iterator[Server]:  # the shop stands before its doors open
    with serving() as started:
        yield started


@contextmanager
def serving(**more: str) -> Iterator[Server]:
    """A server that is asked to end at the end."""
    port = free_port()
    start = f"-m gunicorn gateway.wsgi --bind 127.0.0.1:{port} --workers 2 --threads 4"
    quiet = "--log-level warning --no-control-socket"
    command = Command("web", (sys.executable, *start.split(), *quiet.split()), environment() | more)
    with Processes([command], write=lambda _: None):
        wait_for_port("127.0.0.1", port, seconds=60)
        yield Server(port)


def test_a_revoked_key_is_refused_by_every_worker_within_the_law(
    shop: Shop, server: Server
) -> None:
    def asked(_: int) -> int:
        status: int = server.ask("usage", shop.secret)[0]
        return status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(asked, range(64))) == {200}  # each worker remembers the key now
        with tenant_scope(shop.house.id):
            revoke_key(shop.house.platform, shop.license, key=shop.issued.key)
        revoked = time.monotonic()
        # A charged call is judged by the database once more: it is refused at once.
        assert server.ask("models/income/predict", shop.secret, row=ROW)[0] == 401
        opened = revoked
        while time.monotonic() - revoked < LAW:
            began = time.monotonic()
            if 200 in set(pool.map(asked, range(8))):
                opened = began
            time.sleep(0.1)
        assert opened - revoked < LAW
        assert set(pool.map(asked, range(64))) == {401}
    assert shop.reload().used == 0


def test_without_redis_a_revoked_key_is_refused_by_every_worker_as_soon(shop: Shop) -> None:
    """Nothing of keys is in Redis: one that is gone neither opens, nor shuts, nor delays."""
    port = free_port()
    words = f"{_redis()} --port {port} --save --appendonly no --loglevel warning"
    cache = Command("redis", tuple(words.split()), dict(os.environ))
    with ExitStack() as stopped:
        stopped.enter_context(Processes([cache], write=lambda _: None))
        wait_for_port("127.0.0.1", port, seconds=30)
        with (
            serving(REDIS_URL=f"redis://127.0.0.1:{port}/0") as server,
            ThreadPoolExecutor(8) as pool,
        ):

            def asked(_: int) -> int:
                status: int = server.ask("usage", shop.secret)[0]
                return status

            assert set(pool.map(asked, range(32))) == {200}
            stopped.close()
            assert set(pool.map(asked, range(32))) == {200}
            assert server.ask("models/income/predict", shop.secret, row=ROW)[0] == 200
            with tenant_scope(shop.house.id):
                revoke_key(shop.house.platform, shop.license, key=shop.issued.key)
            revoked = time.monotonic()
            assert server.ask("models/income/predict", shop.secret, row=ROW)[0] == 401
            time.sleep(max(0.0, revoked + LAW - time.monotonic()))
            assert set(pool.map(asked, range(64))) == {401}


def _redis() -> str:
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server")
    return found


def test_one_key_sent_by_many_at_once_is_one_charge(shop: Shop, server: Server) -> None:
    def asked(_: int) -> Any:
        return server.ask("models/income/predict", shop.secret, row=ROW, key="order")

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(asked, range(24)))
    assert {status for status, _ in told} <= {200, 409}, told
    answers = [body for status, body in told if status == 200]
    assert answers
    assert all(body == answers[0] for body in answers)
    assert {body["code"] for status, body in told if status == 409} <= {"idempotency.in_flight"}
    assert asked(0) == (200, answers[0])
    assert shop.reload().used == 1


def _crash(shop: Shop, *places: str) -> None:
    """A process of its own dies at each place, over a call whose key is the place."""
    _run(CRASH, shop, *places)


def _run(script: str, shop: Shop, *arguments: str) -> None:
    row = json.dumps({"row": ROW})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, row, shop.secret, *arguments],
        env={**environment(), "PYTHONPATH": str(BASE_DIR)},
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def _again(shop: Shop, key: str) -> Any:
    return Client(raise_request_exception=False).post(
        "/api/v1/models/income/predict",
        data={"row": ROW},
        content_type="application/json",
        headers={"Authorization": f"Bearer {shop.secret}", "Idempotency-Key": key},
    )


def test_a_crash_before_the_commit_costs_nothing_and_holds_nothing(shop: Shop) -> None:
    places = ("gateway.serving.scores", "gateway.committing.serve_predictions")
    _crash(shop, *places)
    assert shop.reload().used == 0
    for charged, place in enumerate(places, start=1):
        assert _again(shop, place).status_code == 200
        assert shop.reload().used == charged


def test_a_crash_after_the_commit_is_replayed_without_charge(shop: Shop) -> None:
    place = "gateway.receipts.receipt_over"
    _crash(shop, place)
    assert shop.reload().used == 1
    replayed = _again(shop, place)
    assert (replayed.status_code, replayed["Idempotent-Replayed"]) == (200, "true")
    assert shop.reload().used == 1


def test_a_killed_process_loses_counts_of_inputs_and_nothing_else(shop: Shop) -> None:
    _run(COUNT, shop)
    with across_tenants(reason="a test looks"):
        [row] = InputCounts.objects.all()
        assert Prediction.objects.count() == 24
    assert shop.reload().used == 24
    assert answers_in(row.counts) == 12  # of the process that ended in order
    assert row.tenant_id == shop.house.id


def test_workers_that_are_asked_to_end_write_their_counts(shop: Shop) -> None:
    with serving() as server, ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(server.ask, "models/income/predict", shop.secret, row=ROW)
            for _ in range(60)
        ]
        assert {one.result()[0] for one in asked} == {200}
    with across_tenants(reason="a test looks"):
        rows = list(InputCounts.objects.all())
    counted = sum(answers_in(row.counts) for row in rows)
    assert len(rows) == len({row.process for row in rows})
    assert 60 - FEWEST < counted <= 60  # a worker that had fewer than ten keeps them to itself


def test_a_timer_writes_beside_the_calls(shop: Shop, settings: Any) -> None:
    settings.INPUT_COUNTS_EVERY = 0.05
    for number in range(FEWEST):
        assert _again(shop, f"call-{number}").status_code == 200
    until = time.monotonic() + 30
    with across_tenants(reason="a test looks"):
        while not InputCounts.objects.exists() and time.monotonic() < until:
            time.sleep(0.05)
        [row] = InputCounts.objects.all()
    assert answers_in(row.counts) == FEWEST
