"""Each system check bites, and the shipped profiles pass them all."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from django.conf import UserSettingsHolder
from django.conf import settings as configured
from django.core.checks import CheckMessage, run_checks

from gateway import checks
from gateway.settings import base

Change = Callable[[Any, Path], None]


def _set(**values: Any) -> Change:
    def change(settings: Any, _folder: Path) -> None:
        for name, value in values.items():
            setattr(settings, name, value)

    return change


def _sqlite(**options: Any) -> Change:
    def change(settings: Any, _folder: Path) -> None:
        databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {}}}
        databases["default"]["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
        } | options
        settings.DATABASES = databases

    return change


def _key_file(mode: int | None, profile: str) -> Change:
    def change(settings: Any, folder: Path) -> None:
        settings.PROFILE = profile
        for name in checks.KEY_FILES:
            path = folder / name
            path.write_text("key")
            path.chmod(0o600)
            setattr(settings, name, path)
        path = folder / checks.KEY_FILES[-1]
        if mode is None:
            path.unlink()
        else:
            path.chmod(mode)

    return change


def _open_home(settings: Any, folder: Path) -> None:
    folder.chmod(0o755)
    settings.PORTCULLIS_HOME = folder


TEMPORARY = "django.core.files.uploadhandler.TemporaryFileUploadHandler"
REDIS = "django.core.cache.backends.redis.RedisCache"
LOCAL = "django.core.cache.backends.locmem.LocMemCache"
MD5 = "django.contrib.auth.hashers.MD5PasswordHasher"

BITES: list[tuple[str, str, Change]] = [
    ("E001", "temporary file", _set(FILE_UPLOAD_HANDLERS=[TEMPORARY])),
    ("E001", "beside ours", _set(FILE_UPLOAD_HANDLERS=[checks.SEALING_HANDLER, TEMPORARY])),
    ("E001", "none", _set(FILE_UPLOAD_HANDLERS=[])),
    ("E002", "prod", _set(DEBUG=True, PROFILE="prod")),
    ("E002", "unknown profile", _set(DEBUG=True, PROFILE="staging")),
    ("E003", "no WAL", _sqlite(init_command="PRAGMA synchronous=FULL")),
    ("E003", "not FULL", _sqlite(init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF")),
    ("E003", "deferred", _sqlite(transaction_mode="DEFERRED")),
    ("E003", "impatient", _sqlite(timeout=5)),
    (
        "E004",
        "on",
        _set(DATABASES={"default": {"ENGINE": "x.postgresql", "ATOMIC_REQUESTS": True}}),
    ),
    ("E005", "accepts pickle", _set(CELERY_ACCEPT_CONTENT=["json", "pickle"])),
    ("E005", "accepts yaml", _set(CELERY_ACCEPT_CONTENT=["yaml"])),
    ("E005", "sends pickle", _set(CELERY_TASK_SERIALIZER="pickle")),
    ("E005", "keeps results", _set(CELERY_RESULT_BACKEND="redis://localhost")),
    ("E005", "early ack", _set(CELERY_TASK_ACKS_LATE=False)),
    ("E005", "prefetch", _set(CELERY_WORKER_PREFETCH_MULTIPLIER=4)),
    ("E006", "missing in prod", _key_file(None, "prod")),
    ("E006", "root key unset in prod", _set(ROOT_KEY_FILE=None, PROFILE="prod")),
    ("E006", "world-readable", _key_file(0o644, "prod")),
    ("E006", "group-readable", _key_file(0o640, "prod")),
    ("E006", "loose on a laptop", _key_file(0o644, "dev")),
    ("E007", "star", _set(ALLOWED_HOSTS=["*"])),
    ("E007", "domain", _set(ALLOWED_HOSTS=[".example.com"])),
    ("E007", "empty", _set(ALLOWED_HOSTS=[])),
    ("E008", "prod", _set(ALLOW_SEEDED_NOISE=True, PROFILE="prod")),
    ("E008", "dev", _set(ALLOW_SEEDED_NOISE=True, PROFILE="dev")),
    ("E009", "session in the clear", _set(SESSION_COOKIE_SECURE=False, PROFILE="prod")),
    ("E009", "csrf in the clear", _set(CSRF_COOKIE_SECURE=False, PROFILE="prod")),
    ("E009", "script", _set(SESSION_COOKIE_HTTPONLY=False)),
    ("E009", "cross-site", _set(SESSION_COOKIE_SAMESITE="None")),
    ("E010", "no redirect", _set(SECURE_SSL_REDIRECT=False, PROFILE="prod")),
    ("E010", "no HSTS", _set(SECURE_HSTS_SECONDS=0, PROFILE="prod")),
    ("E011", "md5", _set(PASSWORD_HASHERS=[MD5], PROFILE="dev")),
    ("E012", "pickling Redis", _set(CACHES={"default": {"BACKEND": REDIS}})),
    ("E013", "listable", _open_home),
    *[
        ("E014", name, _set(MIDDLEWARE=[other for other in configured.MIDDLEWARE if other != name]))
        for name in checks.REQUIRED_MIDDLEWARE
    ],
    ("E015", "unset", _set(REST_FRAMEWORK={})),
    (
        "E015",
        "allow any",
        _set(
            REST_FRAMEWORK={
                "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
            }
        ),
    ),
    ("E016", "eager", _set(CELERY_TASK_ALWAYS_EAGER=True)),
    ("E017", "inbox", _set(SOURCES={"inbox": "/srv/inbox"})),
    ("E018", "'de'", _set(NLP_MODELS={"de": "no_such_model"})),
]

LAPTOP = {
    "PROFILE": "dev",
    "ALLOW_SEEDED_NOISE": False,
    "PASSWORD_HASHERS": base.PASSWORD_HASHERS,
}

PASSES: list[tuple[str, Change]] = [
    ("debug on a laptop", _set(DEBUG=True, **LAPTOP)),
    ("keys made later on a laptop", _set(LOG_KEY_FILE=Path("/nowhere"), **LAPTOP)),
    ("closed keys", _key_file(0o400, "test")),
    ("local cache", _set(CACHES={"default": {"BACKEND": LOCAL}})),
    ("durable SQLite", _sqlite()),
    ("seeded noise in tests", _set(ALLOW_SEEDED_NOISE=True)),
]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The suite's settings, to be changed for the checks alone."""
    # Django's own override closes connections and warns: DATABASES is not its to change.
    holder = UserSettingsHolder(configured)
    monkeypatch.setattr(checks, "settings", holder)
    return holder


