"""Probes tell a dead process from one that cannot work yet."""

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client


def test_healthz_needs_no_database(client: Client) -> None:
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_readyz(client: Client) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "missing": []})


@pytest.mark.django_db
def test_readyz_waits_for_migrations(client: Client) -> None:
    newest = MigrationRecorder.Migration.objects.filter(app="gateway").latest("id")
    MigrationRecorder(connection).record_unapplied("gateway", newest.name)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "missing": ["database"]}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_only_read(path: str, client: Client) -> None:
    assert client.post(path).status_code == 405
