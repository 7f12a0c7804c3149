"""Errors: problem+json for every cause, by kind, and never a word of what was sent."""

import io
import json

import pytest
from django.test import Client, override_settings
from rest_framework import exceptions, serializers

from audit.errors import DomainError, Kind
from gateway.api import errors
from gateway.api.errors import CONTENT_TYPE, STATUS, handle
from gateway.api.parsing import LARGEST_BODY, StrictJson
from gateway.errors import RequestError
from tests.factories.gateway import make_shop

SECRET = "Zhang Wei 13800138000"


class AnyError(DomainError):
    """One of ours."""

    code = "some.code"


def test_every_kind_has_a_status() -> None:
    assert set(STATUS) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_a_domain_error_is_a_problem(kind: Kind) -> None:
    class ThisError(AnyError):
        """Of one kind."""

    ThisError.kind = kind
    response = handle(ThisError("a sentence", pointer="/a/0"), {})
    assert response is not None
    assert response.content_type == CONTENT_TYPE
    assert response.status_code == STATUS[kind]
    assert response.data["code"] == "some.code"
    assert response.data["type"] == "urn:portcullis:problem:some.code"
    assert response.data["detail"] == "a sentence"
    assert response.data["pointer"] == "/a/0"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (exceptions.ParseError(SECRET), 400, "request.malformed"),
        (exceptions.NotAuthenticated(SECRET), 401, "auth.required"),
        (exceptions.PermissionDenied(SECRET), 403, "permission.denied"),
        (exceptions.NotFound(SECRET), 404, "not_found"),
        (exceptions.MethodNotAllowed(SECRET), 405, "http.method_not_allowed"),
        (exceptions.NotAcceptable(SECRET), 406, "http.not_acceptable"),
        (exceptions.UnsupportedMediaType(SECRET), 415, "http.media_type"),
        (exceptions.Throttled(7.5, SECRET), 429, "http.throttled"),
        (exceptions.ValidationError(SECRET), 422, "request.invalid"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_frameworks_errors_quote_nothing(
    error: exceptions.APIException, status: int, code: str
) -> None:
    response = handle(error, {})
    assert response is not None
    assert (response.status_code, response.data["code"]) == (status, code)
    assert "Zhang" not in json.dumps(response.data)
    assert response.headers.get("Retry-After") == ("8" if status == 429 else None)


def test_what_is_not_known_is_left_to_django() -> None:
    assert handle(RuntimeError(SECRET), {}) is None


def test_field_errors_are_pointers_and_codes() -> None:
    class Inner(serializers.Serializer):  # type: ignore[type-arg]  # a test's form
        mode = serializers.ChoiceField(["a"])

    class Form(serializers.Serializer):  # type: ignore[type-arg]  # as above
        rows = Inner(many=True)
        count = serializers.IntegerField(max_value=3)
        name = serializers.CharField()

    form = Form(data={"rows": [{"mode": "a"}, {"mode": SECRET}], "count": 4})
    assert not form.is_valid()
    response = handle(exceptions.ValidationError(form.errors), {})
    assert response is not None
    assert {(found["pointer"], found["code"]) for found in response.data["errors"]} == {
        ("/rows/1/mode", "invalid_choice"),
        ("/count", "max_value"),
        ("/name", "required"),
    }
    assert "Zhang" not in json.dumps(response.data)


@pytest.mark.django_db
class TestOverHttp:
    """What Django and DRF answer before our code is reached."""

    @pytest.mark.parametrize("address", ["/api/nothing", "/api/v1/nothing", "/v1/nothing", "/api/"])
    def test_an_address_that_is_not_there(self, address: str) -> None:
        response = Client().get(address)
        assert (response.status_code, response["Content-Type"]) == (404, CONTENT_TYPE)
        assert response.json()["code"] == "not_found"

    def test_the_console_keeps_its_pages(self) -> None:
        assert Client().get("/nothing")["Content-Type"].startswith("text/html")

    def test_a_method_that_is_not_there(self) -> None:
        shop = make_shop()
        headers = {"Authorization": f"Bearer {shop.secret}"}
        response = Client().delete("/api/v1/models/income/predict", headers=headers)
        assert (response.status_code, response["Content-Type"]) == (405, CONTENT_TYPE)
        assert response.json()["code"] == "http.method_not_allowed"

    def test_another_media_type(self) -> None:
        shop = make_shop()
        headers = {"Authorization": f"Bearer {shop.secret}"}
        response = Client().post(
            "/api/v1/models/income/predict", data="<a/>", content_type="text/xml", headers=headers
        )
        assert (response.status_code, response.json()["code"]) == (415, "http.media_type")

    @override_settings(ALLOWED_HOSTS=["elsewhere"])
    def test_another_host(self) -> None:
        response = Client(raise_request_exception=False).get("/api/v1/models")
        assert (response.status_code, response["Content-Type"]) == (400, CONTENT_TYPE)

    def test_unknown_fields_are_refused_by_place_not_by_name(self) -> None:
        shop = make_shop()
        client = Client()
        client.force_login(shop.house.user(shop.house.platform))
        response = client.post(
            "/api/v1/tenants",
            data={"slug": "a", "name": "A", "customer": True, SECRET: 1},
            content_type="application/json",
        )
        assert response.status_code == 422
        assert response.json()["errors"][0]["code"] == "unknown"
        assert "Zhang" not in response.content.decode()

    @pytest.mark.parametrize("name", ["..", "a b", "%2e%2e%2fetc", "x" * 81, "a%0d%0aX: y"])
    def test_names_that_are_no_names(self, name: str) -> None:
        assert Client().get(f"/api/v1/models/{name}").status_code == 404


@pytest.mark.parametrize("handler", ["bad_request", "permission_denied", "not_found"])
def test_djangos_handlers_answer_by_place(handler: str, rf: object) -> None:
    answer = getattr(errors, handler)
    api = rf.get("/api/v1/x")  # type: ignore[attr-defined]  # pytest-django's request factory
    assert answer(api, Exception(SECRET))["Content-Type"] == CONTENT_TYPE
    assert "Zhang" not in answer(api, Exception(SECRET)).content.decode()


@pytest.mark.django_db
def test_a_csrf_failure_answers_by_place(rf: object) -> None:
    response = errors.csrf_failure(rf.post("/api/v1/x"), SECRET)  # type: ignore[attr-defined]  # as above
    assert (response.status_code, response["Content-Type"]) == (403, CONTENT_TYPE)
    assert "Zhang" not in response.content.decode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "request.malformed"),
        (b"{", "request.malformed"),
        (b"[1,]", "request.malformed"),
        (b"NaN", "request.malformed"),
        (b"-Infinity", "request.malformed"),
        (b'{"a":1,"a":2}', "request.malformed"),
        (b'"\\ud800"', "request.malformed"),
        (b'"\xff"', "request.malformed"),
        (b"\xef\xbb\xbf1", "request.malformed"),
        (b"[" * 100_000, "request.malformed"),
        (b"9" * 5_000, "request.malformed"),
        (b" " * LARGEST_BODY + b"1", "http.body_too_large"),
    ],
    ids=[
        "empty", "open", "comma", "nan", "infinity", "twice", "surrogate", "bytes", "bom", "deep",
        "digits", "large",
    ],
)  # fmt: skip
def test_json_that_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        StrictJson().parse(io.BytesIO(body))
    assert caught.value.stable_code == code


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "中文 \x00", [], {"a": {"b": [1]}}])
def test_json_that_is_read(value: object) -> None:
    assert StrictJson().parse(io.BytesIO(json.dumps(value).encode())) == value
