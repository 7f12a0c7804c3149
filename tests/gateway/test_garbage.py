"""Queries, cookies and bodies that nobody sends by mistake: a client's error, and never ours."""

import base64
import json

import pytest
from django.test import Client

from audit.models import AuditEntry
from gateway.api.parsing import DEEPEST
from governance.models import User
from tests.factories.gateway import ROW, Shop, make_shop

pytestmark = pytest.mark.django_db

LISTS = (
    "approvals", "audit/entries", "budgets", "dataset-versions", "datasets", "examinations", "keys",
    "licenses", "models", "models/income/examinations", "models/income/versions", "runs",
    "tenants", "usage", "usage/rollups",
)  # fmt: skip
POSITIONS = (
    b"p=Zhang-Wei", b"p=\0", b"p=%00", b"p=9999-99-99", b"p=" + b"9" * 400, b"p=\xff", b"p=nan",
    b"o=x", b"o=-1&r=1&p=",
)  # fmt: skip


@pytest.fixture
def shop() -> Shop:
    return make_shop()


def staff(shop: Shop, role: str) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(pk=getattr(shop.house, role).user_id))
    return client


@pytest.mark.parametrize("address", LISTS)
def test_a_cursor_that_is_none_is_the_callers_fault(shop: Shop, address: str) -> None:
    client = staff(shop, "owner")
    for position in POSITIONS:
        cursor = base64.b64encode(position).decode()
        response = client.get(f"/api/v1/{address}", {"cursor": cursor})
        assert response.status_code in {200, 400}, (position, response.content)
        if position == b"p=Zhang-Wei" and address != "tenants":  # a tenant's place is its name
            assert response.json()["code"] == "request.cursor_invalid"
        assert "Zhang" not in response.content.decode()
    for cursor in ("é", "%", "a", "====", "\0"):
        response = client.get(f"/api/v1/{address}", {"cursor": cursor})
        assert response.status_code in {200, 400}, (cursor, response.content)


def test_every_cursor_that_we_give_is_taken_back(shop: Shop) -> None:
    client = staff(shop, "owner")
    for address in LISTS:
        page = client.get(f"/api/v1/{address}", {"page_size": 1}).json()
        seen = len(page["results"])
        while page["next"]:
            response = client.get(page["next"])
            assert response.status_code == 200, response.content
            page = response.json()
            seen += len(page["results"])
        assert seen == len(client.get(f"/api/v1/{address}").json()["results"]), address


def test_an_entry_is_looked_up_by_its_id(shop: Shop) -> None:
    client = staff(shop, "auditor")
    before = AuditEntry.objects.filter(event="access.refused").count()
    for name in ("nonsense", "0", "00000000-0000-0000-0000-000000000000"):
        response = client.get(f"/api/v1/audit/entries/{name}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found"), name
    assert AuditEntry.objects.filter(event="access.refused").count() == before + 3


@pytest.mark.parametrize("name", ["event", "outcome"])
@pytest.mark.parametrize("wanted", ["\0", "Zhang Wei", "nothing.like_it"])
def test_a_filter_that_fits_nothing_finds_nothing(shop: Shop, name: str, wanted: str) -> None:
    response = staff(shop, "auditor").get("/api/v1/audit/entries", {name: wanted})
    assert (response.status_code, response.json()["results"]) == (200, [])


def test_there_is_one_format(shop: Shop) -> None:
    for wanted in ("xml", "api", "json"):
        assert staff(shop, "auditor").get("/api/v1/keys", {"format": wanted}).status_code == 200


@pytest.mark.parametrize(
    "cookie",
    [
        r'"\000\000\000\000\000\000\000\000\000"',
        "x" * 32,
        "a" * 33,
        "A" * 32,
        "名" * 32,
        "' or 1=1",
    ],
)
@pytest.mark.parametrize("address", ["/api/v1/keys", "/admin/login/"])
def test_a_session_that_django_never_gave_is_none(cookie: str, address: str) -> None:
    """PostgreSQL takes no NUL in a text, and Django unquotes one out of a cookie."""
    headers = {"Cookie": f"sessionid={cookie}".encode().decode("latin-1")}
    client = Client(raise_request_exception=False, headers=headers)
    assert client.get(address).status_code == (401 if "api" in address else 200)


def test_a_body_is_no_deeper_than_anybody_needs(shop: Shop) -> None:
    """Whatever walks a body may recur; how deep that goes must not depend on where it is called."""
    client = Client(
        raise_request_exception=False, headers={"Authorization": f"Bearer {shop.secret}"}
    )
    engineer = staff(shop, "engineer")
    run = {"dataset": "data-of-income-1", "target": "t", "purpose": "p", "epsilon": "1"}
    for depth in (DEEPEST + 1, 100, 300, 450, 900, 5_000):
        nested = "[" * depth + "]" * depth
        row = '{"row": {"age": ' + nested + "}}"
        config = json.dumps(run)[:-1] + ', "config": {"hidden": ' + nested + "}}"
        for sender, address, body in (
            (client, "models/income/predict", row),
            (engineer, "runs", config),
        ):
            response = sender.post(f"/api/v1/{address}", data=body, content_type="application/json")
            assert response.status_code == 400, (depth, address)
            assert response.json()["code"] == "request.malformed"


def test_no_pointer_is_the_callers_text(shop: Shop) -> None:
    """A name that looks like a name may be somebody's."""
    client = Client(headers={"Authorization": f"Bearer {shop.secret}"})
    for name in ("Zhang Wei 13800138000", "zhangwei", "张伟", "a/b~c"):
        response = client.post(
            "/api/v1/models/income/predict",
            data={"row": {**ROW, name: 1}},
            content_type="application/json",
        )
        assert response.json()["code"] == "predict.feature_unknown"
        assert response.json()["pointer"] == "/row"
        assert name not in response.content.decode()
