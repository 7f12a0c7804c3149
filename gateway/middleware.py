"""Around every request: an id for the logs, and headers that tell a browser what it may do."""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from audit import recording
from gateway import logs

GetResponse = Callable[[HttpRequest], HttpResponse]

# Hexadecimal alone, as a UUID or a trace id is: it stands in the log for ever, and a name must not.
_ACCEPTED_ID: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f-]{8,40}")
_SESSION_KEY: Final = re.compile(r"[a-z0-9]{32}")  # of django.contrib.sessions.backends.base

# The console's Alpine.js compiles its attributes, hence unsafe-eval; unfold and Swagger style
# inline.
_PAGE_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_DATA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"


class RequestId:
    """Give each request an id: the caller's `X-Request-Id` if it looks like one, or a new one."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Choose the id, answer, and send it back."""
        with request_id(request.headers.get("X-Request-Id", "")) as chosen:
            response = self._get_response(request)
        response["X-Request-Id"] = chosen
        return response


@contextmanager
def request_id(offered: str) -> Iterator[str]:
    """Choose a request's id, for log lines and entries alike until the request has ended."""
    # A free-form id would be a way to write into the logs.
    chosen = offered if _ACCEPTED_ID.fullmatch(offered) else uuid.uuid4().hex
    in_logs, in_entries = logs.request_id.set(chosen), recording.request_id.set(chosen)
    try:
        yield chosen
    finally:
        recording.request_id.reset(in_entries)
        logs.request_id.reset(in_logs)


class SessionCookie:
    """Take a session cookie that Django cannot have given for none.

    Django unquotes octal escapes, NUL among them, and looks up what comes out; PostgreSQL takes no
    NUL in a text, and the caller's cookie would be a fault of ours.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, without the cookie unless it looks like one of ours."""
        name = settings.SESSION_COOKIE_NAME
        if _SESSION_KEY.fullmatch(request.COOKIES.get(name, "")) is None:
            request.COOKIES.pop(name, None)
        return self._get_response(request)


class SecurityHeaders:
    """Content-Security-Policy, Permissions-Policy, and no caching of what one caller got."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, and add what the view left open."""
        response = self._get_response(request)
        page = response.get("Content-Type", "").startswith("text/html")
        response.setdefault("Content-Security-Policy", _PAGE_POLICY if page else _DATA_POLICY)
        response.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        response.setdefault("Cache-Control", "no-store")
        return response
