"""What a call rests on is remembered for seconds, and never decides."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import AuditEntry
from gateway.aging import LIFE
from gateway.authentication import KeyActor
from gateway.keys import authenticate
from gateway.models import License
from gateway.standing import STANDINGS, Standings
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import ROW, Shop, make_shop, make_version
from training.models import ModelState, ModelVersion

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Shop:
    return make_shop()


def call(shop: Shop) -> Any:
    return Client(raise_request_exception=False).post(
        "/api/v1/models/income/predict",
        data={"row": ROW},
        content_type="application/json",
        headers={"Authorization": f"Bearer {shop.secret}"},
    )


def change(shop: Shop, **changed: Any) -> None:
    with across_tenants(reason="a test prepares"):
        License.objects.filter(pk=shop.license.pk).update(**changed)


def outcomes() -> list[str]:
    rows = AuditEntry.objects.filter(event="prediction.served").order_by("at")
    return [json.loads(bytes(row.body))["outcome"] for row in rows]


def test_it_is_read_again_when_it_has_grown_old(shop: Shop) -> None:
    now = [0.0]
    standings = Standings(clock=lambda: now[0])
    actor = KeyActor(authenticate(shop.secret))
    with tenant_scope(actor.tenant_id):
        first = standings.find(actor)
        with CaptureQueriesContext(connection) as none:
            assert standings.find(actor) is first
        assert len(none) == 0
        assert standings.find(actor, fresh=True) is not first
        now[0] = LIFE
        assert standings.find(actor) is not first


def test_a_quota_that_was_raised_counts_at_once(shop: Shop) -> None:
    change(shop, quota=1)
    assert [call(shop).status_code for _ in range(2)] == [200, 429]
    change(shop, quota=2)
    assert call(shop).status_code == 200
    assert outcomes() == ["done", "denied", "done"]


def test_a_rollback_does_not_drop_a_call(shop: Shop) -> None:
    """The remembered version was withdrawn: the call goes to the one that is served now."""
    make_version(shop.house, number=2, seed=1)
    STANDINGS.clear()
    assert call(shop).json()["version"] == 2
    with across_tenants(reason="a test prepares"):
        ModelVersion.objects.filter(number=2).update(state=ModelState.WITHDRAWN)
    answer = call(shop)
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    assert outcomes() == ["done", "done"]
    assert shop.reload().used == 2


def test_another_customer_is_never_shown_what_was_remembered(shop: Shop) -> None:
    actor = KeyActor(authenticate(shop.secret))
    with tenant_scope(actor.tenant_id):
        STANDINGS.find(actor)
    assert call(shop).status_code == 200
    with across_tenants(reason="a test prepares"):
        License.objects.filter(pk=shop.license.pk).update(customer=shop.house.tenant)
    STANDINGS.clear()
    assert call(shop).status_code == 404
