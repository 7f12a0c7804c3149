"""What a key may be used for, and from where: judged at every door, by both ways to a call."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test import Client

from audit.models import AuditEntry
from gateway.actions.keys import Issued, issue_key
from gateway.addresses import client_address
from gateway.lane import Lane
from gateway.models import Feature
from gateway.scopes import MOST_ADDRESSES, SCOPES, networks, parsed_networks, within
from governance.errors import InvalidError
from governance.scoping import tenant_scope
from tests.factories.gateway import ROW, Shop, make_license, make_shop
from tests.gateway.test_lane import ask, nobody

HOME, ELSEWHERE = "192.0.2.7", "198.51.100.7"
PROXY = "10.0.0.9"


def narrow(shop: Shop, **terms: Any) -> Issued:
    with tenant_scope(shop.house.id):
        issued: Issued = issue_key(shop.house.platform, shop.license, name="narrow", **terms)
    return issued


@pytest.mark.parametrize(
    ("environ", "trusted", "told"),
    [
        ({"REMOTE_ADDR": HOME}, [], HOME),
        ({"REMOTE_ADDR": HOME, "HTTP_X_FORWARDED_FOR": ELSEWHERE}, [], HOME),
        ({"REMOTE_ADDR": HOME, "HTTP_X_FORWARDED_FOR": ELSEWHERE}, ["10.0.0.0/8"], HOME),
        ({"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_FOR": HOME}, ["10.0.0.0/8"], HOME),
        # The beginning is the caller's own text: only what our proxies wrote is read.
        ({"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_FOR": f"{HOME}, {ELSEWHERE}"}, ["10.0.0.0/8"],
         ELSEWHERE),
        ({"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_FOR": f"{HOME},10.1.1.1"}, ["10.0.0.0/8"], HOME),
        ({"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_FOR": "10.1.1.1"}, ["10.0.0.0/8"], "10.1.1.1"),
        ({"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_FOR": f"{HOME}, nonsense"}, ["10.0.0.0/8"],
         "nonsense"),
        ({"REMOTE_ADDR": PROXY}, ["10.0.0.0/8"], PROXY),
        ({"REMOTE_ADDR": f"::ffff:{PROXY}", "HTTP_X_FORWARDED_FOR": HOME}, ["10.0.0.0/8"], HOME),
        ({"REMOTE_ADDR": "fd00::1", "HTTP_X_FORWARDED_FOR": "2001:db8::5"}, ["fd00::/8"],
         "2001:db8::5"),
        ({"REMOTE_ADDR": ""}, ["10.0.0.0/8"], ""),
        ({}, [], ""),
    ],
)  # fmt: skip
def test_from_where_a_request_came(
    settings: Any, environ: dict[str, str], trusted: list[str], told: str
) -> None:
    settings.TRUSTED_PROXIES = trusted
    assert client_address(environ) == told


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        (HOME, True),
        (ELSEWHERE, False),
        (f"::ffff:{HOME}", True),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("192.0.2.7:443", False),
        ("192.0.2.07", False),
        ("0xC0000207", False),
        ("\0", False),
        ("9" * 10_000, False),
    ],
)
def test_what_lies_within(address: str, *, inside: bool) -> None:
    assert within(address, parsed_networks(["192.0.2.0/24", "2001:db8::/32"])) is inside


@pytest.mark.parametrize(
    "wrong",
    [
        ["192.0.2.1/24"],
        ["192.0.2.0/33"],
        ["::/129"],
        ["fe80::1%eth0"],
        ["::ffff:192.0.2.1"],
        ["home"],
        ["١.1.1.1"],
        [""],
        [f"10.0.0.{n}" for n in range(MOST_ADDRESSES + 1)],
    ],
)
def test_a_network_that_cannot_be_meant(wrong: list[str]) -> None:
    with pytest.raises(InvalidError) as caught:
        networks(wrong)
    assert caught.value.stable_code == "key.addresses_invalid"
    assert caught.value.pointer == "/addresses"


def test_networks_are_stored_in_one_form() -> None:
    assert networks([" 192.0.2.1", "192.0.2.1/32", "2001:DB8:0::/32"]) == [
        "192.0.2.1/32",
        "2001:db8::/32",
    ]


@pytest.mark.django_db(transaction=True)
class TestAddresses:
    """Both ways to a call."""

    @pytest.fixture(autouse=True)
    def _closed(self) -> Iterable[None]:
        yield
        connections.close_all()

    @pytest.mark.parametrize(
        ("remote", "forwarded", "status", "code"),
        [
            (HOME, "", "200 OK", None),
            (ELSEWHERE, "", "403 Forbidden", "key.address_refused"),
            (ELSEWHERE, HOME, "403 Forbidden", "key.address_refused"),
            (PROXY, HOME, "200 OK", None),
            (PROXY, ELSEWHERE, "403 Forbidden", "key.address_refused"),
            (PROXY, f"{HOME}, {ELSEWHERE}", "403 Forbidden", "key.address_refused"),
            ("", HOME, "403 Forbidden", "key.address_refused"),
        ],
    )
    def test_both_ways_judge_alike(
        self, settings: Any, remote: str, forwarded: str, status: str, code: str | None
    ) -> None:
        settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
        shop = make_shop()
        secret = narrow(shop, addresses=["192.0.2.0/24"]).secret
        environ: dict[str, Any] = {"REMOTE_ADDR": remote}
        if forwarded:
            environ["HTTP_X_FORWARDED_FOR"] = forwarded
        short, long = (
            ask(application, secret, **environ) for application in (Lane(nobody), WSGIHandler())
        )
        assert (short.status, short.body.get("code")) == (status, code)
        assert short.stable == long.stable


@pytest.mark.django_db
class TestScopes:
    """Narrower than the license, never wider."""

    CALLS = {
        "predict": ("models/income/predict", {"row": ROW}),
        "explain": ("models/income/explain", {"row": ROW}),
        "feedback": ("predictions/feedback", {"items": []}),
        "read": ("usage", None),
    }

    @pytest.mark.parametrize("scope", SCOPES)
    def test_a_key_for_one_thing_opens_that_alone(self, scope: str) -> None:
        secret = narrow(make_shop(), scopes=[scope]).secret
        client = Client(
            raise_request_exception=False, headers={"Authorization": f"Bearer {secret}"}
        )
        for name, (address, body) in self.CALLS.items():
            if body is None:
                response = client.get(f"/api/v1/{address}")
            else:
                response = client.post(
                    f"/api/v1/{address}", data=body, content_type="application/json"
                )
            if name == scope:
                assert response.status_code in {200, 400, 422}, response.content
            else:
                told = response.status_code, response.json()["code"]
                assert told == (403, "key.scope_missing"), name
        # What its model is, every key may read.
        assert client.get("/api/v1/models/income").status_code == 200
        reasons = [
            json.loads(bytes(entry.body))["reason"]
            for entry in AuditEntry.objects.filter(outcome="denied")
        ]
        assert reasons.count("key.scope_missing") == len(self.CALLS.keys() - {scope})

    @pytest.mark.parametrize("address", ["usage", "receipts/x", "licenses", "keys"])
    def test_reading_is_one_scope(self, address: str) -> None:
        secret = narrow(make_shop(), scopes=["predict"]).secret
        response = Client().get(f"/api/v1/{address}", headers={"Authorization": f"Bearer {secret}"})
        assert (response.status_code, response.json()["code"]) == (403, "key.scope_missing")

    @pytest.mark.parametrize("wrong", [[], ["write"], ["predict", "write"], ["explain"]], ids=str)
    def test_scopes_that_cannot_be_meant(self, wrong: list[str]) -> None:
        shop = make_shop()
        poor = make_license(
            shop.house, shop.customer, shop.version.model, features=(Feature.PREDICT,)
        )
        with tenant_scope(shop.house.id), pytest.raises(InvalidError) as caught:
            issue_key(shop.house.platform, poor, name="n", scopes=wrong)
        assert caught.value.stable_code == "key.scopes_invalid"

    def test_both_are_told_with_the_key(self) -> None:
        shop = make_shop()
        client = Client()
        client.force_login(shop.house.user(shop.house.platform))
        body = {
            "license": str(shop.license.id), "name": "n",
            "scopes": ["read", "predict"], "addresses": ["192.0.2.1"],
        }  # fmt: skip
        issued = client.post("/api/v1/keys", data=body, content_type="application/json")
        assert issued.status_code == 201, issued.content
        shown = client.get(f"/api/v1/keys/{issued.json()['public_id']}").json()
        assert shown["scopes"] == ["predict", "read"]
        assert shown["addresses"] == ["192.0.2.1/32"]
        facts = json.loads(bytes(AuditEntry.objects.filter(event="key.issued").latest("at").body))
        assert facts["facts"]["scopes"] == ["predict", "read"]
        assert facts["facts"]["networks"] == 1
