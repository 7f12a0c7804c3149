"""System checks that refuse an unsafe configuration; Django runs them before a command.

    E001  an upload handler other than the sealing one      E009  a cookie that travels in the clear
    E002  DEBUG outside a laptop                            E010  plain HTTP in production
    E003  SQLite that may lose or garble a commit           E011  a fast password hash outside tests
    E004  ATOMIC_REQUESTS                                   E012  a cache that unpickles
    E005  Celery that takes pickles or keeps results        E013  a home open to other users
    E006  a key file that is missing or open to others      E014  a protective middleware left out
    E007  a wildcard host                                   E015  an API that is open by default
    E008  predictable DP noise outside tests                E016  tasks that run in their caller
    E017  a source that cannot be meant                     E018  a language model that is missing

An unknown profile is judged as production.
"""

import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

Check = Callable[..., list[CheckMessage]]

SEALING_HANDLER: Final = "governance.uploads.SealingUploadHandler"
MINIMUM_TIMEOUT: Final = 20  # seconds a writer waits for its turn; see settings.databases
REQUIRED_MIDDLEWARE: Final = (
    "gateway.middleware.RequestId",
    "gateway.middleware.SecurityHeaders",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)
KEY_FILES: Final = ("LOG_KEY_FILE", "RECEIPT_KEY_FILE", "ROOT_KEY_FILE")
SLOW_HASHERS: Final = (
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
)


def _production() -> bool:
    return getattr(settings, "PROFILE", None) not in {"dev", "test"}


def _testing() -> bool:
    return getattr(settings, "PROFILE", None) == "test"


def _numbered(number: str, hint: str) -> Callable[[Callable[[], Iterator[str]]], Check]:
    """Register a generator of complaints as the check with this number."""

    def decorate(find: Callable[[], Iterator[str]]) -> Check:
        def check(
            app_configs: Sequence[AppConfig] | None = None,  # noqa: ARG001 - Django's signature
            **_options: Any,
        ) -> list[CheckMessage]:
            return [Error(text, hint=hint, id=f"portcullis.{number}") for text in find()]

        check.__name__ = find.__name__
        check.__doc__ = find.__doc__
        register(check, Tags.security)
        return check

    return decorate


@_numbered("E001", f"FILE_UPLOAD_HANDLERS = [{SEALING_HANDLER!r}]")
def uploads_are_sealed() -> Iterator[str]:
    """Django's handlers keep plaintext in memory or spool it to a temporary file."""
    for handler in settings.FILE_UPLOAD_HANDLERS:
        if handler != SEALING_HANDLER:
            yield f"The upload handler {handler} lets plaintext rest"
    if not settings.FILE_UPLOAD_HANDLERS:
        yield "There is no upload handler"


@_numbered("E002", "Error pages show local variables, and those are data")
def debug_is_off() -> Iterator[str]:
    """DEBUG belongs to a laptop."""
    if settings.DEBUG and _production():
        yield "DEBUG is on in production"


@_numbered("E003", "Use gateway.settings.databases")
def sqlite_is_durable() -> Iterator[str]:
    """WAL, synchronous=FULL, IMMEDIATE transactions, a long busy timeout."""
    for alias, database in settings.DATABASES.items():
        if not database["ENGINE"].endswith("sqlite3"):
            continue
        options = database.get("OPTIONS", {})
        pragmas = options.get("init_command", "").lower().replace(" ", "")
        if "journal_mode=wal" not in pragmas:
            yield f"SQLite database {alias!r} is not in WAL mode: a writer stops every reader"
        if "synchronous=full" not in pragmas:
            yield f"SQLite database {alias!r} may lose a commit in a power cut"
        if options.get("transaction_mode") != "IMMEDIATE":
            yield f"SQLite database {alias!r} takes its write lock too late to be retried"
        if options.get("timeout", 5) < MINIMUM_TIMEOUT:
            yield f"SQLite database {alias!r} gives up before {MINIMUM_TIMEOUT} s"


@_numbered("E004", "An action opens its own durable transaction, which may not be nested")
def requests_are_not_atomic() -> Iterator[str]:
    """ATOMIC_REQUESTS would nest every action."""
    for alias, database in settings.DATABASES.items():
        if database.get("ATOMIC_REQUESTS"):
            yield f"Database {alias!r} has ATOMIC_REQUESTS"


@_numbered("E005", "Use gateway.settings.queues")
def messages_are_inert() -> Iterator[str]:
    """JSON in, nothing out, one message in hand, acknowledged when done."""
    other = set(settings.CELERY_ACCEPT_CONTENT) - {"json", "application/json"}
    if other:
        yield f"Celery accepts {', '.join(sorted(other))}, which can run code"
    for name in ("TASK", "RESULT", "EVENT"):
        if getattr(settings, f"CELERY_{name}_SERIALIZER") != "json":
            yield f"Celery's {name.lower()} serializer is not json"
    if settings.CELERY_RESULT_BACKEND:
        yield "Celery keeps results outside the database"
    if not settings.CELERY_TASK_ACKS_LATE or settings.CELERY_WORKER_PREFETCH_MULTIPLIER != 1:
        yield "Celery acknowledges a message before its work is done, or holds several"


@_numbered("E006", "chmod 600, owned by the user that runs Portcullis")
def keys_are_private() -> Iterator[str]:
    """In production each key file is there; anywhere, one that is there is closed to others."""
    for name in KEY_FILES:
        path = getattr(settings, name, None)
        if path is None or not Path(path).is_file():
            # A laptop makes its keys at first start. The log's own is for the sequencer's process
            # alone, which refuses to start without it; the others must not have it.
            if _production() and name != "LOG_KEY_FILE":
                yield f"{name} names no file"
        elif stat.S_IMODE(Path(path).stat().st_mode) & 0o077:
            yield f"The file that {name} names is open to other users"


