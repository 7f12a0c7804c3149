"""What surrounds every response: an id, and headers that tell a browser what it may do."""

import pytest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client, RequestFactory

from audit import recording
from gateway import logs
from gateway.middleware import RequestId, SecurityHeaders


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        ("0f8fad5b-d9cb-469f-a165-70867728950e", True),
        ("4bf92f3577b34da6a3ce929d0e0e4736", True),
        ("trace_00000001", False),
        ("ZhangSan-13800138000", False),
        ("short", False),
        ("x" * 65, False),
        ("line\nbreak-line", False),
        ("名字名字名字名字名字", False),
        ("", False),
    ],
)
def test_request_id(offered: str, kept: bool, rf: RequestFactory) -> None:  # noqa: FBT001 - a column
    seen: list[str | None] = []

    def view(_request: HttpRequest) -> HttpResponse:
        seen.extend((logs.request_id.get(), recording.request_id.get()))
        return HttpResponse()

    response = RequestId(view)(rf.get("/", headers={"X-Request-Id": offered}))
    assert (response["X-Request-Id"] == offered) is kept
    assert seen == [response["X-Request-Id"]] * 2
    assert logs.request_id.get() is recording.request_id.get() is None


def test_request_id_is_put_away_after_an_error(rf: RequestFactory) -> None:
    def view(_request: HttpRequest) -> HttpResponse:
        raise LookupError

    with pytest.raises(LookupError):
        RequestId(view)(rf.get("/"))
    assert logs.request_id.get() is recording.request_id.get() is None


@pytest.mark.parametrize(
    ("response", "default"),
    [(HttpResponse("<p>"), "default-src 'self'"), (JsonResponse({}), "default-src 'none'")],
)
def test_headers(response: HttpResponse, default: str, rf: RequestFactory) -> None:
    answered = SecurityHeaders(lambda _request: response)(rf.get("/"))
    assert answered["Content-Security-Policy"].startswith(default)
    assert "frame-ancestors 'none'" in answered["Content-Security-Policy"]
    assert "'unsafe-inline'" not in answered["Content-Security-Policy"].split("style-src")[0]
    assert answered["Cache-Control"] == "no-store"


def test_a_view_may_be_stricter(rf: RequestFactory) -> None:
    def view(_request: HttpRequest) -> HttpResponse:
        return HttpResponse(headers={"Content-Security-Policy": "default-src 'none'"})

    answered = SecurityHeaders(view)(rf.get("/"))
    assert answered["Content-Security-Policy"] == "default-src 'none'"


@pytest.mark.django_db
def test_headers_of_the_login_page(client: Client) -> None:
    response = client.get("/admin/login/")
    assert response.status_code == 200
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert "script-src 'self' 'unsafe-eval';" in response["Content-Security-Policy"]


@pytest.mark.django_db
def test_login_page_needs_no_inline_script(client: Client) -> None:
    """The policy forbids them, so one would be dead."""
    page = client.get("/admin/login/").content.decode()
    for script in page.split("<script")[1:]:
        assert "src=" in script.split(">")[0], script[:200]
    assert "onclick=" not in page


@pytest.mark.django_db
@pytest.mark.parametrize(("language", "word"), [("zh-hans", "登录"), ("en", "Log in")])
def test_login_page_speaks_the_language(client: Client, language: str, word: str) -> None:
    page = client.get("/admin/login/", headers={"Accept-Language": language})
    assert word in page.content.decode()
