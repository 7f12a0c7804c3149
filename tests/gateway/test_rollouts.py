"""Canary, shadow, rollback, a version's end: which version answers, and who is told."""

import json
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from audit.errors import DomainError
from audit.models import AuditEntry
from gateway import committing, comparing, serving
from gateway.actions.licenses import issue_license
from gateway.models import Feature, Prediction, ShadowCounts
from gateway.shadows import SHADOWS, WAITING, Beside
from gateway.standing import STANDINGS
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import PURPOSE, ROW, Shop, make_key, make_shop, make_version
from training.actions.rollouts import announce_sunset, roll_back, set_service
from training.errors import PredictionInputError
from training.models import ModelState, ModelVersion, Service
from training.rollouts import is_drawn

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Shop:
    return make_shop(quota=10_000)


@pytest.fixture
def second(shop: Shop) -> ModelVersion:
    made = make_version(shop.house, number=2, seed=1, state=ModelState.REGISTERED)
    STANDINGS.clear()
    return made


@pytest.fixture(autouse=True)
def _no_comparisons() -> None:
    SHADOWS.forget()


def release(version: ModelVersion) -> None:
    with across_tenants(reason="a test prepares"):
        ModelVersion.objects.filter(pk=version.pk).update(
            state=ModelState.RELEASED, released_at=timezone.now()
        )
    STANDINGS.clear()


def serve_as(shop: Shop, version: ModelVersion, service: str, share: int = 50) -> None:
    with tenant_scope(shop.house.id):
        set_service(shop.house.engineer, version, service=service, share=share)
    STANDINGS.clear()


def call(shop: Shop, key: str = "", *, secret: str = "") -> Any:
    return Client().post(
        "/api/v1/models/income/predict",
        data={"row": ROW},
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret or shop.secret}"}
        | ({"Idempotency-Key": key} if key else {}),
    )


def answered_by(response: Any) -> int:
    assert response.status_code == 200, response.content
    return int(response.json()["version"])


def code_of(shop: Shop, who: Any, version: ModelVersion, do: Any, **asked: Any) -> str:
    with tenant_scope(shop.house.id), pytest.raises(DomainError) as refused:
        do(who, version, **asked)
    return refused.value.stable_code


def test_a_canary_takes_its_share_and_a_replay_comes_to_the_same_version(
    shop: Shop, second: ModelVersion
) -> None:
    serve_as(shop, second, Service.CANARY, 50)
    release(second)
    first = {f"order-{number}": call(shop, f"order-{number}") for number in range(24)}
    numbers = {key: answered_by(response) for key, response in first.items()}
    assert set(numbers.values()) == {1, 2}
    again = {key: answered_by(call(shop, key)) for key in first}
    assert again == numbers
    assert shop.reload().used == 24


@pytest.mark.parametrize("share", [1, 10, 50, 99])
def test_shares_are_what_they_say(share: int) -> None:
    canary = ModelVersion(share=share)
    drawn = sum(is_drawn(canary, uuid4().hex) for _ in range(20_000)) / 20_000
    assert drawn == pytest.approx(share / 100, abs=0.015)


def test_nothing_answers_before_two_people_released_it(shop: Shop, second: ModelVersion) -> None:
    for service in (Service.CANARY, Service.SHADOW, Service.FULL):
        serve_as(shop, second, service, 99)
        assert {answered_by(call(shop)) for _ in range(3)} == {1}
    assert not SHADOWS._waiting


def test_who_is_promoted_answers_all(shop: Shop, second: ModelVersion) -> None:
    serve_as(shop, second, Service.CANARY, 1)
    release(second)
    serve_as(shop, second, Service.FULL)
    assert {answered_by(call(shop)) for _ in range(3)} == {2}


def test_a_canary_for_another_purpose_answers_nobody(shop: Shop) -> None:
    other = make_version(shop.house, number=2, seed=1, purpose="research")
    serve_as(shop, other, Service.CANARY, 99)
    assert {answered_by(call(shop)) for _ in range(5)} == {1}


