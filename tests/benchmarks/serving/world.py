"""What the processes of the bench share: a database of their own, and their environment."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from gateway.settings.env import BASE_DIR

DATABASE: Final = os.environ.get(
    "DATABASE_URL", "postgresql://portcullis:portcullis@127.0.0.1:5432/postgres"
)


@contextmanager
def throw_away_database() -> Iterator[str]:
    """An empty database beside the one that is named; gone afterwards."""
    name = f"portcullis_bench_{secrets.token_hex(4)}"
    with psycopg.connect(DATABASE, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlunsplit(urlsplit(DATABASE)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(DATABASE, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


def environment(home: Path, database: str, **more: str) -> dict[str, str]:
    """Of a process of the bench: the development profile, PostgreSQL, one thread a library."""
    ours = ("PORTCULLIS_", "DATABASE_URL", "CELERY_BROKER_URL", "REDIS_URL", "DJANGO_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return inherited | {
        "DJANGO_SETTINGS_MODULE": "gateway.settings.dev",
        "PORTCULLIS_HOME": str(home),
        "DATABASE_URL": database,
        "REDIS_URL": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/15"),
        "OMP_NUM_THREADS": "1",
        **more,
    }


def ran(environ: Mapping[str, str], *argv: str) -> str:
    """The last line that a Python process printed.

    Raises:
        RuntimeError: it failed; with what it wrote.
    """
    done = subprocess.run(
        [sys.executable, *argv],
        env=environ,
        capture_output=True,
        text=True,
        cwd=BASE_DIR,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    return done.stdout.splitlines()[-1]