@_numbered("E007", "Name the hosts: a forged Host header poisons links and caches")
def hosts_are_named() -> Iterator[str]:
    """No wildcard, and no whole domain."""
    for host in settings.ALLOWED_HOSTS:
        if "*" in host or host.startswith("."):
            yield f"ALLOWED_HOSTS holds the wildcard {host!r}"
    if not settings.ALLOWED_HOSTS:
        yield "ALLOWED_HOSTS is empty"


@_numbered("E008", "Who can predict the noise can subtract it")
def noise_is_random() -> Iterator[str]:
    """ALLOW_SEEDED_NOISE is for tests."""
    if settings.ALLOW_SEEDED_NOISE and not _testing():
        yield "ALLOW_SEEDED_NOISE is on outside tests"


@_numbered("E009", "Use gateway.settings.prod")
def cookies_are_secure() -> Iterator[str]:
    """Session and CSRF cookies stay on HTTPS, on this site and out of scripts."""
    if not settings.SESSION_COOKIE_HTTPONLY:
        yield "SESSION_COOKIE_HTTPONLY is off"
    for name in ("SESSION", "CSRF"):
        if getattr(settings, f"{name}_COOKIE_SAMESITE") not in {"Lax", "Strict"}:
            yield f"{name}_COOKIE_SAMESITE lets other sites send the cookie"
        if _production() and not getattr(settings, f"{name}_COOKIE_SECURE"):
            yield f"{name}_COOKIE_SECURE is off in production"


@_numbered("E010", "Use gateway.settings.prod")
def transport_is_encrypted() -> Iterator[str]:
    """Production answers plain HTTP with a redirect, and tells browsers not to come back by it."""
    if _production() and not settings.SECURE_SSL_REDIRECT:
        yield "SECURE_SSL_REDIRECT is off in production"
    if _production() and not settings.SECURE_HSTS_SECONDS:
        yield "SECURE_HSTS_SECONDS is zero in production"


@_numbered("E011", "PASSWORD_HASHERS = [Argon2PasswordHasher, ScryptPasswordHasher]")
def passwords_are_slow() -> Iterator[str]:
    """Only memory-hard hashes outside tests."""
    if _testing():
        return
    for hasher in settings.PASSWORD_HASHERS:
        if hasher not in SLOW_HASHERS:
            yield f"The password hasher {hasher} is not memory-hard"


@_numbered("E012", "OPTIONS = {'serializer': 'gateway.caching.JsonSerializer'}")
def caches_do_not_unpickle() -> Iterator[str]:
    """Whoever can write to a shared cache must not be able to run code here."""
    for alias, cache in settings.CACHES.items():
        backend = cache["BACKEND"]
        if backend.endswith((".LocMemCache", ".DummyCache")):
            continue  # never leaves the process
        serializer = cache.get("OPTIONS", {}).get("serializer")
        if serializer != "gateway.caching.JsonSerializer":
            yield f"Cache {alias!r} pickles what it stores"


@_numbered("E013", "chmod 700")
def home_is_private() -> Iterator[str]:
    """Nobody else lists PORTCULLIS_HOME, or what the filesystem broker keeps in it."""
    home = Path(settings.PORTCULLIS_HOME)
    for folder in (home, home / "keys", home / "broker", home / "objects"):
        if folder.is_dir() and stat.S_IMODE(folder.stat().st_mode) & 0o077:
            yield f"{folder.relative_to(home.parent)} is open to other users"


@_numbered("E014", "Use the MIDDLEWARE of gateway.settings.base")
def middleware_is_complete() -> Iterator[str]:
    """What protects every response is there."""
    for name in REQUIRED_MIDDLEWARE:
        if name not in settings.MIDDLEWARE:
            yield f"MIDDLEWARE lacks {name}"


@_numbered("E015", "Name a permission class that refuses the anonymous")
def api_is_closed_by_default() -> Iterator[str]:
    """A view that forgets its permission is refused, not open."""
    permissions = settings.REST_FRAMEWORK.get("DEFAULT_PERMISSION_CLASSES", [])
    if not permissions or "rest_framework.permissions.AllowAny" in permissions:
        yield "The API is open to the anonymous by default"


@_numbered("E016", "Tests call a task's function; nothing runs a task inside its caller")
def tasks_run_in_workers() -> Iterator[str]:
    """An eager task would run inside the transaction that sent it."""
    if getattr(settings, "CELERY_TASK_ALWAYS_EAGER", False):
        yield "CELERY_TASK_ALWAYS_EAGER is on"


@_numbered("E018", "Install the package, or name the folder that holds its meta.json.")
def language_models_are_there() -> Iterator[str]:
    """Each language model that the settings name is installed; none is ever fetched."""
    from governance.recognition.models import missing  # noqa: PLC0415 - once settings are loaded

    for language in missing(settings.NLP_MODELS):
        yield f"PORTCULLIS_NLP_MODELS has no model for {language!r}"


@_numbered("E017", 'PORTCULLIS_SOURCES={"warehouse": "postgresql://…"}; see deploy/README.md')
def sources_can_be_meant() -> Iterator[str]:
    """Each source has an address that is one."""
    from governance.sources.config import checked  # noqa: PLC0415 - models, once apps are loaded

    for name, spec in settings.SOURCES.items():
        try:
            checked(name, spec)
        except ValueError as error:
            yield str(error)
