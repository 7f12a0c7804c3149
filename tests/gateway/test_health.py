"""Probes tell a dead process from one that cannot work yet."""

import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from audit import keys as log_keys
from audit.models import PendingLeaf
from gateway import health, serving
from gateway.shedding import CALLS
from tests.factories.gateway import make_license, make_shop, make_version


@pytest.fixture(autouse=True)
def _a_process_with_keys() -> None:
    log_keys.ensure_keys()
    health._opened.clear()
    serving.MODELS.clear()


def told(response: Any) -> tuple[str, list[str], list[str]]:
    body = response.json()
    return body["status"], body["missing"], body["degraded"]


def test_healthz_needs_no_database(client: Client) -> None:
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_readyz(client: Client) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (
        200,
        {"status": "ok", "missing": [], "degraded": []},
    )


@pytest.mark.django_db
def test_readyz_waits_for_migrations(client: Client) -> None:
    newest = MigrationRecorder.Migration.objects.filter(app="gateway").latest("id")
    MigrationRecorder(connection).record_unapplied("gateway", newest.name)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert told(response) == ("unavailable", ["database"], [])


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_only_read(path: str, client: Client) -> None:
    assert client.post(path).status_code == 405


def test_healthz_asks_nobody(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_parts", lambda: pytest.fail("liveness asks"))
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_readyz_without_a_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> bool:
        raise DatabaseError

    monkeypatch.setattr(health, "_database_is_current", away)
    response = client.get("/readyz")
    assert (response.status_code, told(response)) == (503, ("unavailable", ["database"], []))


@pytest.mark.django_db
def test_readyz_without_a_receipt_key(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.RECEIPT_KEY_FILE = tmp_path / "gone.key"
    assert told(client.get("/readyz")) == ("unavailable", ["receipt_key"], [])


@pytest.mark.django_db
@pytest.mark.parametrize(("age", "missing"), [(0, []), (50, []), (70, ["log"])])
def test_readyz_when_the_log_falls_behind(
    age: int, missing: list[str], client: Client, settings: Any
) -> None:
    settings.READY_LOG_SECONDS = 60.0
    milliseconds = int((time.time() - age) * 1000)
    PendingLeaf.objects.all().delete()
    PendingLeaf.objects.create(
        entry_id=uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0x8 << 60), leaf_hash=b"0" * 32
    )
    assert told(client.get("/readyz"))[1] == missing


@pytest.mark.django_db
def test_readyz_with_a_full_queue(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SERVE_QUEUE = 3
    monkeypatch.setattr(CALLS, "waiting", 2)
    assert told(client.get("/readyz"))[1] == []
    monkeypatch.setattr(CALLS, "waiting", 3)
    assert told(client.get("/readyz")) == ("unavailable", ["queue"], [])


@pytest.mark.django_db
def test_readyz_opens_the_models_and_warms_them(client: Client) -> None:
    shop = make_shop()
    other = make_version(shop.house, "other", seed=1)
    unlicensed = make_version(shop.house, "unlicensed", seed=2)
    make_license(shop.house, shop.customer, other.model)
    default_storage.delete(unlicensed.artifact.name)  # nobody may call it: not asked for
    assert told(client.get("/readyz")) == ("ok", [], [])
    assert serving.MODELS.holds(shop.version.artifact_digest)
    assert not serving.MODELS.holds(unlicensed.artifact_digest)


@pytest.mark.django_db
def test_one_model_that_does_not_open_keeps_no_other_from_answering(client: Client) -> None:
    shop = make_shop()
    other = make_version(shop.house, "other", seed=1)
    make_license(shop.house, shop.customer, other.model)
    default_storage.delete(other.artifact.name)
    response = client.get("/readyz")
    assert (response.status_code, told(response)) == (200, ("degraded", [], ["models"]))
    default_storage.delete(shop.version.artifact.name)
    health._opened.clear()
    serving.MODELS.clear()
    response = client.get("/readyz")
    assert (response.status_code, told(response)) == (503, ("unavailable", ["models"], []))
