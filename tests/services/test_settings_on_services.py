"""The settings work on real servers: migrations, cache, and a task's way through each broker."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable

import psycopg
import pytest

from gateway.processes import Processes, portcullis
from gateway.settings.env import BASE_DIR

Environment = Callable[..., dict[str, str]]


def _python(environment: dict[str, str], *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments], cwd=BASE_DIR, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def _django(environment: dict[str, str], code: str) -> object:
    """What a process of ours answers, as JSON."""
    start = "import django, json; django.setup()\n"
    return json.loads(_python(environment, "-c", start + code).splitlines()[-1])


@pytest.fixture(scope="module")
def migrated_url(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The module's database with every migration and a house."""
    environment = {
        "PATH": "",
        "PORTCULLIS_HOME": str(tmp_path_factory.mktemp("home")),
        "DATABASE_URL": database_url,
        "PORTCULLIS_OFFICER_PASSWORD": "correct horse battery staple",
        "PORTCULLIS_PLATFORM_PASSWORD": "correct horse battery staple",
    }
    _python(environment, "manage.py", "migrate", "--verbosity", "0")
    _python(
        environment, "manage.py", "bootstrap", "--tenant", "house", "--name", "House",
        "--officer", "officer", "--platform", "platform",
    )  # fmt: skip
    return database_url


def test_migrations_are_complete(migrated_url: str, environment: Environment) -> None:
    plan = _python(environment(migrated_url), "manage.py", "migrate", "--plan")
    assert "No planned migration operations." in plan


def test_connection_is_what_the_settings_say(migrated_url: str, environment: Environment) -> None:
    answer = _django(
        environment(migrated_url),
        "from django.db import connection as c; c.ensure_connection()\n"
        "print(json.dumps([c.vendor, c.settings_dict['CONN_HEALTH_CHECKS'], "
        "c.settings_dict['ATOMIC_REQUESTS'], c.Database.__name__]))",
    )
    assert answer == ["postgresql", True, False, "psycopg"]


def test_system_checks_pass(migrated_url: str, environment: Environment) -> None:
    made = environment(migrated_url)
    _python(made, "manage.py", "check", "--database", "default", "--fail-level", "WARNING")


def test_cache_is_shared_and_holds_no_pickle(migrated_url: str, environment: Environment) -> None:
    """One process writes, another reads; what lies in Redis is JSON."""
    import redis

    made = environment(migrated_url)
    key = f"services-{uuid.uuid4().hex}"
    cache = "from django.core.cache import cache\n"
    _django(made, f"{cache}cache.set('{key}', {{'a': ['名', 1]}}, 60); print('null')")
    assert _django(made, f"{cache}print(json.dumps(cache.get('{key}')))") == {"a": ["名", 1]}
    with redis.Redis.from_url(made["REDIS_URL"]) as client:
        assert client.get(f"portcullis:1:{key}") == '{"a":["名",1]}'.encode()


ENQUEUE = """
from django.db import transaction
from governance import leases
from governance.stages import PROFILE, QUEUE
from governance.models import Tenant
from governance.scoping import tenant_scope
tenant = Tenant.objects.get(slug="house")
with tenant_scope(tenant.id), transaction.atomic():
    job = leases.enqueue(PROFILE, "dataset:%s", QUEUE, tenant_id=tenant.id)
print(json.dumps(str(job.id)))
"""


@pytest.mark.parametrize("broker", ["rabbitmq", "redis"])
def test_a_task_reaches_a_worker(
    broker: str, migrated_url: str, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of a dataset that does not exist: the worker takes it, as its fence and owner show."""
    made = environment(migrated_url, broker)
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    lines: list[str] = []
    (worker,) = (command for command in portcullis() if command.name == "ingest")
    with Processes([worker], write=lines.append):
        job = str(_django(made, ENQUEUE % uuid.uuid4()))
        with psycopg.connect(migrated_url, autocommit=True) as connection:
            deadline = time.monotonic() + 90
            row = None
            while time.monotonic() < deadline:
                row = connection.execute(
                    "SELECT fence, owner <> '' FROM governance_job WHERE id = %s", [job]
                ).fetchone()
                if row is not None and row[0]:
                    break
                time.sleep(0.2)
    assert row == (1, True), "\n".join(lines)
