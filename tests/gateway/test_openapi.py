"""The document is valid OpenAPI 3.1, needs no other host, and says what the doors answer."""

import re
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.keys import PATTERN, generate
from gateway.models import KeyMode
from governance.models import User
from governance.scoping import tenant_scope
from tests.factories.gateway import ROW, make_shop
from training.actions.models import withdraw_model

CONTENT = "application/problem+json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document).validate()


def test_no_warning_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    """drf-spectacular guesses and says so on stderr; nothing here is guessed."""
    from drf_spectacular.drainage import reset_generator_stats

    reset_generator_stats()
    SchemaGenerator().get_schema(request=None, public=True)
    assert "Warning" not in capsys.readouterr().err


def test_every_operation_documents_its_problems(document: dict[str, Any]) -> None:
    for address, operations in document["paths"].items():
        for verb, operation in operations.items():
            problems = {
                status
                for status, response in operation["responses"].items()
                if CONTENT in response.get("content", {})
            }
            assert {"401", "403", "500"} <= problems, (verb, address)
            if verb == "post":
                assert {"409", "413", "415", "422", "429"} <= problems, address
            if "{" in address:
                assert "404" in problems, address
            assert operation.get("description"), (verb, address)


def test_every_operation_has_one_name(document: dict[str, Any]) -> None:
    names = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]
    assert len(names) == len(set(names))


def test_both_ways_to_sign_in_are_documented(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert schemes["apiKey"]["scheme"] == "bearer"
    assert re.fullmatch(PATTERN, generate(KeyMode.TEST).text)
    assert schemes["session"]["in"] == "cookie"


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_an_answer_is_what_the_document_says(document: dict[str, Any], verb: str) -> None:
    from jsonschema import Draft202012Validator

    shop = make_shop()
    response = Client().post(
        f"/api/v1/models/income/{verb}",
        data={"row": ROW},
        content_type="application/json",
        headers={"Authorization": f"Bearer {shop.secret}"},
    )
    schema = {"$ref": "#/components/schemas/Predicted", "components": document["components"]}
    Draft202012Validator(schema).validate(response.json())


@pytest.mark.django_db
def test_a_problem_is_what_the_document_says(document: dict[str, Any]) -> None:
    from jsonschema import Draft202012Validator

    schema = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    for address in ("/api/v1/tenants", "/api/v1/nothing", "/api/nothing"):
        Draft202012Validator(schema).validate(Client().get(address).json())


@pytest.mark.django_db
def test_the_pages_need_no_other_host() -> None:
    schema, docs = Client().get("/api/schema"), Client().get("/api/docs")
    assert (schema.status_code, docs.status_code) == (200, 200)
    assert not re.search(r"(?:src|href)=\"https?://", docs.content.decode())


@pytest.mark.django_db
@pytest.mark.parametrize("released", [True, False], ids=["released", "withdrawn"])
def test_every_read_is_what_the_document_says(document: dict[str, Any], released: bool) -> None:  # noqa: FBT001 - a column
    from jsonschema import Draft202012Validator

    shop = make_shop()
    if not released:
        with tenant_scope(shop.house.id):
            withdraw_model(shop.house.officer, shop.version)
    client = Client()
    client.force_login(User.objects.get(pk=shop.house.owner.user_id))
    checked = 0
    for address, operations in document["paths"].items():
        if "get" not in operations or address == "/api/v1/receipts/{prediction}":
            continue
        listed = address.split("{", maxsplit=1)[0].rstrip("/")
        found = client.get(listed).json()
        rows = [] if isinstance(found, list) else found.get("results", [])
        if "{" in address and not rows:
            continue
        names = (
            [rows[0][name] for name in ("public_id", "slug", "license", "id") if name in rows[0]]
            if rows
            else [""]
        )
        first = address.replace("{number}", "1")  # of the model's versions
        told = client.get(re.sub(r"\{\w+\}", str(names[0]), first))
        assert told.status_code == 200, address
        schema = operations["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": document["components"]}).validate(told.json())
        checked += 1
    assert checked >= 15
