"""Log lines are JSON, carry the request's id, and never quote an exception's text."""

import json
import logging
import sys
from typing import Any

import pytest

from gateway.logs import JsonFormatter, request_id

SECRET = "110101199003077758"


def _line(record: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


def _record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("gateway.x", logging.ERROR, "x.py", 1, message, args, info)


def test_line() -> None:
    token = request_id.set("abc")
    try:
        line = _line(_record("数据集 %s\nsealed", "ds-1"))
    finally:
        request_id.reset(token)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "ERROR",
        "logger": "gateway.x",
        "message": "数据集 ds-1\nsealed",
        "request": "abc",
    }


def _fail(how: str) -> BaseException:
    try:
        try:
            int(SECRET + "x")
        except ValueError as inner:
            if how == "cause":
                raise RuntimeError(SECRET) from inner
            if how == "hidden":
                raise RuntimeError(SECRET) from None
            raise RuntimeError(SECRET)  # noqa: B904 - the implicit context is what is tested
    except RuntimeError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("how", "cause"),
    [("cause", "builtins.ValueError"), ("context", "builtins.ValueError"), ("hidden", None)],
)
def test_exception_is_told_by_type_and_place(how: str, cause: str | None) -> None:
    record = _record("failed", error=_fail(how))
    assert SECRET not in JsonFormatter().format(record)
    error = _line(record)["error"]
    assert error["type"] == "builtins.RuntimeError"
    assert error["at"][0].endswith(" _fail")
    assert error.get("cause", {}).get("type") == cause


def test_a_failed_task_is_named_and_not_quoted() -> None:
    """Celery's message and the arguments of its record hold the exception's text."""
    told = {"name": "governance.profile", "id": "1-2", "exc": SECRET, "args": f"('{SECRET}',)"}
    record = logging.LogRecord(
        "celery.app.trace", logging.ERROR, "trace.py", 1,
        "Task %(name)s[%(id)s] raised unexpected: %(exc)s", (told,), None,
    )  # fmt: skip
    assert SECRET in record.getMessage()
    assert _line(record)["message"] == "Task governance.profile[1-2] failed"
    assert SECRET not in JsonFormatter().format(record)


def test_an_empty_exception_info_is_no_error() -> None:
    record = _record("fine")
    record.exc_info = sys.exc_info()
    assert "error" not in _line(record)
