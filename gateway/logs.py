"""Log lines: one JSON object each, with the request's id and without anybody's data."""

import json
import logging
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

from gateway.key_format import masked

request_id: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "message"[, "request"][, "error"]}`.

    An exception is given as its type and the places it passed, never its text: the text of a
    parser's or a database's error quotes the cell that it choked on. An API key, which a caller may
    put into an address, is cut down to its id.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line for `record`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": masked(_message(record)),
        }
        if (request := request_id.get()) is not None:
            line["request"] = request
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _shape(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    if record.name == "celery.app.trace" and isinstance(record.args, dict):
        # Celery's own sentence quotes the exception's text, or what the task returned.
        outcome = "failed" if record.levelno >= logging.ERROR else "ended"
        return f"Task {record.args.get('name')}[{record.args.get('id')}] {outcome}"
    return record.getMessage()


def _shape(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    shape: dict[str, Any] = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        shape["cause"] = _shape(cause)
    return shape
