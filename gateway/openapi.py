"""What drf-spectacular cannot see: that every address answers errors as problems."""

from typing import Any, Final

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension

from gateway.api.errors import CONTENT_TYPE
from gateway.keys import PATTERN

_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; nothing in it was sent by the caller.",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "examples": ["license.expired"]},
        "detail": {"type": "string"},
        "request": {"type": ["string", "null"]},
        "pointer": {"type": "string", "description": "RFC 6901: the field to blame."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
                "required": ["pointer", "code", "detail"],
            },
        },
    },
    "required": ["type", "title", "status", "code", "detail", "request"],
}
_EVERYWHERE: Final = {
    "400": "The request cannot be read.",
    "401": "No credentials, or none that count.",
    "403": "The license, a role, a purpose or an approval does not allow it.",
    "405": "The address has no such method.",
    "406": "Another media type than JSON was asked for.",
    "500": "A fault of ours.",
}
_WITH_NAME: Final = {"404": "Not there, or not yours to know of."}
_WITH_BODY: Final = {
    "404": "Something that the body names is not there, or not yours to know of.",
    "409": "The state does not allow it now.",
    "413": "The body is too large.",
    "415": "The body has another media type.",
    "422": "A field is missing or wrong.",
    "429": "A rate or a quota is used up; `Retry-After` says when to come again.",
}


def document_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the problem schema, and to each operation the problems that it may answer."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    for address, operations in result["paths"].items():
        if not address.startswith("/api/v1/"):
            continue
        for verb, operation in operations.items():
            problems = dict(_EVERYWHERE)
            if verb == "post":
                problems |= _WITH_BODY
            if "{" in address:
                problems |= _WITH_NAME
            for status, description in problems.items():
                operation["responses"].setdefault(status, _response(description))
            # By the web server, before us, in words of its own.
            operation["responses"].setdefault("414", {"description": "The address is too long."})
    return result


def _response(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {CONTENT_TYPE: {"schema": schema}}}


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """`Authorization: Bearer pck_…` in the document."""

    target_class = "gateway.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:  # noqa: ARG002  # theirs
        """The security scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": PATTERN}


class SessionScheme(OpenApiAuthenticationExtension):
    """The console's session in the document."""

    target_class = "gateway.authentication.StaffSession"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:  # noqa: ARG002  # theirs
        """The security scheme."""
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
