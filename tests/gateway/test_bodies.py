"""No request body reaches Django's spool, which would put it on disk in plaintext."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from pytest_django.fixtures import Settings

from gateway.bodies import Bounded, Receive, Scope, Send

LIMIT = 1000


def _chunks(*sizes: int) -> list[dict[str, Any]]:
    return [
        {"type": "http.request", "body": b"x" * size, "more_body": index < len(sizes) - 1}
        for index, size in enumerate(sizes)
    ]


def _answer(
    application: Any, messages: list[dict[str, Any]], headers: list[tuple[bytes, bytes]]
) -> list[Mapping[str, Any]]:
    sent: list[Mapping[str, Any]] = []
    waiting = [*messages, {"type": "http.disconnect"}]

    async def receive() -> Mapping[str, Any]:
        if len(waiting) == 1:  # a client that stays
            await asyncio.sleep(0.2)
        return waiting.pop(0)

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http", "method": "POST", "path": "/healthz", "query_string": b"",
        "headers": headers, "http_version": "1.1", "asgi": {"version": "3.0"},
    }  # fmt: skip
    asyncio.run(application(scope, receive, send))
    return sent


@pytest.fixture(autouse=True)
def _limit(settings: Settings) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = LIMIT


async def _echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the whole body, as Django does, and answers with its size."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.mark.parametrize(
    ("chunks", "headers", "status"),
    [
        ((10,), [(b"content-length", b"10")], 200),
        ((LIMIT,), [(b"content-length", b"1000")], 200),
        ((LIMIT + 1,), [(b"content-length", b"1001")], 413),
        ((10,), [(b"content-length", b"-1")], 413),
        ((10,), [(b"content-length", b"ten")], 413),
        ((LIMIT - 10, 10), [], 200),
        ((LIMIT - 10, 10, 1), [], 413),
        ((LIMIT, LIMIT, LIMIT), [], 413),
    ],
)
def test_body(chunks: tuple[int, ...], headers: list[tuple[bytes, bytes]], status: int) -> None:
    start, body = _answer(Bounded(_echo), _chunks(*chunks), headers)
    assert start["status"] == status
    if status == 200:
        assert body["body"] == str(sum(chunks)).encode()
    else:
        assert b'"code":"http.body_too_large"' in body["body"]


def test_django_behind_it_never_spools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real handler, with a spool that would raise if it went to disk."""
    from tempfile import SpooledTemporaryFile

    def rollover(_self: object) -> None:
        raise AssertionError("the body went to disk")

    monkeypatch.setattr(SpooledTemporaryFile, "rollover", rollover)
    (start, _body) = _answer(Bounded(ASGIHandler()), _chunks(600, 600, 600), [])
    assert start["status"] == 413


def test_other_protocols_pass() -> None:
    seen: list[str] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def unused(*_: Any) -> Any: ...

    asyncio.run(Bounded(application)({"type": "lifespan"}, unused, unused))
    assert seen == ["lifespan"]
