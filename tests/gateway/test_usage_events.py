"""Usage as CloudEvents: each once, in the log's order, to whom it concerns, and of nobody."""

import json
import re
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client

from audit.sequencer import sequence_once
from gateway import usage_events
from gateway.models import KeyMode
from gateway.rollups import roll_up
from gateway.usage_events import batch
from governance.models import User
from governance.rbac import UserActor
from governance.scoping import across_tenants
from tests.factories.gateway import Shop, charge, make_customer, make_key, make_license, make_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("home")]

ADDRESS = "/api/v1/usage/events"
_NEXT = re.compile(r'<([^>]+)>; rel="next"')


@pytest.fixture
def shop() -> Shop:
    made = make_shop()
    charge(made.secret, "abc")
    settle()
    return made


def settle() -> None:
    sequence_once()
    roll_up(span=7)


def by_key(secret: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {secret}"})


def by_person(actor: UserActor) -> Client:
    made = Client()
    made.force_login(User.objects.get(pk=actor.user_id))
    return made


def follow(client: Client, address: str = ADDRESS) -> tuple[list[str], str]:
    """Ids up to the first empty batch, by name, and where it would go on.

    By name: entries of one millisecond may enter the log in any order.
    """
    ids: list[str] = []
    while True:
        response = client.get(address)
        assert response.status_code == 200, response.content
        found = _NEXT.fullmatch(response["Link"])
        assert found is not None
        parts = urlsplit(found[1])
        address = f"{parts.path}?{parts.query}"
        events = response.json()
        if not events:
            return sorted(ids), address
        ids += [event["id"] for event in events]


def test_an_event_is_a_cloud_event(shop: Shop) -> None:
    response = by_key(shop.secret).get(ADDRESS)
    assert response["Content-Type"] == "application/cloudevents-batch+json"
    first = next(event for event in json.loads(response.content) if event["id"] == "a/predict")
    data = first.pop("data")
    assert first.pop("time").endswith("Z")
    assert first == {
        "specversion": "1.0",
        "type": "portcullis.usage.v1",
        "source": f"{settings.LOG_ORIGIN}/customers/{shop.customer.pk}",
        "id": "a/predict",
        "subject": f"license:{shop.license.pk}",
        "datacontenttype": "application/json",
    }
    assert set(data) == {"customer", "license", "sku", "units", "charged", "entry", "index"}
    assert (data["sku"], data["units"], data["charged"]) == ("predict", 1, True)


def test_a_consumer_goes_on_where_it_was(shop: Shop) -> None:
    client = by_key(shop.secret)
    ids, address = follow(client)
    assert ids == ["a/predict", "b/predict", "c/predict"]
    charge(make_key(shop.house, shop.license, mode=KeyMode.TEST).secret, ["d"])
    assert follow(client, address) == ([], address), "not before it is signed and rolled up"
    settle()
    more, later = follow(client, address)
    assert more == ["d/predict"]
    assert client.get(later).json() == []
    assert follow(client)[0] == [*ids, *more], "the same events by the same ids, again"


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_batches_of_any_size_give_each_event_once(shop: Shop, most: int) -> None:
    charge(shop.secret, "defgh")
    settle()
    licenses, cursor, places = {shop.license.pk}, 0, []
    with across_tenants(reason="a test looks"):
        while found := batch(licenses, cursor, most).events:
            places += [event["data"]["index"] for event in found]
            cursor = batch(licenses, cursor, most).next
    assert len(places) == len(set(places)) == 8
    assert places == sorted(places)


def test_a_batch_that_looks_through_too_much_goes_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "defg":
        charge(shop.secret, name)
        settle()
    monkeypatch.setattr(usage_events, "_RANGES", 2)
    ids, _ = follow(by_key(shop.secret))
    assert ids == [f"{name}/predict" for name in "abcdefg"]


def test_each_sees_their_own(shop: Shop) -> None:
    other, admin = make_customer("bolt")
    second = make_license(shop.house, other, shop.version.model)
    key = make_key(shop.house, second)
    charge(key.secret, "ax")  # the first customer called something "a" as well
    settle()
    mine, theirs = ["a/predict", "b/predict", "c/predict"], ["a/predict", "x/predict"]
    assert follow(by_key(key.secret))[0] == follow(by_person(admin))[0] == theirs
    assert follow(by_person(shop.admin))[0] == mine
    assert follow(by_person(shop.house.owner))[0] == sorted(mine + theirs)
    everything = by_person(shop.house.owner).get(ADDRESS).json()
    assert len({(event["source"], event["id"]) for event in everything}) == 5
    stranger = make_customer("nobody")[1]
    assert follow(by_person(stranger))[0] == []


@pytest.mark.parametrize("cursor", ["-1", "x", "1e3", "9" * 16, "9" * 400, "%00", "٣", "1 "])
def test_a_cursor_that_is_none(shop: Shop, cursor: str) -> None:
    response = by_key(shop.secret).get(f"{ADDRESS}?cursor={cursor}")
    assert response.status_code in {400, 422}
    assert response.json()["code"] == "request.cursor_invalid"
    assert response["Content-Type"] == "application/problem+json"


def test_a_cursor_ahead_of_the_log_waits(shop: Shop) -> None:
    assert follow(by_key(shop.secret), f"{ADDRESS}?cursor=99999") == ([], f"{ADDRESS}?cursor=99999")


def test_roles(shop: Shop) -> None:
    assert by_person(shop.house.engineer).get(ADDRESS).status_code == 403
    assert Client().get(ADDRESS).status_code == 401