def _found() -> dict[str, list[CheckMessage]]:
    found: dict[str, list[CheckMessage]] = {}
    for message in run_checks(tags=["security"]):
        found.setdefault(str(message.id), []).append(message)
    return found


@pytest.mark.parametrize(
    ("number", "change"),
    [pytest.param(number, change, id=f"{number}-{why}") for number, why, change in BITES],
)
def test_check_bites(number: str, change: Change, settings: Any, tmp_path: Path) -> None:
    change(settings, tmp_path)
    (message, *_) = _found()[f"portcullis.{number}"]
    assert message.is_serious()
    assert message.hint


@pytest.mark.parametrize("change", [pytest.param(change, id=why) for why, change in PASSES])
def test_safe_configuration_passes(change: Change, settings: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    settings.PORTCULLIS_HOME = tmp_path
    change(settings, tmp_path)
    assert [number for number in _found() if number.startswith("portcullis.")] == []


def test_every_number_is_tested_and_in_the_table() -> None:
    """The module's docstring lists each check once, and each has a row above."""
    assert checks.__doc__
    numbers = {f"E{number:03}" for number in range(1, 19)}
    assert {number for number, _why, _change in BITES} == numbers
    assert all(checks.__doc__.count(number) == 1 for number in numbers)


def test_message_quotes_no_path_of_a_key(settings: Any, tmp_path: Path) -> None:
    _key_file(0o644, "prod")(settings, tmp_path)
    for message in _found()["portcullis.E006"]:
        assert str(tmp_path) not in deepcopy(message).msg
