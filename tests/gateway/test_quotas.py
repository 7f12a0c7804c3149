"""Limits beside the license's: never one unit too many, by month, and in one order of locks."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client

from audit.models import AuditEntry
from gateway import keys, quotas
from gateway.actions.limits import Limited, Wanted, lift_limit, set_limit
from gateway.models import KeyMode, Limit, LimitPeriod, LimitScope, UsageEvent
from gateway.quotas import LimitTerms, month_ends, month_of
from gateway.settings.env import BASE_DIR
from gateway.standing import STANDINGS
from governance.errors import InvalidError
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import ROW, Shop, charge, make_key, make_license, make_shop
from tests.factories.processes import database_url

pytestmark = pytest.mark.django_db
SCOPES = tuple(LimitScope)
LARGEST = 2**53 - 1


def limit(shop: Shop, scope: LimitScope, **wanted: Any) -> Limit:
    of: dict[LimitScope, Limited] = {
        LimitScope.KEY: shop.issued.key,
        LimitScope.LICENSE: shop.license,
        LimitScope.CUSTOMER: shop.customer,
        LimitScope.MODEL: shop.version.model,
    }
    STANDINGS.clear()
    with tenant_scope(shop.house.id):
        return set_limit(
            shop.house.platform, shop.house.tenant, of=of[scope], wanted=Wanted(**wanted)
        )


def used(made: Limit) -> tuple[int, int]:
    with across_tenants(reason="a test looks"):
        row = Limit.objects.get(pk=made.pk)
    return row.used, row.began


def ask(secret: str, way: str = "predict", **headers: str) -> Any:
    return Client().post(
        f"/api/v1/models/income/{way}",
        data=json.dumps({"row": ROW}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}", **headers},
    )


def entries(**wanted: str) -> list[dict[str, Any]]:
    rows = AuditEntry.objects.filter(**wanted).order_by("at")
    return [json.loads(bytes(row.body)) for row in rows]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("period", list(LimitPeriod))
def test_each_quota_is_taken_and_then_refuses(scope: LimitScope, period: LimitPeriod) -> None:
    shop = make_shop()
    made = limit(shop, scope, quota=2, period=period)
    answers = [ask(shop.secret) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    last = answers[-1]
    assert last.json()["code"] == f"quota.{scope.value}_exhausted"
    wait = int(last.headers["Retry-After"])
    ends = (month_ends(datetime.now(UTC)) - datetime.now(UTC)).total_seconds()
    assert abs(wait - (ends if period is LimitPeriod.MONTH else 86_400)) < 60
    assert used(made)[0] == 2
    assert shop.reload().used == 2
    denied = entries(event="prediction.served", outcome="denied")
    assert [one["reason"] for one in denied] == [f"quota.{scope.value}_exhausted"] * 2
    with tenant_scope(shop.house.id):
        lift_limit(shop.house.platform, made)
    STANDINGS.clear()
    assert ask(shop.secret).status_code == 200


def test_a_raised_quota_counts_at_once() -> None:
    shop = make_shop()
    made = limit(shop, LimitScope.MODEL, quota=1)
    assert [ask(shop.secret).status_code for _ in range(2)] == [200, 429]
    with tenant_scope(shop.house.id):
        model = shop.version.model
        set_limit(shop.house.platform, shop.house.tenant, of=model, wanted=Wanted(quota=2))
    assert [ask(shop.secret).status_code for _ in range(2)] == [200, 429]
    assert used(made)[0] == 2


def test_a_keys_limit_binds_no_other_key() -> None:
    shop = make_shop()
    other = make_key(shop.house, shop.license)
    made = limit(shop, LimitScope.KEY, quota=1)
    assert [ask(shop.secret).status_code for _ in range(2)] == [200, 429]
    assert [ask(other.secret).status_code for _ in range(2)] == [200, 200]
    assert used(made)[0] == 1


def test_a_customers_limit_binds_all_its_licenses() -> None:
    shop = make_shop()
    limit(shop, LimitScope.CUSTOMER, quota=3)
    second = make_license(shop.house, shop.customer, shop.version.model)
    other = make_key(shop.house, second)
    assert charge(shop.secret, "ab") + charge(other.secret, "cd") == 3


def test_a_test_key_takes_from_no_quota() -> None:
    shop = make_shop()
    made = limit(shop, LimitScope.LICENSE, quota=1)
    free = make_key(shop.house, shop.license, mode=KeyMode.TEST)
    assert [ask(free.secret).status_code for _ in range(3)] == [200] * 3
    assert used(made)[0] == 0


def test_what_is_answered_again_takes_nothing() -> None:
    shop = make_shop(rate=1, burst=1)
    made = limit(shop, LimitScope.LICENSE, quota=1)
    answers = [ask(shop.secret, **{"Idempotency-Key": "one"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert used(made)[0] == 1


def test_a_flood_over_the_rate_costs_one_entry() -> None:
    shop = make_shop(rate=1, burst=2)
    answers = [ask(shop.secret) for _ in range(20)]
    codes = [answer.status_code for answer in answers]
    assert codes.count(200) <= 4
    assert codes.count(429) >= 16
    [entry] = entries(event="access.call_refused")
    assert entry["reason"] == "limit.rate_exceeded"
    assert entry["actor"] == f"key:{shop.issued.key.public_id}"
    assert entries(event="prediction.served", outcome="denied") == []


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_has_a_rate_of_its_own(scope: LimitScope) -> None:
    shop = make_shop(rate=1000)
    limit(shop, scope, rate=1, burst=2)
    codes = [ask(shop.secret).status_code for _ in range(6)]
    assert codes[:2] == [200, 200]
    assert 429 in codes[2:4]


def test_the_license_speaks_before_the_rate_and_the_rate_before_the_quota() -> None:
    shop = make_shop(rate=1, burst=1, quota=1)
    codes = [ask(shop.secret).json().get("code") for _ in range(3)]
    assert codes[0] is None
    assert "limit.rate_exceeded" in codes[1:]
    with across_tenants(reason="a test revokes"):
        type(shop.license).objects.filter(pk=shop.license.pk).update(features=["explain"])
    STANDINGS.clear()
    assert ask(shop.secret).json()["code"] == "license.feature_missing"


def moment(year: int, month: int, day: int = 1) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


def taken(made: Limit, at: datetime, units: int = 1) -> bool:
    with across_tenants(reason="a test looks"):
        terms = LimitTerms.of(Limit.objects.get(pk=made.pk))
    return quotas.take([(terms, units)], at=at) is None


def test_a_month_rolls_over_by_itself_and_never_back() -> None:
    made = limit(make_shop(), LimitScope.MODEL, quota=2, period=LimitPeriod.MONTH)
    november = moment(2026, 12) - timedelta(microseconds=1)
    assert [taken(made, november) for _ in range(3)] == [True, True, False]
    december = moment(2026, 12)
    assert taken(made, december)
    assert used(made) == (1, month_of(december))
    # A machine whose clock is behind counts in the month that has begun.
    assert [taken(made, november) for _ in range(2)] == [True, False]
    assert used(made) == (2, month_of(december))
    assert taken(made, moment(2027, 1))


def test_a_total_never_rolls_over() -> None:
    made = limit(make_shop(), LimitScope.MODEL, quota=1)
    assert taken(made, moment(2026, 12))
    assert not taken(made, moment(2030, 12))


@pytest.mark.parametrize(
    ("at", "month", "ends"),
    [
        (moment(2026, 1), 2026 * 12, moment(2026, 2)),
        (moment(2026, 12, 31), 2026 * 12 + 11, moment(2027, 1)),
        (datetime.fromisoformat("2026-12-31T23:30:00-02:00"), 2027 * 12, moment(2027, 2)),
    ],
)
def test_months_are_of_utc(at: datetime, month: int, ends: datetime) -> None:
    assert (month_of(at), month_ends(at)) == (month, ends)


def test_the_largest_quota_does_not_overflow() -> None:
    made = limit(make_shop(), LimitScope.MODEL, quota=LARGEST, rate=LARGEST, burst=LARGEST)
    assert taken(made, moment(2026, 12), LARGEST - 1)
    assert [taken(made, moment(2026, 12)) for _ in range(2)] == [True, False]
    assert used(made)[0] == LARGEST


def test_another_period_counts_anew_and_the_same_goes_on() -> None:
    shop = make_shop()
    made = limit(shop, LimitScope.MODEL, quota=5)
    assert taken(made, moment(2026, 12), 3)
    assert limit(shop, LimitScope.MODEL, quota=9).pk == made.pk
    assert used(made)[0] == 3
    limit(shop, LimitScope.MODEL, quota=9, period=LimitPeriod.MONTH)
    assert used(made) == (0, 0)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({}, "limit.empty"),
        ({"quota": 0}, "limit.quota_invalid"),
        ({"quota": LARGEST + 1}, "limit.quota_invalid"),
        ({"quota": 1, "period": "week"}, "limit.period_unknown"),
        ({"rate": 0}, "limit.rate_invalid"),
        ({"burst": 1}, "limit.rate_invalid"),
        ({"rate": 1, "burst": -1}, "limit.burst_invalid"),
    ],
)
def test_bad_limits(wanted: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidError) as raised:
        limit(make_shop(), LimitScope.MODEL, **wanted)
    assert raised.value.stable_code == code


QUOTA, WORKERS, TRIES = 12, 3, 8
RACER = """
import sys
import django
django.setup()
from tests.factories.gateway import charge
worker, tries = sys.argv[2], int(sys.argv[3])
print(charge(sys.argv[1], [f"{worker}-{turn}" for turn in range(tries)]))
"""


def cross() -> tuple[Shop, list[str], list[Limit]]:
    """A shop with two licenses, and limits that both reach by different ways."""
    shop = make_shop(quota=1000)
    other = make_key(shop.house, make_license(shop.house, shop.customer, shop.version.model))
    made = [
        limit(shop, LimitScope.MODEL, quota=QUOTA + 4, period=LimitPeriod.MONTH),
        limit(shop, LimitScope.CUSTOMER, quota=QUOTA),
        limit(shop, LimitScope.KEY, quota=QUOTA),
    ]
    return shop, [shop.secret, other.secret], made


def check_race(made: list[Limit], admitted: int) -> None:
    assert admitted == QUOTA < WORKERS * TRIES
    assert [used(one)[0] for one in made[:2]] == [QUOTA, QUOTA]
    with across_tenants(reason="a test counts"):
        assert UsageEvent.objects.count() == QUOTA
    served = AuditEntry.objects.filter(event="prediction.served").values_list("outcome", flat=True)
    assert sorted(served) == ["denied"] * (WORKERS * TRIES - QUOTA) + ["done"] * QUOTA


@pytest.mark.django_db(transaction=True)
def test_threads_never_over_admit() -> None:
    _, secrets, made = cross()

    def work(worker: int) -> int:
        try:
            names = [f"{worker}-{turn}" for turn in range(TRIES)]
            return charge(secrets[worker % 2], names)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(WORKERS) as pool:
        check_race(made, sum(pool.map(work, range(WORKERS))))


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_processes_never_over_admit() -> None:
    _, secrets, made = cross()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "gateway.settings.test",
        "PORTCULLIS_TEST_HOME": str(settings.PORTCULLIS_HOME),
        "DATABASE_URL": database_url(),
    }
    racers = [
        subprocess.Popen(
            [
                sys.executable, "-W", "ignore", "-c", RACER,
                secrets[worker % 2], str(worker), str(TRIES),
            ],
            env=environment,
            cwd=BASE_DIR,
            stdout=subprocess.PIPE,
            text=True,
        )
        for worker in range(WORKERS)
    ]  # fmt: skip
    check_race(made, sum(int(one.communicate(timeout=120)[0].split()[-1]) for one in racers))


@pytest.mark.django_db
def test_limits_over_http() -> None:
    shop = make_shop()
    client = Client(raise_request_exception=False)
    client.force_login(shop.house.user(shop.house.platform))

    def post(address: str, body: dict[str, Any] | None = None) -> Any:
        return client.post(f"/api/v1/{address}", data=body, content_type="application/json")

    body = {"scope": "customer", "of": "acme", "quota": 5, "period": "month", "rate": 3}
    made = post("limits", body)
    assert made.status_code == 201, made.content
    shown = made.json()
    assert shown.items() >= {**body, "burst": 3, "used": 0}.items()
    STANDINGS.clear()
    answer = ask(shop.secret)
    assert (answer.status_code, answer.headers["RateLimit-Limit"]) == (200, "3")
    [seen] = client.get("/api/v1/limits").json()["results"]
    assert seen["used"] == 1
    assert post("limits", {**body, "of": "nobody"}).status_code == 404
    assert post("limits", {**body, "used": 0}).status_code == 422
    assert post("limits", {**body, "quota": 2**60}).status_code == 422
    assert post(f"limits/{shown['id']}/lift").status_code == 204
    assert post(f"limits/{shown['id']}/lift").status_code == 404
    set_, lifted = entries(event="limit.set") + entries(event="limit.lifted")
    assert set_["facts"]["quota"] == 5
    assert lifted["facts"]["of"] == set_["facts"]["of"] == f"tenant:{shop.customer.id}"


def test_charged_units_are_read_by_key_facts() -> None:
    shop = make_shop()
    made = limit(shop, LimitScope.KEY, quota=3)
    facts = keys.authenticate(shop.secret)
    terms = quotas.read(shop.license)
    assert [one.id for one in quotas.of_key(terms, facts.id)] == [made.id]
    assert quotas.of_key(terms, shop.license.id) == ()
