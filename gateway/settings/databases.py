"""DATABASE_URL to Django's dictionary. PostgreSQL or SQLite; anything else is refused."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

# WAL lets readers go on while one writes; FULL fsyncs every commit, so that an answered call
# survives a power cut; recursive_triggers makes REPLACE INTO fire DELETE triggers.
SQLITE_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA recursive_triggers=ON;"
)
# Seconds. Five writing processes waited up to 4.4 s for their turn: SQLite's queue is not fair.
SQLITE_TIMEOUT: Final = 30


def database(url: str | None, *, home: Path) -> dict[str, Any]:
    """One entry of DATABASES.

    Args:
        url: `postgresql://user:password@host:port/name?option=value` or `sqlite:////path`; None is
            SQLite under `home`.
        home: where the embedded database lives.

    Raises:
        ImproperlyConfigured: another scheme, or no name. Never quotes the URL.
    """
    if url is None:
        return _sqlite(home / "portcullis.sqlite3")
    parts = urlsplit(url)
    match parts.scheme:
        case "sqlite":
            path = unquote(parts.path)
            if not path.startswith("/") or path == "/":
                raise ImproperlyConfigured("DATABASE_URL: sqlite needs an absolute path")
            return _sqlite(Path(path.replace("//", "/", 1)))
        case "postgres" | "postgresql":
            name = unquote(parts.path.lstrip("/"))
            if not name:
                raise ImproperlyConfigured("DATABASE_URL: the database's name is missing")
            return {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": name,
                "USER": unquote(parts.username or ""),
                "PASSWORD": unquote(parts.password or ""),
                "HOST": unquote(parts.hostname or ""),
                "PORT": str(parts.port or ""),
                "CONN_MAX_AGE": 60,
                "CONN_HEALTH_CHECKS": True,
                "ATOMIC_REQUESTS": False,
                "OPTIONS": dict(parse_qsl(parts.query)),
            }
        case _:
            raise ImproperlyConfigured("DATABASE_URL: the scheme must be postgresql or sqlite")


def _sqlite(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "ATOMIC_REQUESTS": False,
        "OPTIONS": {
            # IMMEDIATE takes the write lock at BEGIN: a read that turns into a write half-way
            # cannot be retried by SQLite and would fail at once, whatever the timeout.
            "transaction_mode": "IMMEDIATE",
            "timeout": SQLITE_TIMEOUT,
            "init_command": SQLITE_PRAGMAS,
        },
    }
