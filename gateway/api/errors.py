"""Every error of the API as `application/problem+json` (RFC 9457), with a stable `code`.

    {"type": "urn:portcullis:problem:license.expired", "title": "Forbidden", "status": 403,
     "code": "license.expired", "detail": "…", "request": "…",
     "pointer": "/row/age"?, "errors": […]?}

No member ever holds what was sent: sentences are ours, and a field is named by where it is.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import csrf, defaults
from rest_framework import exceptions
from rest_framework.exceptions import ErrorDetail
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import set_rollback

from audit.errors import DomainError, Kind
from audit.recording import request_id
from gateway.authentication import REALM
from gateway.errors import GatewayError, OverloadedError, RowsError
from gateway.refusals import REFUSALS

CONTENT_TYPE: Final = "application/problem+json"

_TYPE: Final = "Content-Type"
STATUS: Final[dict[Kind, HTTPStatus]] = {
    Kind.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Kind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Kind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Kind.REFUSED: HTTPStatus.FORBIDDEN,
    Kind.CONFLICT: HTTPStatus.CONFLICT,
    Kind.TOO_MANY: HTTPStatus.TOO_MANY_REQUESTS,
    Kind.FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
}

# DRF's own errors, which come before or around our code. Their texts quote what was sent.
_FRAMEWORK: Final[dict[type[Exception], tuple[str, str]]] = {
    exceptions.ParseError: ("request.malformed", "the body is not well-formed"),
    exceptions.NotAuthenticated: ("auth.required", "sign in, or send an API key"),
    exceptions.AuthenticationFailed: ("auth.required", "sign in, or send an API key"),
    exceptions.PermissionDenied: ("permission.denied", "you may not do this"),
    exceptions.NotFound: ("not_found", "there is nothing here"),
    exceptions.MethodNotAllowed: ("http.method_not_allowed", "this address has no such method"),
    exceptions.NotAcceptable: ("http.not_acceptable", "answers are JSON"),
    exceptions.UnsupportedMediaType: ("http.media_type", "this address takes another media type"),
    exceptions.Throttled: ("http.throttled", "too many requests"),
    exceptions.ValidationError: ("request.invalid", "a field is missing or wrong"),
}
# Sentences for the codes of DRF's field errors.
_FIELDS: Final[dict[str, str]] = {
    "required": "this field is required",
    "null": "this field may not be null",
    "blank": "this field may not be empty",
    "empty": "this field may not be empty",
    "invalid": "this value is not valid",
    "invalid_choice": "this is not one of the allowed values",
    "max_length": "this value is too long",
    "min_length": "this value is too short",
    "max_value": "this number is too large",
    "min_value": "this number is too small",
    "not_a_list": "this is not a list",
    "max_string_length": "this number is too long",
    "unknown": "there is no such field",
}


def problem(
    status: int, code: str, detail: str, *, pointer: str | None = None, **more: Any
) -> dict[str, Any]:
    """The members of one problem."""
    body: dict[str, Any] = {
        "type": f"urn:portcullis:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
        "request": request_id.get(),
    }
    if pointer is not None:
        body["pointer"] = pointer
    return body | more


# Where the kind alone would say too little to an HTTP client.
_BY_CODE: Final = {
    "request.malformed": HTTPStatus.BAD_REQUEST,
    "request.cursor_invalid": HTTPStatus.BAD_REQUEST,
    "request.rows_too_many": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "callfile.too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "http.body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "upload.too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "http.media_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "serving.overloaded": HTTPStatus.SERVICE_UNAVAILABLE,
}


@dataclass(frozen=True)
class Told:
    """A problem as it is sent."""

    status: HTTPStatus
    body: dict[str, Any]
    headers: dict[str, str]


def told(error: DomainError) -> Told:
    """How an error of ours is answered; what is not authenticated is told how to be."""
    status = _BY_CODE.get(error.stable_code, STATUS[error.kind])
    body = problem(status, error.stable_code, error.detail, pointer=error.pointer)
    if isinstance(error, RowsError):
        body["errors"] = [asdict(fault) for fault in error.faults]
    headers = {"WWW-Authenticate": REALM} if status is HTTPStatus.UNAUTHORIZED else {}
    if isinstance(error, OverloadedError):
        headers["Retry-After"] = str(error.retry_after)  # RFC 9110, 10.2.3
    own = error.headers if isinstance(error, GatewayError) else {}
    return Told(status, body, {_TYPE: CONTENT_TYPE, **headers, **own})


def internal() -> Told:
    """How a fault of ours is answered: opaque; the log has the rest, under the request's id."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    body = problem(status, "internal", "something went wrong on our side")
    return Told(status, body, {_TYPE: CONTENT_TYPE})


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every error that is somebody's becomes a problem; ours stay ours.

    What is not known here is a fault of ours: None lets Django log it, and answer `server_error`.
    """
    set_rollback()
    if isinstance(error, DomainError):
        found = told(error)
        return Response(
            found.body,
            status=found.status,
            headers={name: value for name, value in found.headers.items() if name != _TYPE},
            content_type=CONTENT_TYPE,
        )
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, DjangoPermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    code, detail = _FRAMEWORK.get(type(error), ("request.invalid", "the request is not valid"))
    status = HTTPStatus(error.status_code)
    more: dict[str, Any] = {}
    if isinstance(error, exceptions.ValidationError):
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        more["errors"] = list(_field_errors(error.detail))
    headers = _challenge(context) if status is HTTPStatus.UNAUTHORIZED else {}
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return _response(problem(status, code, detail, **more), headers)


def _response(body: dict[str, Any], headers: dict[str, str]) -> Response:
    return Response(body, status=body["status"], headers=headers, content_type=CONTENT_TYPE)


def _challenge(context: dict[str, Any]) -> dict[str, str]:
    view, request = context.get("view"), context.get("request")
    header = None if view is None else view.get_authenticate_header(request)
    return {} if header is None else {"WWW-Authenticate": header}


def _field_errors(found: Any, pointer: str = "") -> Iterator[dict[str, str]]:
    """DRF's nested errors, flat: a pointer, a code and our sentence; never DRF's text."""
    match found:
        case ErrorDetail():
            code = found.code or "invalid"
            sentence = _FIELDS.get(code, _FIELDS["invalid"])
            yield {"pointer": pointer, "code": code, "detail": sentence}
        case dict():
            for name, inner in found.items():
                whole = name == api_settings.NON_FIELD_ERRORS_KEY
                yield from _field_errors(inner, pointer if whole else f"{pointer}/{name}")
        case list():
            for place, inner in enumerate(found):
                own = pointer if isinstance(inner, ErrorDetail) else f"{pointer}/{place}"
                yield from _field_errors(inner, own)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler400`: what Django refuses before a view is reached."""
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    return _plain(HTTPStatus.BAD_REQUEST, "request.malformed", "the request is not valid")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler403`."""
    if not _is_api(request):
        return defaults.permission_denied(request, exception)
    return _plain(HTTPStatus.FORBIDDEN, "permission.denied", "you may not do this")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler404`: an address that is nobody's."""
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    return _plain(HTTPStatus.NOT_FOUND, "not_found", "there is nothing here")


def server_error(request: HttpRequest) -> HttpResponse:
    """`handler500`: one opaque answer; the log has the rest, under the request's id."""
    if not _is_api(request):
        return defaults.server_error(request)
    found = internal()
    return JsonResponse(found.body, status=found.status, content_type=CONTENT_TYPE)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """`CSRF_FAILURE_VIEW`."""
    REFUSALS.note("auth.csrf_failed")
    if not _is_api(request):
        return csrf.csrf_failure(request, reason)
    return _plain(HTTPStatus.FORBIDDEN, "auth.csrf_failed", "the CSRF token is missing or wrong")


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith(("/api/", "/v1/"))


def _plain(status: HTTPStatus, code: str, detail: str) -> HttpResponse:
    return JsonResponse(problem(status, code, detail), status=status, content_type=CONTENT_TYPE)
