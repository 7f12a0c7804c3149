"""JSON as the API takes it: bounded, one meaning, and nothing that cannot be written down again."""

import json
from collections.abc import Mapping
from typing import IO, Any, Final

from django.conf import settings
from rest_framework.parsers import BaseParser

from gateway.errors import RequestError

LARGEST_BODY: Final = 1024 * 1024  # bytes; rows and forms are far smaller, files take another door
DEEPEST: Final = 32  # objects and lists within one another; forms need five


class TooLargeError(RequestError):
    """The body is larger than this address takes."""

    code = "http.body_too_large"


class StrictJson(BaseParser):
    """RFC 8259 without the parts that two readers read differently (RFC 7493, I-JSON).

    Refused: a body over `LARGEST_BODY`, bytes that are not UTF-8, a name twice in one object, NaN
    and the infinities, a lone surrogate, nesting past `DEEPEST`: what walks a value later recurs on
    a stack that is deeper than ours. DRF's own parser reads a body of any size.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002  # BaseParser's signature
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002  # as above
    ) -> Any:
        """The body's value.

        Raises:
            TooLargeError: `http.body_too_large`.
            RequestError: `request.malformed`.
        """
        most = self.largest()
        return strict_json(stream.read(most + 1), most)

    def largest(self) -> int:
        """Bytes of a body, at most."""
        return LARGEST_BODY


class BatchJson(StrictJson):
    """The same for the body of a batch, which has a limit of its own (`BATCH_MAX_BYTES`)."""

    def largest(self) -> int:
        """Bytes of a body, at most."""
        return int(settings.BATCH_MAX_BYTES)


def strict_json(sent: bytes, most: int = LARGEST_BODY) -> Any:
    """The value of a body of at most `most` bytes, as `StrictJson` takes it.

    Raises:
        TooLargeError: `http.body_too_large`.
        RequestError: `request.malformed`.
    """
    if len(sent) > most:
        raise TooLargeError(f"the body is larger than {most} bytes")
    try:
        value = json.loads(sent.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse)
        if b"\\u" in sent:  # the one way in for a lone surrogate
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails on it
        _check_depth(value)
    except (ValueError, RecursionError):
        # Without the cause: its text quotes the body.
        raise RequestError("the body is not well-formed JSON", code="request.malformed") from None
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _check_depth(value: object) -> None:
    layer = [value]
    for _ in range(DEEPEST + 1):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return
    raise ValueError


def _refuse(_constant: str) -> object:
    raise ValueError
