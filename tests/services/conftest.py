"""Real servers on loopback: skipped with a reason if they are not there, failed if they must be.

DATABASE_URL, CELERY_BROKER_URL and REDIS_URL name them; the defaults are what deploy/services.sh
makes. The database that DATABASE_URL names is connected to and left alone: tests run in throw-away
ones beside it. What the brokers hold in queues of ours is thrown away.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis
from kombu import Connection
from psycopg import sql

from gateway.settings.env import BASE_DIR
from gateway.settings.queues import QUEUES

REQUIRED = os.environ.get("PORTCULLIS_REQUIRE_SERVICES") == "1" or os.environ.get("CI") == "true"
START = "start it with deploy/services.sh"


@dataclass(frozen=True)
class Services:
    """Where the servers are."""

    database_url: str
    rabbitmq_url: str
    redis_url: str

    def broker(self, name: str) -> str:
        """The URL of the broker called `rabbitmq` or `redis`."""
        return {"rabbitmq": self.rabbitmq_url, "redis": self.redis_url}[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything beside this file, so that `-m "not services"` leaves it out."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("services")


@pytest.fixture(scope="session")
def services() -> Services:
    """All three servers, answering."""
    found = Services(
        os.environ.get(
            "DATABASE_URL", "postgresql://portcullis:portcullis@127.0.0.1:5432/postgres"
        ),
        os.environ.get(
            "CELERY_BROKER_URL", "amqp://portcullis:portcullis@127.0.0.1:5672/portcullis-test"
        ),
        os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/15"),
    )
    _ask("PostgreSQL", lambda: psycopg.connect(found.database_url, connect_timeout=5).close())
    _ask("RabbitMQ", lambda: _empty(found.rabbitmq_url))
    _ask("Redis", lambda: _ping(found.redis_url))
    _ask("Redis", lambda: _empty(found.redis_url))
    return found


@pytest.fixture(scope="module")
def database_url(services: Services) -> Iterator[str]:
    """An empty database of this module's own: no module finds another's house."""
    with _throw_away_database(services.database_url) as url:
        yield url


@pytest.fixture
def fresh_database_url(services: Services) -> Iterator[str]:
    """An empty database of this test's own."""
    with _throw_away_database(services.database_url) as url:
        yield url


@pytest.fixture
def on_postgresql(database_url: str) -> Callable[..., str]:
    """Runs tests of the suite again, in a session of their own beside that database."""

    def run(*tests: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *tests],
            cwd=BASE_DIR,
            env={**os.environ, "DATABASE_URL": database_url, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:]
        assert "passed" in done.stdout
        return done.stdout

    return run


@pytest.fixture
def environment(services: Services, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Makes the environment of a process that runs the development profile on these servers."""

    def make(database: str, broker: str = "rabbitmq") -> dict[str, str]:
        ours = ("PORTCULLIS_", "DATABASE_URL", "CELERY_BROKER_URL", "REDIS_URL", "DJANGO_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        _empty(services.broker(broker))
        return inherited | {
            "DJANGO_SETTINGS_MODULE": "gateway.settings.dev",
            "PORTCULLIS_HOME": str(tmp_path / "home"),
            "DATABASE_URL": database,
            "CELERY_BROKER_URL": services.broker(broker),
            "REDIS_URL": services.redis_url,
        }

    return make


def _ask(name: str, question: Callable[[], object]) -> None:
    try:
        question()
    except (psycopg.Error, redis.RedisError, OSError) as error:
        reason = f"{name} does not answer ({type(error).__name__}); {START}"
    else:
        return
    if REQUIRED:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _ping(url: str) -> None:
    with redis.Redis.from_url(url, socket_connect_timeout=5) as client:
        client.ping()


def _empty(url: str) -> None:
    """Connect, and drop our queues with whatever an earlier session left in them."""
    with Connection(url, connect_timeout=5) as connection:
        connection.ensure_connection(max_retries=1)
        for name in QUEUES:
            # A channel each: to delete what is not there closes the channel.
            channel: Any = connection.channel()  # each transport's own class
            try:
                channel.queue_delete(name)
            except connection.channel_errors:
                pass
            else:
                channel.close()


@contextmanager
def _throw_away_database(server: str) -> Iterator[str]:
    name = f"portcullis_test_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )
