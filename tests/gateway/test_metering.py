"""Quota under concurrency: never one call too many, and every charge has its entry."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.conf import settings
from django.db import connections

from audit.models import AuditEntry
from gateway import keys
from gateway.actions.predictions import serve_prediction
from gateway.authentication import KeyActor
from gateway.errors import InFlightError
from gateway.models import Prediction, UsageEvent
from gateway.settings.env import BASE_DIR
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import Shop, answered, charge, make_shop
from tests.factories.processes import database_url

QUOTA, WORKERS, TRIES = 20, 4, 8

RACER = """
import sys
import django
django.setup()
from tests.factories.gateway import charge
worker, tries = sys.argv[2], int(sys.argv[3])
print(charge(sys.argv[1], [f"{worker}-{turn}" for turn in range(tries)]))
"""


def rows() -> tuple[int, int]:
    with across_tenants(reason="a test counts"):
        return UsageEvent.objects.count(), Prediction.objects.count()


def outcomes() -> list[str]:
    served = AuditEntry.objects.filter(event="prediction.served").order_by("at")
    return list(served.values_list("outcome", flat=True))


@pytest.mark.django_db
def test_the_last_unit_is_the_last() -> None:
    shop = make_shop(quota=2)
    assert charge(shop.secret, "abcd") == 2
    assert shop.reload().used == 2
    assert outcomes() == ["done", "done", "denied", "denied"]


@pytest.mark.django_db
def test_a_request_id_is_charged_once() -> None:
    shop = make_shop()
    assert charge(shop.secret, ["same"]) == 1
    with pytest.raises(InFlightError):
        charge(shop.secret, ["same"])
    assert shop.reload().used == 1
    assert rows() == (1, 1)


@pytest.mark.django_db
def test_when_the_entry_fails_so_does_the_charge() -> None:
    shop = make_shop()
    facts = keys.authenticate(shop.secret)
    call = answered(facts, shop.license, shop.version, "x")
    with tenant_scope(shop.customer.id), pytest.raises(Exception, match="not a digest"):
        serve_prediction(KeyActor(facts), shop.license, replace(call, commitment="no digest"))
    assert shop.reload().used == 0
    assert rows() == (0, 0)
    assert outcomes() == ["failed"]


@pytest.mark.django_db(transaction=True)
def test_threads_never_over_admit() -> None:
    shop = make_shop(quota=QUOTA)

    def work(worker: int) -> int:
        try:
            return charge(shop.secret, [f"{worker}-{turn}" for turn in range(TRIES)])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(WORKERS) as pool:
        admitted = sum(pool.map(work, range(WORKERS)))
    _check_race(shop, admitted)


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_processes_never_over_admit() -> None:
    shop = make_shop(quota=QUOTA)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "gateway.settings.test",
        "PORTCULLIS_TEST_HOME": str(settings.PORTCULLIS_HOME),
        "DATABASE_URL": database_url(),
    }
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RACER, shop.secret, str(worker), str(2 * TRIES)],
            env=environment,
            cwd=BASE_DIR,
            stdout=subprocess.PIPE,
            text=True,
        )
        for worker in range(WORKERS // 2)
    ]
    admitted = sum(int(racer.communicate(timeout=120)[0].split()[-1]) for racer in racers)
    _check_race(shop, admitted)


def _check_race(shop: Shop, admitted: int) -> None:
    assert admitted == QUOTA < WORKERS * TRIES
    assert shop.reload().used == QUOTA
    assert rows() == (QUOTA, QUOTA)
    assert sorted(outcomes()) == ["denied"] * (WORKERS * TRIES - QUOTA) + ["done"] * QUOTA
