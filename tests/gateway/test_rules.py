"""A tenant's own rules over HTTP and the command line: listed, tried, added."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from governance.rbac import UserActor
from tests.factories.datasets import upload
from tests.factories.people import House, make_house

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]

ADDRESS = "/api/v1/recognition-rules"
RULES: dict[str, Any] = {
    "allow": [{"text": "中国银行"}],
    "deny": [{"text": "王小明", "entity": "PERSON"}],
    "patterns": [{"entity": "STAFF_NO", "pattern": r"E\d{4}", "check": ""}],
}
CSV = "code,note\nE0001,王小明来电\nE0002,无\n"


@pytest.fixture
def house() -> House:
    return make_house()


def client(house: House, actor: UserActor) -> Client:
    found = Client(raise_request_exception=False)
    found.force_login(house.user(actor))
    return found


def post(house: House, actor: UserActor, address: str, body: Any) -> Any:
    return client(house, actor).post(address, data=body, content_type="application/json")


def test_an_edition_is_added_and_listed_without_its_terms(house: House) -> None:
    made = post(house, house.steward, ADDRESS, RULES)
    assert made.status_code == 201, made.content
    listed = client(house, house.officer).get(ADDRESS)
    (edition,) = listed.json()["results"]
    assert edition == made.json()
    assert (edition["number"], edition["finds"], edition["allows"]) == (1, 2, 1)
    assert edition["version"] == f"rules-1-{edition['digest'][:12]}"
    assert "王小明" not in listed.content.decode()
    again = post(house, house.steward, ADDRESS, RULES)
    assert (again.status_code, again.json()["code"]) == (409, "rules.unchanged")


def test_rules_are_tried_on_a_dataset_and_on_a_text(house: House) -> None:
    upload(house, CSV, subject_column="", declarations={})
    tried = post(house, house.steward, f"{ADDRESS}/try", {"rules": RULES, "dataset": "people"})
    assert tried.status_code == 200, tried.content
    assert [c["found"] for c in tried.json()["columns"]] == [{"STAFF_NO": 2}, {"PERSON": 1}]
    assert "王小明" not in tried.content.decode()
    pasted = post(house, house.steward, f"{ADDRESS}/try", {"rules": RULES, "text": "找王小明"})
    assert pasted.json()["columns"][0]["samples"] == ["汉⟦汉汉汉⟧"]


@pytest.mark.parametrize(
    ("who", "body", "status", "code"),
    [
        ("officer", RULES, 403, "permission.role_missing"),
        ("steward", {"patterns": [{"entity": "STAFF_NO", "pattern": "("}]}, 422,
         "rules.pattern_invalid"),
        ("steward", {"deny": [{"text": "x", "entity": "PERSON"}]}, 422, "rules.term_invalid"),
        ("steward", {"other": []}, 422, "request.invalid"),
    ],
)  # fmt: skip
def test_what_is_refused(house: House, who: str, body: Any, status: int, code: str) -> None:
    answer = post(house, getattr(house, who), ADDRESS, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not client(house, house.officer).get(ADDRESS).json()["results"]


def test_the_engineer_does_not_see_the_editions(house: House) -> None:
    assert client(house, house.engineer).get(ADDRESS).status_code == 403


def command(*words: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("recognition_rules", *words, "--as", "house-steward", "--json", stdout=out)
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def test_the_command_tries_adds_and_lists(house: House, tmp_path: Path) -> None:
    upload(house, CSV, subject_column="", declarations={})
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(RULES))
    assert command("--file", str(file), "--try", "people")["rows"] == 2
    assert command("--file", str(file), "--text", "E0001")["columns"][0]["found"] == {"STAFF_NO": 1}
    assert command()["editions"] == []
    added = command("--file", str(file), "--add")
    assert command()["editions"] == [added]
    file.write_text("{")
    with pytest.raises(SystemExit) as ended:
        command("--file", str(file), "--add")
    assert ended.value.code == 2
