"""Sources and fetches over HTTP and in the console."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from governance import leases
from governance.models import Dataset, Fetch
from governance.rbac import UserActor
from governance.scoping import across_tenants
from tests.factories.datasets import PEOPLE_CSV
from tests.factories.gateway import PURPOSE, Shop, make_shop

pytestmark = pytest.mark.django_db

PAGE = "/admin/governance/fetch/"


@pytest.fixture
def shop(settings: Any, tmp_path: Path) -> Shop:
    """A shop with a folder to fetch from."""
    (tmp_path / "people.csv").write_text(PEOPLE_CSV)
    settings.SOURCES = {"inbox": f"folder://{tmp_path}"}
    return make_shop()


def client(shop: Shop, actor: UserActor) -> Client:
    found = Client(raise_request_exception=False)
    found.force_login(shop.house.user(actor))
    return found


def body(**changed: Any) -> dict[str, Any]:
    """A request for a new dataset; None takes a field out."""
    whole = {"source": "inbox", "select": "", "name": "people", "purposes": [PURPOSE], **changed}
    return {name: value for name, value in whole.items() if value is not None}


def test_sources_are_told_without_their_addresses(shop: Shop) -> None:
    response = client(shop, shop.house.steward).get("/api/v1/sources")
    assert response.json() == {"results": [{"name": "inbox", "kind": "folder"}]}


def test_a_fetch_is_queued_and_followed(shop: Shop) -> None:
    steward = client(shop, shop.house.steward)
    with leases.doing_it_here():
        response = steward.post("/api/v1/fetches", body(), content_type="application/json")
    assert response.status_code == 202, response.content
    told = response.json()
    assert (told["state"], told["dataset"]) == ("waiting", None)
    leases.run_here(f"fetch:{told['id']}")
    assert steward.get(response["Location"]).json()["dataset"] == "people"
    assert client(shop, shop.house.officer).get(response["Location"]).status_code == 200


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"source": "nowhere"}, 422, "source.unknown"),
        ({"name": None, "purposes": None}, 422, "source.target_unclear"),
        ({"dataset": "people"}, 422, "source.target_unclear"),
        ({"dataset": "none", "name": None, "purposes": None}, 404, "not_found"),
        ({"purposes": []}, 403, "purpose.missing"),
        ({"select": "a\0b"}, 422, None),
        ({"select": 3.5}, 202, None),
        ({"url": "folder:///etc"}, 422, None),
    ],
)
def test_what_cannot_be_fetched_is_refused(
    shop: Shop, changed: dict[str, Any], status: int, code: str | None
) -> None:
    steward = client(shop, shop.house.steward)
    with leases.doing_it_here():
        response = steward.post("/api/v1/fetches", body(**changed), content_type="application/json")
    assert response.status_code == status, response.content
    assert code is None or response.json()["code"] == code


@pytest.mark.parametrize("who", ["officer", "engineer", "auditor", "platform"])
def test_who_may_not_upload_may_not_fetch(shop: Shop, who: str) -> None:
    person = client(shop, getattr(shop.house, who))
    response = person.post("/api/v1/fetches", body(), content_type="application/json")
    assert response.status_code == 403
    assert person.post(f"{PAGE}request/", body()).status_code == 403
    with across_tenants(reason="a test looks"):
        assert not Fetch.objects.exists()


def test_the_console_asks_and_shows(shop: Shop) -> None:
    steward = client(shop, shop.house.steward)
    assert "inbox" in steward.get(f"{PAGE}request/").content.decode()
    said = {**body(name="console"), "languages": ["zh", "en"]}
    with leases.doing_it_here():
        response = steward.post(f"{PAGE}request/", said)
    assert response.status_code == 302, response.content.decode()
    with across_tenants(reason="a test looks"):
        fetch = Fetch.objects.get()
    leases.run_here(fetch.reference)
    page = steward.get(response["Location"]).content.decode()
    with across_tenants(reason="a test looks"):
        dataset = Dataset.objects.get(name="console")
    assert f"/admin/governance/dataset/{dataset.pk}/" in page
    assert "inbox" in steward.get(PAGE).content.decode()


@pytest.mark.parametrize("lacking", ["name", "purposes", "source"])
def test_the_console_says_what_a_new_dataset_needs(shop: Shop, lacking: str) -> None:
    steward = client(shop, shop.house.steward)
    said = {**body(), "languages": ["zh", "en"]}
    del said[lacking]
    assert steward.post(f"{PAGE}request/", said).status_code == 422
    with across_tenants(reason="a test looks"):
        assert not Fetch.objects.exists()
