"""What the environment may say, typed. A bad or missing value stops the process by name.

Variables are `PORTCULLIS_` plus the field's name in capitals, except the three that every platform
spells the same way: DATABASE_URL, CELERY_BROKER_URL, REDIS_URL.
"""

import os
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from django.core.exceptions import ImproperlyConfigured
from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

BASE_DIR: Final = Path(__file__).resolve().parents[2]
PREFIX: Final = "PORTCULLIS_"


def _split(value: object) -> object:
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return value


# "a,b" in the environment; NoDecode, because pydantic would want JSON.
Names = Annotated[list[str], NoDecode, BeforeValidator(_split)]


class Environment(BaseSettings):
    """What every profile reads. Nothing here has a default that would be unsafe in production."""

    # hide_input_in_errors: a rejected secret must not be printed with its rejection.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    home: Path = BASE_DIR / "var"
    database_url: SecretStr | None = Field(None, validation_alias=AliasChoices("DATABASE_URL"))
    celery_broker_url: SecretStr | None = Field(
        None, validation_alias=AliasChoices("CELERY_BROKER_URL")
    )
    redis_url: SecretStr | None = Field(None, validation_alias=AliasChoices("REDIS_URL"))

    log_origin: str = Field("portcullis.localhost/log", min_length=1, pattern=r"^[^\s+]+$")
    log_level: str = Field("INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")
    upload_max_bytes: int = Field(2 * 2**30, gt=0)
    default_epsilon_cap: float = Field(3.0, gt=0, le=100)
    default_delta: float = Field(1e-5, gt=0, lt=1e-2)
    run_approval_epsilon: float = Field(1.0, gt=0)
    ingest_workers: int = Field(
        default_factory=lambda: min(4, max(1, (os.cpu_count() or 1) // 2)), gt=0
    )
    checkpoint_seconds: float = Field(10.0, ge=0)
    checkpoint_keep_days: int = Field(30, gt=0, le=3650)
    training_modules: Names = []
    # The watch over released models: its public schedule, and what it calls a decline.
    feedback_days: int = Field(90, gt=0, le=3650)
    watch_window_hours: int = Field(24, gt=0, le=24 * 90)
    watch_smallest: int = Field(200, ge=50)
    watch_accuracy_share: float = Field(0.9, gt=0, le=1)
    # Where calls are answered, for licenses that are for certain regions; "" says nothing.
    serving_region: str = Field("", pattern=r"^([a-z][a-z0-9-]{1,39})?$")
    # Calls that may wait in a process, seconds that one may, and how old a pending leaf may be.
    serve_queue: int = Field(64, gt=0, le=100_000)
    serve_timeout: float = Field(5.0, gt=0, le=120)
    ready_log_seconds: float = Field(300.0, gt=0)
    training_runs_per_tenant: int = Field(2, gt=0)
    # What an hour of a worker costs the house; 0 where it does not reckon in money.
    cost_cpu_hour: Decimal = Field(Decimal(0), ge=0, lt=10**6, decimal_places=4)
    cost_gpu_hour: Decimal = Field(Decimal(0), ge=0, lt=10**6, decimal_places=4)
    cost_currency: str = Field("EUR", pattern=r"^[A-Z]{3}$")
    training_processes: int = Field(1, ge=1, le=64)
    training_devices: int | None = Field(None, ge=0, le=64)  # None: those that the driver shows
    # How well rows must hide people, by who receives them: the product's figures, or stricter ones.
    release_k_internal: int = Field(5, ge=5)
    release_k_external: int = Field(11, ge=11)
    release_k_public: int = Field(20, ge=20)
    release_l: int = Field(2, ge=2)
    release_t: Decimal = Field(Decimal("0.3"), gt=0, le=Decimal("0.3"))
    # Language models of one's own, {"de": "/models/de"}, and when a model reads addresses.
    nlp_models: dict[str, str] = Field(default_factory=dict)
    address_model: Literal["auto", "on", "off"] = "auto"
    # Networks of proxies whose X-Forwarded-For is believed; none by default.
    trusted_proxies: Names = []
    # A batch of rows in one call: its body, and how long it may take; a claim lasts 60 s.
    batch_max_bytes: int = Field(8 * 2**20, ge=2**20, le=2**30)
    batch_seconds: float = Field(30.0, gt=0, le=50)
    call_file_max_bytes: int = Field(256 * 2**20, gt=0, le=2**34)
    call_file_days: int = Field(7, gt=0, le=365)
    time_zone: str = "UTC"
    # Where stewards may fetch data from: {"name": "postgresql://…"}; see governance.sources.
    sources: dict[str, Any] = Field(default_factory=dict, repr=False)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        # Whoever is trusted here says from where callers come: not everybody.
        if not all(ip_network(network).prefixlen for network in value):
            raise ValueError("a proxy's network is not all the world")
        return value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()


class DevelopmentEnvironment(Environment):
    """A laptop: loopback only, secrets made at first start under `home`."""

    allowed_hosts: Names = ["localhost", "127.0.0.1", "[::1]"]
    debug: bool = False
    log_key_file: Path | None = None
    receipt_key_file: Path | None = None
    root_key_file: Path | None = None


class ProductionEnvironment(Environment):
    """Production: whoever deploys says where each secret is."""

    home: Path
    secret_key: SecretStr = Field(min_length=50)
    allowed_hosts: Names = Field(min_length=1)
    csrf_trusted_origins: Names = []
    database_url: SecretStr = Field(validation_alias=AliasChoices("DATABASE_URL"))
    celery_broker_url: SecretStr = Field(validation_alias=AliasChoices("CELERY_BROKER_URL"))
    log_origin: str = Field(min_length=1, pattern=r"^[^\s+]+$")
    log_key_file: Path
    receipt_key_file: Path
    root_key_file: Path
    behind_proxy: bool = False
    hsts_seconds: int = Field(365 * 24 * 3600, ge=0)


Profile = TypeVar("Profile", bound=Environment)


def load(profile: type[Profile]) -> Profile:
    """Read the environment into `profile`.

    Raises:
        ImproperlyConfigured: naming every variable that is missing or wrong, and no value.
    """
    try:
        return profile()
    except ValidationError as error:
        wrong = sorted(
            f"{_variable(profile, str(item['loc'][0]))}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False, include_context=False)
        )
    # Outside the handler: the validation error must not hang on as this one's context.
    raise ImproperlyConfigured("The environment is not usable:\n  " + "\n  ".join(wrong))


def _variable(profile: type[Environment], location: str) -> str:
    """The environment variable that a validation error's first location stands for."""
    return PREFIX + location.upper() if location in profile.model_fields else location
