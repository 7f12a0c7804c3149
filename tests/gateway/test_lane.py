"""The short way and Django's give the same answers; what is out of the ordinary is Django's."""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections

from gateway import serving
from gateway.api.parsing import LARGEST_BODY
from gateway.lane import Lane
from tests.factories.gateway import ROW, Shop, make_shop

pytestmark = pytest.mark.django_db(transaction=True)

# Of an answer, and different for each.
VOLATILE = {"prediction", "receipt", "request", "explanation"}
# What only a page of Django's adds; none of it protects anything in an answer to a program.
OF_DJANGO = {"Allow", "Vary", "Content-Language", "Content-Length", "X-Request-Id"}


@pytest.fixture
def shop() -> Shop:
    return make_shop()


@pytest.fixture(autouse=True)
def _closed() -> Iterable[None]:
    yield
    connections.close_all()


@dataclass(frozen=True)
class Answer:
    status: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def stable(self) -> tuple[str, dict[str, str], dict[str, Any]]:
        return (
            self.status,
            {name: value for name, value in self.headers.items() if name not in OF_DJANGO},
            {name: value for name, value in self.body.items() if name not in VOLATILE},
        )


def ask(application: Any, secret: str, *, body: bytes | None = None, **environ: str) -> Answer:
    sent = json.dumps({"row": ROW}).encode() if body is None else body
    told: list[Any] = []
    parts = application(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/api/v1/models/income/predict",
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "testserver",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(sent)),
            "HTTP_AUTHORIZATION": f"Bearer {secret}",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(sent),
            "wsgi.errors": io.StringIO(),
            **environ,
        },
        lambda status, headers: told.append((status, dict(headers))),
    )
    [(status, headers)] = told
    content = b"".join(parts)
    assert int(headers["Content-Length"]) == len(content)
    return Answer(status, headers, json.loads(content))


def nobody(_environ: object, _start: object) -> Iterable[bytes]:
    raise AssertionError("this call is of the ordinary shape")


@pytest.mark.parametrize(
    ("environ", "body", "status"),
    [
        ({}, None, "200 OK"),
        ({"PATH_INFO": "/api/v1/models/income/explain"}, None, "200 OK"),
        ({"HTTP_ACCEPT": "*/*"}, None, "200 OK"),
        ({"PATH_INFO": "/api/v1/models/other/predict"}, None, "404 Not Found"),
        ({"HTTP_IDEMPOTENCY_KEY": "two words"}, None, "422 Unprocessable Entity"),
        ({}, b"{", "400 Bad Request"),
        ({}, b'{"row": {}, "row": {}}', "400 Bad Request"),
        ({}, b"[" * 100 + b"]" * 100, "400 Bad Request"),
        ({}, b"\xff", "400 Bad Request"),
        ({}, b'{"row": {"age": NaN}}', "400 Bad Request"),
        ({}, b'{"row": {}}', "422 Unprocessable Entity"),
        ({}, b'{"row": {}, "more": 1}', "422 Unprocessable Entity"),
        ({"HTTP_AUTHORIZATION": "Bearer pck_live_nonsense"}, None, "401 Unauthorized"),
    ],
)
def test_both_ways_answer_alike(
    shop: Shop, environ: dict[str, str], body: bytes | None, status: str
) -> None:
    short, long = (
        ask(application, shop.secret, body=body, **environ)
        for application in (Lane(nobody), WSGIHandler())
    )
    assert short.status == status
    assert short.stable == long.stable
    assert short.headers["X-Content-Type-Options"] == "nosniff"
    assert short.headers["Cache-Control"] == "no-store"


def test_both_ways_tell_limits_alike() -> None:
    limited = make_shop(rate=1, burst=2, quota=100)
    told = [ask(way, limited.secret) for way in (Lane(nobody), WSGIHandler())]
    told += [ask(way, limited.secret) for way in (Lane(nobody), WSGIHandler())]
    assert [one.status[:3] for one in told] == ["200", "200", "429", "429"]
    fields = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After")
    assert [[one.headers.get(name) for name in fields[:2]] for one in told] == [
        ["2", "1"], ["2", "0"], ["2", "0"], ["2", "0"],
    ]  # fmt: skip
    short, long = told[2:]
    assert short.stable == long.stable
    assert short.body["code"] == "limit.rate_exceeded"
    assert short.headers["Retry-After"] == "1"
    assert 1 <= int(short.headers["RateLimit-Reset"]) <= 2
    assert "Retry-After" not in told[0].headers


@pytest.mark.parametrize(
    "environ",
    [
        {"REQUEST_METHOD": "GET"},
        {"QUERY_STRING": "format=html"},
        {"CONTENT_TYPE": "text/plain"},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": "0"},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "٣"},
        {"CONTENT_LENGTH": str(LARGEST_BODY + 1)},
        {"CONTENT_LENGTH": "9" * 5000},
        {"HTTP_AUTHORIZATION": "Basic abc"},
        {"HTTP_AUTHORIZATION": ""},
        {"HTTP_ACCEPT": "text/html"},
        {"HTTP_HOST": "evil.example"},
        {"HTTP_HOST": ""},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"HTTP_CONTENT_ENCODING": "gzip"},
        {"PATH_INFO": "/api/v1/models/income/predict/"},
        {"PATH_INFO": "/api/v1/models/../predict"},
        {"PATH_INFO": "/api/v1/models/income/predict\n"},
        {"PATH_INFO": "/api/v1/models"},
    ],
)
def test_what_is_out_of_the_ordinary_is_djangos(environ: dict[str, str]) -> None:
    passed: list[object] = []

    def django(environ: object, _start: object) -> Iterable[bytes]:
        passed.append(environ)
        return []

    Lane(django)(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/api/v1/models/income/predict",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": "2",
            "HTTP_AUTHORIZATION": "Bearer x",
            "HTTP_HOST": "testserver",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(b"{}"),
            **environ,
        },
        lambda *_: None,
    )
    assert len(passed) == 1


def test_plain_http_is_redirected_where_https_is_asked_for(settings: Any) -> None:
    from gateway import lane

    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    lane._welcome.cache_clear()
    try:
        assert not lane._welcome("http", "testserver", "")
        assert not lane._welcome("http", "testserver", "http")
        assert lane._welcome("http", "testserver", "https")
        assert lane._welcome("https", "testserver", "https")
    finally:
        lane._welcome.cache_clear()


def test_a_fault_of_ours_is_opaque(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(ROW["education"])

    monkeypatch.setattr(serving, "scores", fail)
    answer = ask(Lane(nobody), shop.secret)
    assert answer.status == "500 Internal Server Error"
    assert answer.body["code"] == "internal"
    assert ROW["education"] not in json.dumps(answer.body)


def test_a_request_id_of_the_callers_is_kept_if_it_is_one(shop: Shop) -> None:
    own = "0123456789abcdef0123456789abcdef"
    assert ask(Lane(nobody), shop.secret, HTTP_X_REQUEST_ID=own).headers["X-Request-Id"] == own
    other = ask(Lane(nobody), shop.secret, HTTP_X_REQUEST_ID="Jane Doe").headers["X-Request-Id"]
    assert other != "Jane Doe"
