"""What every profile shares: constants below, and `derive` for what depends on the environment."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.settings.databases import database
from gateway.settings.env import BASE_DIR, Environment
from gateway.settings.queues import celery

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # before the admin: its templates win
    "gateway.console.apps.ConsoleConfig",  # django.contrib.admin, on our site
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    # Dependency order: a lower package's registry exists before a higher one fills it.
    "audit",
    "governance",
    "training",
    "gateway",
]

MIDDLEWARE = [
    "gateway.middleware.RequestId",  # outermost: every log line below it carries the id
    "django.middleware.security.SecurityMiddleware",
    "gateway.middleware.SecurityHeaders",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "gateway.middleware.SessionCookie",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "gateway.tenancy.Tenancy",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "gateway.urls"
WSGI_APPLICATION = "gateway.wsgi.application"
ASGI_APPLICATION = "gateway.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_USER_MODEL = "governance.User"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "admin:login"
CSRF_FAILURE_VIEW = "gateway.api.errors.csrf_failure"

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
USE_I18N = True
FORMAT_MODULE_PATH = ["gateway.formats"]
USE_TZ = True
LOCALE_PATHS = [
    BASE_DIR / package / "locale" for package in ("audit", "governance", "training", "gateway")
]

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"

# Django's own handlers spool large uploads to a plaintext temporary file.
FILE_UPLOAD_HANDLERS = ["governance.uploads.SealingUploadHandler"]
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True

# A seeded generator makes DP noise predictable, which voids the guarantee. Tests alone may.
ALLOW_SEEDED_NOISE = False

# Seconds between two flushes of a process's counts of inputs, at least; None for none by itself.
INPUT_COUNTS_EVERY: float | None = 30.0

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "gateway.authentication.ApiKeyAuthentication",
        "gateway.authentication.StaffSession",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["gateway.authentication.Known"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["gateway.api.parsing.StrictJson"],
    "EXCEPTION_HANDLER": "gateway.api.errors.handle",
    "URL_FORMAT_OVERRIDE": None,  # there is one format
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Portcullis",
    "DESCRIPTION": "A compliance gateway for data and models.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "Guarantee": "training.models.Guarantee",
        "Feature": "gateway.models.Feature",
        "SuspensionReason": "gateway.models.SuspensionReason",
        "ModelState": "training.models.ModelState",
        "RunState": "training.models.RunState",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "gateway.openapi.document_problems",
    ],
    "SERVE_INCLUDE_SCHEMA": False,
    # From our own static files: a page that needs a CDN would not open in a closed network.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Portcullis",
    "SITE_HEADER": "Portcullis",
    "SITE_SUBHEADER": "gateway.console.navigation.tenant_name",
    "SITE_SYMBOL": "shield_lock",
    "SITE_URL": None,  # there is no public site to view
    "SHOW_LANGUAGES": True,
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
    "COLORS": {
        "primary": {
            "50": "oklch(97.5% .014 195)",
            "100": "oklch(94% .032 195)",
            "200": "oklch(88.5% .058 195)",
            "300": "oklch(80% .088 195)",
            "400": "oklch(69% .104 196)",
            "500": "oklch(58.5% .1 197)",
            "600": "oklch(49.5% .087 198)",
            "700": "oklch(42.5% .073 200)",
            "800": "oklch(36.5% .06 202)",
            "900": "oklch(31.5% .05 204)",
            "950": "oklch(22% .038 206)",
        },
    },
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "gateway.console.navigation.favicon"}
    ],
    "STYLES": ["gateway.console.navigation.stylesheet"],
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "gateway.console.navigation.navigation",
    },
    # In the place of unfold's own link, which leads to Django's password form.
    "ACCOUNT": {"navigation": [{"title": "API", "link": "/api/docs"}]},
}

# What `derive` fills in; declared here for those who read settings, and for the type checker.
PORTCULLIS_HOME: Path
DATABASES: dict[str, dict[str, Any]]
CACHES: dict[str, dict[str, Any]]
STORAGES: dict[str, dict[str, Any]]
TIME_ZONE: str
LOG_ORIGIN: str
UPLOAD_MAX_BYTES: int
INGEST_WORKERS: int
DEFAULT_EPSILON_CAP: float
DEFAULT_DELTA: float
RUN_APPROVAL_EPSILON: float
TRAINING_MODULES: list[str]
CHECKPOINT_SECONDS: float
CHECKPOINT_KEEP_DAYS: int
FEEDBACK_DAYS: int
LIMITS_REDIS_URL: str | None
SERVING_REGION: str
WATCH_WINDOW_HOURS: int
WATCH_SMALLEST: int
WATCH_ACCURACY_SHARE: float
SERVE_QUEUE: int
SERVE_TIMEOUT: float
READY_LOG_SECONDS: float
TRAINING_RUNS_PER_TENANT: int
COST_CPU_HOUR: Decimal
COST_GPU_HOUR: Decimal
COST_CURRENCY: str
TRAINING_PROCESSES: int
TRAINING_DEVICES: int | None
SOURCES: dict[str, Any]
TRUSTED_PROXIES: list[str]
BATCH_MAX_BYTES: int
BATCH_SECONDS: float
CALL_FILE_MAX_BYTES: int
CALL_FILE_DAYS: int
RELEASE_K: dict[str, int]
RELEASE_L: int
RELEASE_T: Decimal
NLP_MODELS: dict[str, str]
ADDRESS_MODEL: str
CELERY_ACCEPT_CONTENT: list[str]
CELERY_RESULT_BACKEND: str | None
CELERY_TASK_ACKS_LATE: bool
CELERY_WORKER_PREFETCH_MULTIPLIER: int


def derive(env: Environment) -> dict[str, Any]:
    """The settings that depend on the environment, for a profile to put among its own."""
    home = env.home
    return {
        "PORTCULLIS_HOME": home,
        "DATABASES": {"default": database(_reveal(env.database_url), home=home)},
        "CACHES": {"default": _cache(_reveal(env.redis_url))},
        "STORAGES": {
            "default": {
                "BACKEND": "django.core.files.storage.FileSystemStorage",
                "OPTIONS": {"location": str(home / "objects")},
            },
            "staticfiles": {
                "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage",
            },
        },
        "TIME_ZONE": env.time_zone,
        "LOG_ORIGIN": env.log_origin,
        "UPLOAD_MAX_BYTES": env.upload_max_bytes,
        "INGEST_WORKERS": env.ingest_workers,
        "DEFAULT_EPSILON_CAP": env.default_epsilon_cap,
        "DEFAULT_DELTA": env.default_delta,
        "RUN_APPROVAL_EPSILON": env.run_approval_epsilon,
        "TRAINING_MODULES": env.training_modules,
        "CHECKPOINT_SECONDS": env.checkpoint_seconds,
        "CHECKPOINT_KEEP_DAYS": env.checkpoint_keep_days,
        "FEEDBACK_DAYS": env.feedback_days,
        "LIMITS_REDIS_URL": _reveal(env.redis_url),
        "SERVING_REGION": env.serving_region,
        "WATCH_WINDOW_HOURS": env.watch_window_hours,
        "WATCH_SMALLEST": env.watch_smallest,
        "WATCH_ACCURACY_SHARE": env.watch_accuracy_share,
        "SERVE_QUEUE": env.serve_queue,
        "SERVE_TIMEOUT": env.serve_timeout,
        "READY_LOG_SECONDS": env.ready_log_seconds,
        "TRAINING_RUNS_PER_TENANT": env.training_runs_per_tenant,
        "COST_CPU_HOUR": env.cost_cpu_hour,
        "COST_GPU_HOUR": env.cost_gpu_hour,
        "COST_CURRENCY": env.cost_currency,
        "TRAINING_PROCESSES": env.training_processes,
        "TRAINING_DEVICES": env.training_devices,
        "RELEASE_K": {
            "internal": env.release_k_internal,
            "external": env.release_k_external,
            "public": env.release_k_public,
        },
        "RELEASE_L": env.release_l,
        "RELEASE_T": env.release_t,
        "NLP_MODELS": env.nlp_models,
        "ADDRESS_MODEL": env.address_model,
        "SOURCES": env.sources,
        "TRUSTED_PROXIES": env.trusted_proxies,
        "BATCH_MAX_BYTES": env.batch_max_bytes,
        "BATCH_SECONDS": env.batch_seconds,
        "CALL_FILE_MAX_BYTES": env.call_file_max_bytes,
        "CALL_FILE_DAYS": env.call_file_days,
        "LOGGING": _logging(env.log_level),
        **celery(_reveal(env.celery_broker_url), home=home),
    }


def _reveal(secret: Any) -> str | None:
    return None if secret is None else str(secret.get_secret_value())


def _cache(redis_url: str | None) -> dict[str, Any]:
    if redis_url is None:
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": redis_url,
        # Django's default pickles: whoever writes to Redis would run code here.
        "OPTIONS": {"serializer": "gateway.caching.JsonSerializer"},
        "KEY_PREFIX": "portcullis",
    }


def _logging(level: str) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "gateway.logs.JsonFormatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            # Django's own configuration would print requests and SQL parameters, which are data.
            "django": {"handlers": [], "level": "WARNING", "propagate": True},
            "django.server": {"handlers": [], "level": "WARNING", "propagate": True},
            # Kombu misses a host name in the address of its own filesystem transport.
            "kombu.connection": {"level": "ERROR"},
            **{name: {"level": level} for name in ("audit", "governance", "training", "gateway")},
        },
    }
