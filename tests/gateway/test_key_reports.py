"""Whoever finds a key ends it, and learns nothing; a flood of texts costs nothing."""

import json
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from gateway import keys
from gateway.actions.keys import revoke_key
from gateway.key_format import PATTERN
from gateway.models import ApiKey, KeyMode
from gateway.refusals import REFUSALS
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import Shop, make_shop
from tests.gateway.test_key_rotation import HOUR, later, rotate, row

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Shop:
    return make_shop()


def report(key: object) -> Any:
    return Client(raise_request_exception=False).post(
        "/api/v1/keys/report", data={"key": key}, content_type="application/json"
    )


def entries(event: str) -> list[dict[str, Any]]:
    rows = AuditEntry.objects.filter(event=event).order_by("at")
    return [json.loads(bytes(entry.body)) for entry in rows]


def test_anybody_reads_the_pattern() -> None:
    told = Client().get("/api/v1/keys/pattern")
    assert told.status_code == 200
    assert told.json()["pattern"] == PATTERN
    assert told.json()["report"] == "/api/v1/keys/report"


def test_a_found_key_is_revoked_and_both_sides_see_it(shop: Shop) -> None:
    answer = report(f" {shop.secret}\n")
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    assert row(shop).revoked_at is not None
    told = entries("key.reported")
    assert {entry["tenant"] for entry in told} == {str(shop.house.id), str(shop.customer.id)}
    assert {entry["actor"] for entry in told} == {"system:door"}
    assert {entry["outcome"] for entry in told} == {"done"}
    assert all(entry["facts"] == {"key": shop.issued.key.reference} for entry in told)
    client = Client()
    client.force_login(shop.house.user(shop.admin))
    page = client.get("/api/v1/audit/entries?event=key.reported").content.decode()
    assert shop.issued.key.reference in page


def test_the_old_secret_of_a_rotated_key_ends_it_in_its_time(shop: Shop) -> None:
    rotate(shop, overlap=HOUR)
    later(shop, HOUR)
    assert report(shop.secret).status_code == 202
    assert row(shop).revoked_at is None
    rotate(shop, overlap=HOUR)
    with across_tenants(reason="a test looks"):
        current = ApiKey.objects.get()
    assert current.previous_not_after is not None


def test_the_old_secret_within_the_overlap_ends_the_key(shop: Shop) -> None:
    rotate(shop, overlap=HOUR)
    report(shop.secret)
    assert row(shop).revoked_at is not None


def test_everything_else_gets_the_same_answer_and_no_row_each(shop: Shop) -> None:
    right = report(shop.secret)
    before = AuditEntry.objects.count()
    wrong = shop.secret[:20] + keys.generate(KeyMode.LIVE).text[20:63]
    texts = [
        shop.secret,  # revoked by now
        wrong + keys.checksum(wrong),
        shop.secret[:-1],
        keys.generate(KeyMode.LIVE).text,
        "x" * 10_000,
        "pck_live_%",
        "pck_live_' OR 1=1 --",
    ]
    for _ in range(20):
        for text in texts:
            answer = report(text)
            assert (answer.status_code, answer.content) == (right.status_code, right.content)
            assert dict(answer.headers).keys() == dict(right.headers).keys()
    told = entries("key.report_refused")
    assert sorted(entry["reason"] for entry in told) == [
        "key.malformed",
        "key.revoked",
        "key.unknown",
    ]
    assert AuditEntry.objects.count() == before + 3
    REFUSALS.flush(everything=True)
    assert sum(entry["facts"]["count"] for entry in entries("key.report_refused")) == 140
    assert len(entries("key.reported")) == 2


@pytest.mark.parametrize("body", [{}, {"key": None}, {"key": ["x"]}, {"key": "x", "more": 1}])
def test_a_body_that_is_no_report(body: dict[str, Any]) -> None:
    answer = Client(raise_request_exception=False).post(
        "/api/v1/keys/report", data=body, content_type="application/json"
    )
    assert answer.status_code == 422


def test_a_report_needs_no_credentials_and_uses_none(shop: Shop) -> None:
    """What is sent as credentials is not looked at, and another key's session changes nothing."""
    answer = Client().post(
        "/api/v1/keys/report",
        data={"key": shop.secret},
        content_type="application/json",
        headers={"Authorization": "Bearer nonsense"},
    )
    assert answer.status_code == 202
    assert row(shop).revoked_at is not None


def test_of_two_ends_the_first_counts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = keys.authenticate(shop.secret)
    monkeypatch.setattr(keys, "authenticate", lambda _: facts)  # as it was remembered
    with tenant_scope(shop.house.id):
        revoke_key(shop.house.platform, shop.license, key=shop.issued.key)
    assert report(shop.secret).status_code == 202
    assert entries("key.reported") == []
    assert [entry["reason"] for entry in entries("key.report_refused")] == ["key.revoked"]


class TestExpiring:
    """Keys that end soon are listed, in the API and the console."""

    @pytest.fixture
    def names(self, shop: Shop) -> dict[str, str]:
        from datetime import timedelta

        from django.utils import timezone

        from gateway.actions.keys import issue_key

        made = {}
        with tenant_scope(shop.house.id):
            for name, days in {"soon": 5, "later": 20, "revoked": 5}.items():
                issued = issue_key(
                    shop.house.platform, shop.license, name=name,
                    expires_at=timezone.now() + timedelta(days=days),
                )  # fmt: skip
                made[name] = issued.key.public_id
                if name == "revoked":
                    revoke_key(shop.house.platform, shop.license, key=issued.key)
        return made

    @pytest.mark.parametrize(
        ("within", "found"), [("4d", set()), ("14d", {"soon"}), ("21d", {"soon", "later"})]
    )
    def test_by_days(self, shop: Shop, names: dict[str, str], within: str, found: set[str]) -> None:
        client = Client()
        client.force_login(shop.house.user(shop.admin))
        rows = client.get(f"/api/v1/keys?expires_within={within}").json()["results"]
        assert {shown["public_id"] for shown in rows} == {names[name] for name in found}

    @pytest.mark.parametrize("within", ["", "14", "0d", "-1d", "1e3d", "99999d", "14d\0", "１d"])
    def test_what_is_no_time(self, shop: Shop, within: str) -> None:
        client = Client(raise_request_exception=False)
        client.force_login(shop.house.user(shop.admin))
        answer = client.get("/api/v1/keys", {"expires_within": within})
        assert (answer.status_code, answer.json()["code"]) == (
            422,
            "request.expires_within_invalid",
        )

    def test_in_the_console(self, shop: Shop, names: dict[str, str]) -> None:
        client = Client()
        client.force_login(shop.house.user(shop.house.platform))
        page = client.get("/admin/gateway/apikey/?expires_within=14d").content.decode()
        assert names["soon"] in page
        assert names["later"] not in page
