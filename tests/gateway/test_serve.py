"""`manage.py serve` as a newcomer runs it: refused before migrating, then up, then gone."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from gateway.processes import wait_for_port
from gateway.settings.env import BASE_DIR


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The development profile on an empty home."""
    ours = ("PORTCULLIS_", "DATABASE_URL", "CELERY_BROKER_URL", "REDIS_URL", "DJANGO_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return inherited | {"PORTCULLIS_HOME": str(tmp_path / "home")}


def _manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def _get(port: int, path: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.load(answer), dict(answer.headers)


@pytest.mark.slow
def test_serve_refuses_a_database_that_is_not_migrated(environment: dict[str, str]) -> None:
    result = _manage(environment, "serve", "--no-workers")
    assert result.returncode == 1
    assert "python manage.py migrate" in result.stderr


@pytest.mark.slow
def test_serve_answers_and_ends_without_a_trace(environment: dict[str, str]) -> None:
    migrated = _manage(environment, "migrate", "--verbosity", "0")
    assert migrated.returncode == 0, migrated.stderr
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serving = subprocess.Popen(
        [sys.executable, "manage.py", "serve", "--no-workers", "--port", str(port)],
        cwd=BASE_DIR, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        wait_for_port("127.0.0.1", port, seconds=60)
        assert _get(port, "/healthz")[:2] == (200, {"status": "ok"})
        status, body, headers = _get(port, "/readyz")
        # Nobody has made the keys of this home: it serves, and is not ready to answer calls.
        assert (status, body["missing"]) == (HTTPStatus.SERVICE_UNAVAILABLE, ["receipt_key"])
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    finally:
        serving.send_signal(signal.SIGTERM)
        output = serving.communicate(timeout=30)[0]
    assert serving.returncode == 0
    assert f"http://127.0.0.1:{port}/admin/" in output
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
