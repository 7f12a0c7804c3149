"""ASGI request bodies that stay in memory.

Django's ASGI handler reads a body into a SpooledTemporaryFile before any upload handler sees it,
and that file goes to disk, in plaintext, once it outgrows FILE_UPLOAD_MAX_MEMORY_SIZE. Large bodies
therefore use the WSGI entry, which streams them to the sealing handler; here they meet a 413.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_PROBLEM = (
    b'{"type":"about:blank","title":"Content Too Large","status":413,"code":"http.body_too_large",'
    b'"detail":"The body is larger than this entry takes; uploads go through the console."}'
)


class Bounded:
    """Answer 413 instead of passing on a body that would be spooled to disk."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        limit: int = settings.FILE_UPLOAD_MAX_MEMORY_SIZE
        # 1. A body that announces its size is judged by it; the server holds the client to that.
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > limit:
            await _refuse(send)
            return
        # 2. A chunked one is counted. Django takes a disconnect as the end of its interest.
        taken, exceeded = 0, False

        async def counted() -> Message:
            nonlocal taken, exceeded
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                exceeded = True
                return {"type": "http.disconnect"}
            return message

        await self._application(scope, counted, send)
        if exceeded:
            await _refuse(send)


async def _refuse(send: Send) -> None:
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": _PROBLEM})
