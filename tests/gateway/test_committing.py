"""Calls of one process are committed together, and each alone where they cannot be."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test import Client

from audit.models import AuditEntry, PendingLeaf
from gateway import committing, serving
from gateway.actions.predictions import serve_predictions
from gateway.coalescing import Coalescer
from gateway.models import License, Prediction, UsageEvent
from gateway.shedding import CALLS
from governance.scoping import across_tenants
from tests.factories.gateway import ROW, Shop, make_key, make_shop

pytestmark = pytest.mark.django_db(transaction=True)

CALLERS = 6


@pytest.fixture
def shop() -> Shop:
    return make_shop(quota=1000)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what was committed; the first piece of work waits for all callers to come."""
    sizes: list[int] = []
    work = committing._work
    coalescer: Coalescer[Any, Any]

    def watched(calls: Sequence[Any]) -> Any:
        if not sizes:
            for _ in range(5_000):
                if len(coalescer._waiting) == CALLERS - 1:
                    break
                time.sleep(0.002)
        sizes.append(len(calls))
        return work(calls)

    coalescer = Coalescer(watched, line=CALLS)
    monkeypatch.setattr("gateway.calls.COMMITS", coalescer)
    return sizes


def call(secret: str, key: str = "") -> Any:
    try:
        return Client(raise_request_exception=False).post(
            "/api/v1/models/income/predict",
            data={"row": ROW},
            content_type="application/json",
            headers={"Authorization": f"Bearer {secret}"}
            | ({"Idempotency-Key": key} if key else {}),
        )
    finally:
        connections.close_all()


def at_once(secrets: Sequence[str]) -> list[Any]:
    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(call, secrets))


def outcomes() -> list[tuple[str, str | None]]:
    rows = AuditEntry.objects.filter(event="prediction.served").order_by("at")
    bodies = [json.loads(bytes(row.body)) for row in rows]
    return sorted((body["outcome"], body["reason"] or "") for body in bodies)


def counted() -> tuple[int, int]:
    with across_tenants(reason="a test looks"):
        return Prediction.objects.count(), UsageEvent.objects.count()


def test_calls_of_one_moment_share_a_commit(shop: Shop, batches: list[int]) -> None:
    other = make_key(shop.house, shop.license).secret
    answers = at_once([shop.secret, other] * (CALLERS // 2))
    assert [one.status_code for one in answers] == [200] * CALLERS
    assert batches == [1, CALLERS - 1]
    assert shop.reload().used == CALLERS
    assert counted() == (CALLERS, CALLERS)
    assert outcomes() == [("done", "")] * CALLERS
    receipts = {one.json()["receipt"]["entry"] for one in answers}
    entries = AuditEntry.objects.filter(event="prediction.served")
    assert receipts == {str(entry.pk) for entry in entries}
    assert PendingLeaf.objects.filter(entry_id__in=receipts).count() == CALLERS


def test_the_last_units_go_to_as_many_as_there_are(shop: Shop, batches: list[int]) -> None:
    with across_tenants(reason="a test prepares"):
        License.objects.update(quota=4)
    answers = at_once([shop.secret] * CALLERS)
    assert sorted(one.status_code for one in answers) == [200] * 4 + [429] * 2
    assert shop.reload().used == 4
    assert counted() == (4, 4)
    assert outcomes() == [("denied", "license.quota_exhausted")] * 2 + [("done", "")] * 4


def test_what_cannot_be_committed_together_is_committed_alone(
    shop: Shop, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_acts: object) -> None:
        raise OperationalError("the connection was lost")

    monkeypatch.setattr(committing, "serve_predictions", lost)
    answers = at_once([shop.secret] * CALLERS)
    assert [one.status_code for one in answers] == [200] * CALLERS
    assert shop.reload().used == CALLERS
    assert counted() == (CALLERS, CALLERS)


def test_a_commit_whose_answer_was_lost_is_not_charged_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database committed, and the connection broke before it said so."""

    def lost(acts: Any) -> Any:
        serve_predictions(acts)
        raise OperationalError("the connection was lost")

    monkeypatch.setattr(committing, "serve_predictions", lost)
    answer = call(shop.secret)
    assert answer.status_code == 200, answer.content
    assert shop.reload().used == 1
    assert counted() == (1, 1)
    assert outcomes() == [("done", "")]
    with across_tenants(reason="a test looks"):
        assert str(Prediction.objects.get().pk) == answer.json()["prediction"]


def test_a_model_that_is_asked_row_by_row_holds_up_nobody(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is scored by the thread of its own call, and only committed with the others."""
    seen: list[bool] = []
    work = committing._work

    def watched(calls: Sequence[Any]) -> Any:
        seen.extend(call.scored for call in calls)
        return work(calls)

    monkeypatch.setattr("gateway.calls.COMMITS", Coalescer(watched, line=CALLS))
    assert call(shop.secret).status_code == 200
    model = serving.loaded(shop.version)
    monkeypatch.setattr(model, "precise", False)
    model.artifact.network.float()
    try:
        answer = call(shop.secret)
    finally:
        model.artifact.network.double()
    assert seen == [False, True]
    with across_tenants(reason="a test looks"):
        stored = Prediction.objects.get(pk=answer.json()["prediction"])
    assert stored.answer["score"] == answer.json()["score"]
