"""A task's way through the filesystem broker, and processes that refuse an unsafe configuration."""

import os
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from celery import current_app

from gateway.processes import Processes, portcullis
from gateway.settings.env import BASE_DIR
from gateway.settings.queues import QUEUES, ROUTES

ENQUEUE = """
import django; django.setup()
from django.db import transaction
from governance import leases
from governance.stages import PROFILE, QUEUE
from governance.models import Tenant
from governance.scoping import tenant_scope
tenant = Tenant.objects.get(slug="house")
with tenant_scope(tenant.id), transaction.atomic():
    print(leases.enqueue(PROFILE, "dataset:%s", QUEUE, tenant_id=tenant.id).id.hex)
"""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The development profile on an empty home, for this process's children."""
    for name in os.environ:
        if name.startswith(("PORTCULLIS_", "DATABASE_URL", "CELERY_BROKER_URL", "REDIS_URL")):
            monkeypatch.delenv(name)
    made = {
        "PORTCULLIS_HOME": str(tmp_path / "home"),
        "DJANGO_SETTINGS_MODULE": "gateway.settings.dev",
        "PORTCULLIS_OFFICER_PASSWORD": "correct horse battery staple",
        "PORTCULLIS_PLATFORM_PASSWORD": "correct horse battery staple",
    }
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    return made


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=BASE_DIR, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_task_reaches_a_worker(environment: dict[str, str]) -> None:
    """A job of a dataset that does not exist: the worker takes it, as its fence and owner show."""
    migrated = _python("manage.py", "migrate", "--verbosity", "0")
    assert migrated.returncode == 0, migrated.stderr
    founded = _python(
        "manage.py", "bootstrap", "--tenant", "house", "--name", "House",
        "--officer", "officer", "--platform", "platform",
    )  # fmt: skip
    assert founded.returncode == 0, founded.stderr
    sent = _python("-c", ENQUEUE % uuid.uuid4())
    assert sent.returncode == 0, sent.stderr
    home = Path(environment["PORTCULLIS_HOME"])
    (message,) = (home / "broker" / "queue").iterdir()
    assert "House" not in message.read_text()
    lines: list[str] = []
    row = None
    (worker,) = (command for command in portcullis() if command.name == "ingest")
    with (
        Processes([worker], write=lines.append),
        closing(sqlite3.connect(home / "portcullis.sqlite3", timeout=30)) as connection,
    ):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            row = connection.execute(
                "SELECT fence, owner <> '' FROM governance_job WHERE id = ?", [sent.stdout.strip()]
            ).fetchone()
            if row is not None and row[0]:
                break
            time.sleep(0.2)
    assert row == (1, 1), "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [
        ("-c", "import gateway.wsgi"),
        ("-c", "import gateway.asgi"),
        ("-m", "celery", "-A", "gateway", "worker", "-Q", "audit", "-c", "1"),
        ("manage.py", "serve", "--no-workers"),
    ],
    ids=["wsgi", "asgi", "worker", "serve"],
)
def test_no_process_starts_unsafe(start: tuple[str, ...], environment: dict[str, str]) -> None:
    home = Path(environment["PORTCULLIS_HOME"])
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    result = _python(*start)
    assert result.returncode != 0
    assert "portcullis.E013" in result.stderr


def test_every_task_of_ours_is_routed_to_a_queue_that_is_drained() -> None:
    """Named for its package; a name outside the routes would land on the default queue unseen."""
    current_app.loader.import_default_modules()
    ours = [name for name in current_app.tasks if not name.startswith("celery.")]
    assert ours
    for name in ours:
        route = current_app.amqp.router.route({}, name)
        assert route["queue"].name in QUEUES, name
        assert name.split(".")[0] in {"audit", "governance", "training", "gateway"}, name
        assert f"{name.split('.')[0]}.*" in ROUTES
