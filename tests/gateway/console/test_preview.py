"""The dataset page with the first rows on it: as shapes, and for who brings data in."""

import pytest
from django.test import Client

from audit.models import AuditEntry
from tests.factories.datasets import PEOPLE_CSV, upload
from tests.factories.people import House, make_house

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]


@pytest.fixture
def house() -> House:
    return make_house()


def page(house: House, who: str, encoding: str = "") -> tuple[int, str]:
    """The page that the button answers with."""
    dataset = upload(house, [PEOPLE_CSV.encode("gb18030")])
    client = Client(raise_request_exception=False)
    client.force_login(house.user(getattr(house, who)))
    response = client.post(
        f"/admin/governance/dataset/{dataset.pk}/preview/", {"encoding": encoding}
    )
    return response.status_code, response.content.decode()


def test_the_steward_sees_shapes(house: House) -> None:
    status, shown = page(house, "steward")
    assert status == 200
    assert "王〇〇" in shown
    assert "gb18030" in shown
    assert "王小明" not in shown
    assert "13800138000" not in shown


def test_an_encoding_that_does_not_fit_is_told(house: House) -> None:
    status, shown = page(house, "steward", "utf-8")
    assert status in {400, 422}
    assert "table.undecodable" in shown


@pytest.mark.parametrize("who", ["officer", "engineer", "auditor"])
def test_others_do_not(house: House, who: str) -> None:
    status, shown = page(house, who)
    assert status == 403
    assert "王〇〇" not in shown
    assert AuditEntry.objects.get(event="dataset.previewed").outcome == "denied"


def test_the_api_shows_the_same_and_has_the_file_read_anew(house: House) -> None:
    upload(house, [PEOPLE_CSV.encode("gb18030")])
    client = Client(raise_request_exception=False)
    client.force_login(house.user(house.steward))
    shown = client.post("/api/v1/datasets/people/preview", {}, content_type="application/json")
    assert (shown.status_code, shown.json()["encoding"]) == (200, "gb18030")
    assert shown.json()["rows"][0][0] == "王〇〇"
    asked = {"encoding": "gbk"}
    again = client.post("/api/v1/datasets/people/reread", asked, content_type="application/json")
    assert (again.status_code, again.json()["code"]) == (409, "dataset.busy")  # not profiled yet