def test_a_canary_that_does_not_open_costs_no_call(shop: Shop, second: ModelVersion) -> None:
    serve_as(shop, second, Service.CANARY, 99)
    release(second)
    with across_tenants(reason="a test prepares"):
        ModelVersion.objects.filter(number=2).update(artifact_digest="f" * 64)
    STANDINGS.clear()
    assert {answered_by(call(shop)) for _ in range(5)} == {1}


def test_a_canary_that_cannot_read_the_row_costs_no_call(
    shop: Shop, second: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_as(shop, second, Service.CANARY, 99)
    release(second)

    def reads_other_columns(_row: object) -> None:
        raise PredictionInputError("a column is missing", pointer="/tenure")

    monkeypatch.setattr(serving.loaded(second), "check_row", reads_other_columns)
    assert {answered_by(call(shop)) for _ in range(5)} == {1}


def test_refused_parts(shop: Shop, second: ModelVersion) -> None:
    engineer = shop.house.engineer
    refused: list[tuple[ModelVersion, dict[str, Any], str]] = [
        (shop.version, {"service": "canary", "share": 5}, "rollout.nothing_beside"),
        (second, {"service": "half"}, "rollout.service_unknown"),
        *((second, {"service": "canary", "share": n}, "rollout.share_invalid") for n in (0, 100)),
    ]
    for version, asked, code in refused:
        assert code_of(shop, engineer, version, set_service, **asked) == code
    serve_as(shop, second, Service.CANARY)
    third = make_version(shop.house, number=3, seed=2, state=ModelState.REGISTERED)
    taken = code_of(shop, engineer, third, set_service, service="canary", share=5)
    assert taken == "rollout.service_taken"
    denied = code_of(shop, shop.house.auditor, second, set_service, service="full")
    assert denied == "permission.role_missing"


def test_a_rollback_is_at_once_and_drops_no_call(
    shop: Shop, second: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It commits while a call that the newer version scored waits for its own commit."""
    release(second)
    assert answered_by(call(shop)) == 2
    work = committing._scored
    rolled: list[ModelVersion] = []

    def meanwhile(calls: Any) -> Any:
        found = work(calls)
        if not rolled:
            with tenant_scope(shop.house.id):
                rolled.append(roll_back(shop.house.officer, second))
        return found

    monkeypatch.setattr(committing, "_scored", meanwhile)
    assert answered_by(call(shop)) == 1  # scored by 2, answered by 1
    assert rolled
    assert shop.reload().used == 2
    with across_tenants(reason="a test looks"):
        assert Prediction.objects.filter(version=second).count() == 1
    entry = json.loads(bytes(AuditEntry.objects.get(event="model.rolled_back").body))
    assert entry["facts"]["to"] == shop.version.reference
    assert code_of(shop, shop.house.officer, shop.version, roll_back) == "rollout.nothing_beside"
    assert code_of(shop, shop.house.officer, second, roll_back) == "model.state"


def bound(shop: Shop, number: int) -> str:
    with tenant_scope(shop.house.id):
        license_ = issue_license(
            shop.house.platform,
            shop.version.model,
            customer=shop.customer,
            features=[Feature.PREDICT],
            purposes=[PURPOSE],
            quota=10,
            expires_at=timezone.now() + timedelta(days=30),
            version=number,
        )
    return str(make_key(shop.house, license_).secret)


def end(shop: Shop, version: ModelVersion, days: float) -> None:
    with tenant_scope(shop.house.id):
        announce_sunset(shop.house.officer, version, ends_at=timezone.now() + timedelta(days=days))
    STANDINGS.clear()


def test_a_bound_license_keeps_its_version_until_it_ends(shop: Shop, second: ModelVersion) -> None:
    secret = bound(shop, 1)
    release(second)
    assert answered_by(call(shop)) == 2
    assert answered_by(call(shop, secret=secret)) == 1
    assert "Sunset" not in call(shop, secret=secret).headers
    for used, number in ((secret, 1), (shop.secret, 2)):
        asked = {"Authorization": f"Bearer {used}"}
        assert Client().get("/api/v1/models/income", headers=asked).json()["released"][
            "number"
        ] == (number)
    end(shop, shop.version, 30)
    told = call(shop, secret=secret)
    assert answered_by(told) == 1
    assert told.headers["Deprecation"].startswith("@1")
    assert told.headers["Sunset"].endswith(" GMT")
    assert "Sunset" not in call(shop).headers  # by version 2
    with across_tenants(reason="a test prepares"):
        ModelVersion.objects.filter(number=1).update(sunset_at=timezone.now())
    STANDINGS.clear()
    refused = call(shop, secret=secret)
    assert (refused.status_code, refused.json()["code"]) == (403, "model.sunset")
    assert answered_by(call(shop)) == 2


def test_after_the_end_the_version_before_answers_or_nobody(
    shop: Shop, second: ModelVersion
) -> None:
    release(second)
    with across_tenants(reason="a test prepares"):
        ModelVersion.objects.filter(number=2).update(sunset_at=timezone.now())
    STANDINGS.clear()
    assert answered_by(call(shop)) == 1
    with across_tenants(reason="a test prepares"):
        ModelVersion.objects.filter(number=1).update(sunset_at=timezone.now())
    STANDINGS.clear()
    refused = call(shop)
    assert (refused.status_code, refused.json()["code"]) == (403, "model.sunset")
    assert shop.reload().used == 1


def test_refused_ends(shop: Shop, second: ModelVersion) -> None:
    officer, now = shop.house.officer, timezone.now()
    past = code_of(shop, officer, shop.version, announce_sunset, ends_at=now)
    assert past == "rollout.sunset_invalid"
    end(shop, shop.version, 30)
    sooner = now + timedelta(days=3)
    earlier = code_of(shop, officer, shop.version, announce_sunset, ends_at=sooner)
    assert earlier == "rollout.sunset_earlier"
    later = code_of(shop, officer, second, announce_sunset, ends_at=sooner)
    assert later == "model.state"
    with tenant_scope(shop.house.id):
        version = announce_sunset(officer, shop.version, ends_at=None)
    assert (version.sunset_at, version.deprecated_at) == (None, None)


def test_a_license_is_bound_to_what_is_released(shop: Shop, second: ModelVersion) -> None:
    with pytest.raises(DomainError) as refused:
        bound(shop, second.number)
    assert refused.value.stable_code == "model.not_released"


def test_a_shadow_is_scored_beside_and_shown_to_nobody(shop: Shop, second: ModelVersion) -> None:
    serve_as(shop, second, Service.SHADOW)
    release(second)
    answers = [call(shop) for _ in range(12)]
    assert {answered_by(one) for one in answers} == {1}
    assert len({one.json()["score"] for one in answers}) == 1
    assert SHADOWS.work() == 12
    assert SHADOWS.work() == 0
    SHADOWS.flush()
    with tenant_scope(shop.house.id):
        (row,) = comparing.compared(second)
        model, theirs = serving.loaded(second), answers[0].json()
    ((score, label),) = serving.scores(model, [model.check_row(ROW)])
    assert score != theirs["score"]
    assert (row["beside"], row["scored"], row["failed"]) == (1, 12, 0)
    assert row["labels"] == 12 * (label != theirs["label"])
    assert row["higher"] == 12 * (score > theirs["score"])
    assert sorted(row["distances"])[-2:] == [0, 12]
    SHADOWS.flush()
    assert shop.reload().used == 12  # charged once each


@pytest.mark.django_db(transaction=True)
def test_a_thread_compares_and_writes_by_itself(
    shop: Shop, second: ModelVersion, settings: Any
) -> None:
    settings.INPUT_COUNTS_EVERY = 0.05
    serve_as(shop, second, Service.SHADOW)
    release(second)
    for _ in range(12):
        call(shop)
    thread = SHADOWS._thread
    until = time.monotonic() + 20
    found = 0
    while found < 10 and time.monotonic() < until:
        time.sleep(0.02)
        with across_tenants(reason="a test looks"):
            found = sum(row.counts["scored"] for row in ShadowCounts.objects.all())
    assert 10 <= found <= 12
    SHADOWS.forget()
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()


def test_few_calls_of_a_shadow_wait_for_others(shop: Shop, second: ModelVersion) -> None:
    serve_as(shop, second, Service.SHADOW)
    release(second)
    call(shop)
    SHADOWS.work()
    SHADOWS.flush()
    with across_tenants(reason="a test looks"):
        assert not ShadowCounts.objects.exists()


def test_a_shadow_that_fails_or_falls_behind_is_nobodys_fault(
    shop: Shop, second: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_as(shop, second, Service.SHADOW)
    release(second)
    with across_tenants(reason="a test prepares"):
        ModelVersion.objects.filter(number=2).update(artifact_digest="f" * 64)
    for _ in range(10):
        assert answered_by(call(shop)) == 1
    SHADOWS.work()
    SHADOWS.flush()
    with tenant_scope(shop.house.id):
        (row,) = comparing.compared(second)
    assert (row["scored"], row["failed"]) == (0, 10)
    one = Beside(second, shop.version, {}, 0.5, None)
    for _ in range(WAITING + 10):
        SHADOWS.note(one)
    assert len(SHADOWS._waiting) == WAITING


def test_doors(shop: Shop, second: ModelVersion, client: Client) -> None:
    """The same by HTTP and from the terminal."""
    release(second)
    client.force_login(shop.house.user(shop.house.engineer))
    address = f"/api/v1/models/income/versions/{second.number}"

    def post(what: str, **body: Any) -> Any:
        return client.post(f"{address}/{what}", data=body, content_type="application/json")

    made = post("service", service="canary", share=20)
    assert made.status_code == 200, made.content
    assert (made.json()["service"], made.json()["share"]) == ("canary", 20)
    client.force_login(shop.house.user(shop.house.officer))
    ends = (timezone.now() + timedelta(days=9)).isoformat()
    first = f"/api/v1/models/income/versions/{shop.version.number}"
    told = client.post(f"{first}/sunset", {"ends_at": ends}, content_type="application/json")
    assert told.status_code == 200, told.content
    (concerned,) = told.json()["affected"]
    assert (concerned["license"], concerned["bound"]) == (str(shop.license.pk), False)
    assert client.get(f"{first}/serving").json()["affected"] == [concerned]
    assert post("rollback").json()["state"] == "registered"
    user = shop.house.user(shop.house.officer).username
    call_command("rollout", "income", "--number", "1", "--no-sunset", "--as", user, "--json")
    shop.version.refresh_from_db()
    assert shop.version.sunset_at is None


def test_the_console(shop: Shop, second: ModelVersion) -> None:
    release(second)
    page = f"/admin/training/modelversion/{second.pk}/"
    engineer, officer = Client(), Client()
    engineer.force_login(shop.house.user(shop.house.engineer))
    officer.force_login(shop.house.user(shop.house.officer))
    assert engineer.get(f"{page}service/").status_code == 200
    wrong = engineer.post(f"{page}service/", {"service": "canary", "share": "100"})
    assert b"rollout.share_invalid" in wrong.content
    made = engineer.post(f"{page}service/", {"service": "canary", "share": "20"})
    assert made.status_code == 302
    assert "20 %" in engineer.get(page).content.decode()
    assert officer.post(f"{page}service/", {"service": "full"}).status_code == 403
    day = timezone.localtime(timezone.now() + timedelta(days=9)).strftime("%Y-%m-%dT%H:%M")
    assert officer.post(f"{page}sunset/", {"ends_at": day}).status_code == 302
    first = f"/admin/training/modelversion/{shop.version.pk}/"
    assert officer.post(f"{first}sunset/", {"ends_at": day}).status_code == 302
    assert str(shop.license.pk) in officer.get(first).content.decode()
    assert officer.post(f"{page}rollback/").status_code == 302
    second.refresh_from_db()
    assert second.state == ModelState.REGISTERED
    assert engineer.get(f"{page}rollback/").status_code == 405
    license_page = engineer.get(f"/admin/gateway/license/{shop.license.pk}/")
    assert license_page.status_code == 403
