"""The short way of charged calls: from WSGI to `gateway.calls`, and nothing between.

A call needs no session, no language, no cookie and no form, and passing by what looks for them
costs more than the call itself. So a POST to a model that is of the ordinary shape (a key as Bearer
credentials, a JSON body of known length, no query) is answered here; everything else is Django's,
by the same `calls.answer`, with the same errors and the same headers. What decides anything about a
call stands in neither: a shape that is not recognized here only takes longer.

WSGI: PEP 3333.
"""

import functools
import io
import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections
from django.http import HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware

from audit.errors import DomainError
from gateway.addresses import client_address
from gateway.api import errors
from gateway.api.parsing import LARGEST_BODY, strict_json
from gateway.authentication import bearer
from gateway.idempotency import HEADER
from gateway.middleware import SecurityHeaders, request_id
from gateway.models import Feature
from governance.scoping import tenant_scope

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]

_ADDRESS: Final = re.compile(r"/api/v1/models/([A-Za-z0-9_-]{1,80})/(predict|explain)")
_JSON: Final = frozenset({"application/json", "application/json; charset=utf-8"})
_ACCEPTED: Final = frozenset({"", "*/*", "application/json"})
_UNUSUAL: Final = ("HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", "HTTP_CONTENT_ENCODING")
_IDEMPOTENCY: Final = "HTTP_" + HEADER.upper().replace("-", "_")
REFRESHED_EVERY: Final = 1.0  # seconds
_log: Final = logging.getLogger(__name__)


class Lane:
    """The WSGI application: calls of the ordinary shape, and `django` for all others."""

    def __init__(self, django: Wsgi) -> None:
        self._django = django

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        address = _ADDRESS.fullmatch(environ.get("PATH_INFO", ""))
        if address is None or not _ordinary(environ):
            return self._django(environ, start_response)
        _refreshed()
        with request_id(environ.get("HTTP_X_REQUEST_ID", "")) as chosen:
            status, headers, body = _answered(environ, address[1], Feature(address[2]))
        told = {
            **_headers(environ["wsgi.url_scheme"], environ.get(_proxy_header() or "", "")),
            **headers,
            "Content-Length": str(len(body)),
            "X-Request-Id": chosen,
        }
        start_response(f"{status.value} {status.phrase}", list(told.items()))
        return [body]


_thread: Final = threading.local()


def _refreshed() -> None:
    """As Django does between two requests: what grew old or broke is opened anew.

    Once a second and thread: it costs a question to the database, and a connection that breaks in
    between is found by the call itself, which then begins again (`gateway.committing`).
    """
    now = time.monotonic()
    if now - getattr(_thread, "refreshed", -math.inf) >= REFRESHED_EVERY:
        close_old_connections()
        _thread.refreshed = now


def _answered(
    environ: Environ, slug: str, feature: Feature
) -> tuple[HTTPStatus, dict[str, str], bytes]:
    # torch is loaded with the first call, not with the addresses.
    from gateway import calls  # noqa: PLC0415

    sent = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    try:
        actor = bearer(environ["HTTP_AUTHORIZATION"], client_address(environ))
        with tenant_scope(actor.tenant_id):
            answered = calls.answer(
                actor,
                slug,
                feature=feature,
                read_body=lambda: strict_json(sent),
                idempotency_key=environ.get(_IDEMPOTENCY),
            )
    except DomainError as error:
        told = errors.told(error)
        return told.status, told.headers, _json(told.body)
    except Exception as error:  # noqa: BLE001 - opaque outside, as Django's own handler is made to be
        # By its type alone: a text may quote what was sent.
        _log.error("a call failed: %s", type(error).__name__)
        _thread.refreshed = -math.inf  # it may have been the connection
        told = errors.internal()
        return told.status, told.headers, _json(told.body)
    headers = {"Content-Type": "application/json", **answered.headers}
    return HTTPStatus.OK, headers, _json(answered.body)


def _json(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _ordinary(environ: Environ) -> bool:
    length = environ.get("CONTENT_LENGTH", "")
    return (
        environ["REQUEST_METHOD"] == "POST"
        and not environ.get("QUERY_STRING")
        and environ.get("CONTENT_TYPE", "").lower() in _JSON
        and length.isascii()
        and length.isdigit()
        and len(length) <= len(str(LARGEST_BODY))
        and 0 < int(length) <= LARGEST_BODY
        and environ.get("HTTP_AUTHORIZATION", "")[:7].lower() == "bearer "
        and environ.get("HTTP_ACCEPT", "") in _ACCEPTED
        and not any(name in environ for name in _UNUSUAL)
        and _welcome(
            environ["wsgi.url_scheme"],
            environ.get("HTTP_HOST", ""),
            environ.get(_proxy_header() or "", ""),
        )
    )


def _proxy_header() -> str | None:
    """The header by which a trusted proxy says that it was asked over HTTPS."""
    told = settings.SECURE_PROXY_SSL_HEADER
    return None if told is None else told[0]


@functools.lru_cache(maxsize=256)
def _welcome(scheme: str, host: str, proxied: str) -> bool:
    """Whether Django would answer a request to this host over this scheme, and not redirect it."""
    request = _request(scheme, host, proxied)
    try:
        request.get_host()
    except DisallowedHost:
        return False
    return request.is_secure() or not settings.SECURE_SSL_REDIRECT


@functools.lru_cache(maxsize=16)
def _headers(scheme: str, proxied: str) -> dict[str, str]:
    """What the middleware adds to an answer of JSON, whichever it is."""
    answer: Any = lambda _request: HttpResponse(content_type="application/json")  # noqa: E731
    for layer in (XFrameOptionsMiddleware, SecurityHeaders, SecurityMiddleware):
        answer = layer(answer)
    response: HttpResponse = answer(
        _request(scheme, settings.ALLOWED_HOSTS[0].lstrip("."), proxied)
    )
    return dict(response.headers)


def _request(scheme: str, host: str, proxied: str) -> WSGIRequest:
    environ: Environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "443" if scheme == "https" else "80",
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(),
        "HTTP_HOST": host,
    }
    if proxied:
        environ[_proxy_header() or ""] = proxied
    return WSGIRequest(environ)
