"""The pages of a version's quality: what they show, the check, and the contract's form."""

from typing import Any

import pytest
from django.test import Client

from governance.actions.quality import set_contract
from governance.models import DatasetVersion, QualityContract, QualityRun, User
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import make_version

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]


@pytest.fixture
def house() -> House:
    return make_house()


@pytest.fixture
def version(house: House) -> DatasetVersion:
    return make_version(house)


def signed_in(house: House, who: str, language: str = "en") -> Client:
    client = Client(headers={"accept-language": language})
    client.force_login(User.objects.get(pk=getattr(house, who).user_id))
    return client


def page(version: DatasetVersion, more: str = "") -> str:
    return f"/admin/governance/datasetversion/{version.pk}/{more}"


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", ("contract met", "Label balance", "&lt;=50K")), ("zh-hans", ("符合契约", "标签均衡"))],
)
def test_what_it_shows(
    house: House, version: DatasetVersion, language: str, said: tuple[str, ...]
) -> None:
    text = signed_in(house, "auditor", language).get(page(version)).content.decode()
    for part in said:
        assert part in text, part
    assert "check/" not in text  # an auditor has no button
    listed = signed_in(house, "auditor", language).get("/admin/governance/datasetversion/")
    assert said[0] in listed.content.decode()


def test_a_contract_is_written_checked_and_unmet(house: House, version: DatasetVersion) -> None:
    steward = signed_in(house, "steward")
    form = steward.get(page(version, "contract/")).content.decode()
    assert 'value="17"' in form  # derived from the declarations
    names = [row["name"] for row in version.plan.as_json()["columns"]]
    place = names.index("age")
    sent = {
        f"{place}.type": "integer", f"{place}.min": "70", "table.min_rows": "10",
        f"{names.index('sex')}.categories": "Female\r\nMale\r\n", "table.target": "income",
    }  # fmt: skip
    assert steward.post(page(version, "contract/"), sent).status_code == 302
    with across_tenants(reason="a test looks"):
        assert QualityContract.objects.get().body == {
            "columns": {
                "age": {"type": "integer", "min": 70.0},
                "sex": {"categories": ["Female", "Male"]},
            },
            "table": {"min_rows": 10, "target": "income"},
        }
    assert "not checked" in steward.get(page(version)).content.decode()
    assert steward.post(page(version, "check/")).status_code == 302
    shown = steward.get(page(version)).content.decode()
    assert "values below the minimum" in shown
    assert "contract not met" in shown


@pytest.mark.parametrize(
    ("sent", "pointer"),
    [({"6.min": "abc"}, "/columns/age/min"), ({"table.max_duplicates": "3"}, "/table/max")],
)
def test_a_term_that_cannot_be_read_is_named(
    house: House, version: DatasetVersion, sent: dict[str, str], pointer: str
) -> None:
    answer = signed_in(house, "steward").post(page(version, "contract/"), sent)
    assert answer.status_code == 422
    text = answer.content.decode()
    assert pointer in text
    assert f'value="{next(iter(sent.values()))}"' in text  # what was typed is still there


@pytest.mark.parametrize("who", ["officer", "auditor", "owner"])
def test_who_may_not(house: House, version: DatasetVersion, who: str) -> None:
    client = signed_in(house, who)
    assert client.get(page(version, "contract/")).status_code == 403
    assert client.post(page(version, "check/")).status_code == 403
    with across_tenants(reason="a test looks"):
        assert QualityRun.objects.count() == 1


def test_over_http(house: House, version: DatasetVersion) -> None:
    steward, auditor = signed_in(house, "steward"), signed_in(house, "auditor")
    address = f"/api/v1/dataset-versions/{version.pk}"
    told = auditor.get(f"{address}/quality").json()
    assert (told["passed"], told["contract"]["number"], told["drift"]) == (True, None, None)
    contract = auditor.get("/api/v1/datasets/people/contract").json()
    assert contract["body"]["columns"]["age"]["max"] == 90
    body = {"columns": {"age": {"min": 70}}}
    put: dict[str, Any] = {
        "path": "/api/v1/datasets/people/contract",
        "content_type": "application/json",
    }
    assert auditor.put(**put, data=body).status_code == 403
    assert steward.put(**put, data={"columns": {"x": {}}}).json()["code"] == (
        "quality.contract_column"
    )
    assert steward.put(**put, data=body).json()["number"] == 1
    assert auditor.get(f"{address}/quality").json()["passed"] is None
    assert auditor.post(f"{address}/quality").status_code == 403
    checked = steward.post(f"{address}/quality")
    assert checked.status_code == 201
    assert [breach["check"] for breach in checked.json()["breaches"]] == ["min"]
    assert auditor.get(f"{address}/drift").json()["from"] is None
    assert auditor.get(f"{address}/drift", {"from": "9"}).status_code == 404
    assert auditor.get(f"{address}/drift", {"from": "x"}).status_code == 422


def test_a_stranger_sees_nothing(house: House, version: DatasetVersion) -> None:
    stranger = signed_in(make_house("rival"), "steward")
    with tenant_scope(house.id):
        set_contract(house.steward, version.dataset, body={})
    for address in (
        page(version),
        f"/api/v1/dataset-versions/{version.pk}/quality",
        f"/api/v1/dataset-versions/{version.pk}/drift",
        f"/api/v1/datasets/{version.dataset_id}/contract",
    ):
        assert stranger.get(address).status_code == 404, address
