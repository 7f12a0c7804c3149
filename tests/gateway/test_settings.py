"""Settings come typed from the environment; a bad one is named and never quoted."""

import json
import os
import secrets
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pydantic import AliasChoices

from gateway.settings import base, firststart
from gateway.settings.databases import database
from gateway.settings.env import (
    BASE_DIR,
    PREFIX,
    DevelopmentEnvironment,
    Environment,
    ProductionEnvironment,
    load,
)
from gateway.settings.queues import QUEUES, celery

SECRET = "s3cret-" + "x" * 60
PRODUCTION = {
    "PORTCULLIS_HOME": "/srv/portcullis",
    "PORTCULLIS_SECRET_KEY": SECRET,
    "PORTCULLIS_ALLOWED_HOSTS": "gate.example.com, api.example.com",
    "PORTCULLIS_LOG_ORIGIN": "gate.example.com/log",
    "PORTCULLIS_LOG_KEY_FILE": "/keys/log",
    "PORTCULLIS_RECEIPT_KEY_FILE": "/keys/receipt",
    "PORTCULLIS_ROOT_KEY_FILE": "/keys/root",
    "DATABASE_URL": "postgresql://user:pa%2Fss@db:5433/gate?sslmode=require",
    "CELERY_BROKER_URL": "amqp://user:pass@broker//",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A complete production environment, and nothing else of ours."""
    for name in os.environ:
        if name.startswith("PORTCULLIS_") or name in {
            "DATABASE_URL",
            "CELERY_BROKER_URL",
            "REDIS_URL",
        }:
            monkeypatch.delenv(name)
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)
    return PRODUCTION


def test_complete_production_environment_loads(environment: dict[str, str]) -> None:
    env = load(ProductionEnvironment)
    assert env.allowed_hosts == ["gate.example.com", "api.example.com"]
    assert env.secret_key.get_secret_value() == SECRET
    assert SECRET not in repr(env)


@pytest.mark.parametrize("name", PRODUCTION)
def test_production_names_what_is_missing(
    name: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(ImproperlyConfigured) as caught:
        load(ProductionEnvironment)
    assert f"  {name}: " in str(caught.value)
    assert str(caught.value).count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORTCULLIS_SECRET_KEY", "hunter2-too-short"),
        ("PORTCULLIS_ALLOWED_HOSTS", " , "),
        ("PORTCULLIS_LOG_ORIGIN", "has a space"),
        ("PORTCULLIS_UPLOAD_MAX_BYTES", "-12345"),
        ("PORTCULLIS_UPLOAD_MAX_BYTES", "plenty-of-them"),
        ("PORTCULLIS_DEFAULT_EPSILON_CAP", "0.0000"),
        ("PORTCULLIS_DEFAULT_EPSILON_CAP", "123456"),
        ("PORTCULLIS_DEFAULT_DELTA", "0.5555"),
        ("PORTCULLIS_LOG_LEVEL", "LOUDER"),
        ("PORTCULLIS_BEHIND_PROXY", "perhaps"),
    ],
)
def test_bad_value_is_named_and_not_quoted(
    name: str, value: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured) as caught:
        load(ProductionEnvironment)
    assert name in str(caught.value)
    assert value not in str(caught.value)
    assert caught.value.__context__ is None


def test_production_profile_refuses_an_empty_environment(tmp_path: Path) -> None:
    """As a server would start: in a process of its own, naming every variable at once."""
    clean = {"PATH": os.environ["PATH"]}
    result = subprocess.run(
        [sys.executable, "-c", "import gateway.settings.prod"],
        cwd=BASE_DIR,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    for name in PRODUCTION:
        assert name in result.stderr


def test_production_profile_is_strict() -> None:
    code = (
        "import json, gateway.settings.prod as s;"
        "names = [n for n in dir(s) if n.isupper()];"
        "print(json.dumps({n: getattr(s, n) for n in names}, default=str))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=BASE_DIR,
        env=PRODUCTION | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    settings: dict[str, Any] = json.loads(result.stdout)
    assert settings["DEBUG"] is False
    assert settings["SECURE_SSL_REDIRECT"] is True
    assert settings["SESSION_COOKIE_SECURE"] is True
    assert settings["SECURE_PROXY_SSL_HEADER"] is None
    assert settings["DATABASES"]["default"]["ENGINE"] == "django.db.backends.postgresql"
    assert settings["AUTH_USER_MODEL"] == "governance.User"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://user:pa%2Fss@db:5433/gate?sslmode=require",
            {
                "NAME": "gate",
                "USER": "user",
                "PASSWORD": "pa/ss",
                "HOST": "db",
                "PORT": "5433",
                "OPTIONS": {"sslmode": "require"},
            },
        ),
        ("postgres:///gate", {"NAME": "gate", "USER": "", "HOST": "", "PORT": "", "OPTIONS": {}}),
        ("postgresql://[::1]/gate", {"HOST": "::1", "NAME": "gate"}),
        ("sqlite:////srv/gate.sqlite3", {"NAME": "/srv/gate.sqlite3"}),
        ("sqlite:///srv/gate.sqlite3", {"NAME": "/srv/gate.sqlite3"}),
        (None, {"NAME": "/home/x/portcullis.sqlite3"}),
    ],
)
def test_database_url(url: str | None, expected: dict[str, Any]) -> None:
    entry = database(url, home=Path("/home/x"))
    assert {name: entry[name] for name in expected} == expected
    assert entry["ATOMIC_REQUESTS"] is False
    assert entry["CONN_HEALTH_CHECKS"] is True


@pytest.mark.parametrize(
    "url", ["mysql://user:hunter2@db/x", "postgresql://user:hunter2@db/", "sqlite://", "hunter2"]
)
def test_bad_database_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL") as caught:
        database(url, home=Path("/home/x"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.django_db
def test_sqlite_runs_as_configured() -> None:
    """What the options say is what the connection does."""
    from django.db import connection

    if connection.vendor != "sqlite":
        pytest.skip("the suite runs on another database")
    pragmas = {}
    with connection.cursor() as cursor:
        for name in (
            "journal_mode",
            "synchronous",
            "recursive_triggers",
            "foreign_keys",
            "busy_timeout",
        ):
            cursor.execute(f"PRAGMA {name}")
            pragmas[name] = cursor.fetchone()[0]
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "recursive_triggers": 1,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


@pytest.mark.parametrize(
    ("broker", "queue_type"),
    [(None, None), ("redis://localhost/1", None), ("amqp://localhost//", "quorum")],
)
def test_queues(broker: str | None, queue_type: str | None, tmp_path: Path) -> None:
    settings = celery(broker, home=tmp_path)
    queues = settings["CELERY_TASK_QUEUES"]
    assert tuple(queue.name for queue in queues) == QUEUES
    assert {(queue.queue_arguments or {}).get("x-queue-type") for queue in queues} == {queue_type}
    routed = {route["queue"] for route in settings["CELERY_TASK_ROUTES"].values()}
    assert routed | {settings["CELERY_TASK_DEFAULT_QUEUE"]} <= set(QUEUES)


def test_home_is_made_for_one_user(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    firststart.prepare(home)
    firststart.prepare(home)
    made = [home, *(path for path in home.rglob("*"))]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o700}


def test_secret_key_is_made_once(tmp_path: Path) -> None:
    firststart.prepare(tmp_path)
    key = firststart.secret_key(tmp_path)
    assert len(key) >= 64
    assert firststart.secret_key(tmp_path) == key
    (made,) = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_secret_key_of_two_first_starts_agrees(tmp_path: Path) -> None:
    """Eight processes that start at once use one key."""
    firststart.prepare(tmp_path)
    code = (
        "import sys, pathlib; from gateway.settings.firststart import secret_key;"
        "print(secret_key(pathlib.Path(sys.argv[1])))"
    )
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            cwd=BASE_DIR,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    assert len({start.communicate()[0] for start in starts}) == 1


def test_unfold_comes_before_the_admin() -> None:
    apps = base.INSTALLED_APPS
    assert apps.index("unfold.apps.BasicAppConfig") < apps.index(
        "gateway.console.apps.ConsoleConfig"
    )


def test_development_needs_nothing(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name in environment:
        monkeypatch.delenv(name)
    env = load(DevelopmentEnvironment)
    assert env.home == BASE_DIR / "var"
    assert env.allowed_hosts == ["localhost", "127.0.0.1", "[::1]"]
    assert env.debug is False


@pytest.mark.parametrize("profile", [DevelopmentEnvironment, ProductionEnvironment])
def test_operators_find_every_variable_in_the_guide(profile: type[Environment]) -> None:
    guide = (BASE_DIR / "deploy" / "README.md").read_text()
    for name, field in profile.model_fields.items():
        alias = field.validation_alias
        variable = alias.choices[0] if isinstance(alias, AliasChoices) else PREFIX + name.upper()
        if name != "debug":  # a laptop's alone
            assert f"| `{variable}` |" in guide


def test_production_passes_djangos_deployment_checks(tmp_path: Path) -> None:
    """With keys where the environment says, no warning is left."""
    tmp_path.chmod(0o700)
    keys = {}
    for name in ("LOG", "RECEIPT", "ROOT"):
        path = tmp_path / name
        path.write_text("key")
        path.chmod(0o600)
        keys[f"PORTCULLIS_{name}_KEY_FILE"] = str(path)
    result = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=BASE_DIR,
        env=PRODUCTION
        | keys
        | {
            "PATH": os.environ["PATH"],
            "PORTCULLIS_HOME": str(tmp_path),
            "PORTCULLIS_SECRET_KEY": secrets.token_urlsafe(64),
            "DJANGO_SETTINGS_MODULE": "gateway.settings.prod",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
