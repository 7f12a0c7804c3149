"""What every test has: append-only tables that survive Django's flush, and a home of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import TransactionTestCase
from pytest_django.fixtures import Settings

from gateway.settings.firststart import prepare
from tests.append_only import create_triggers, drop_triggers


@pytest.fixture(autouse=True, scope="session")
def _append_only_tables_can_be_flushed() -> Iterator[None]:
    """Take the triggers off while Django empties the tables of a transactional test.

    Django empties them in `_fixture_teardown`, which every kind of transactional test passes: the
    `db` fixtures with `transaction=True`, `live_server`, and plain TransactionTestCase.
    """
    flush = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]  # no public hook

    def guarded(self: Any) -> None:
        connection = connections["default"]
        drop_triggers(connection)
        try:
            flush(self)
        finally:
            create_triggers(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", guarded)
        yield


@pytest.fixture
def home(tmp_path: Path, settings: Settings) -> Path:
    """An empty PORTCULLIS_HOME for one test: no keys, no objects."""
    folder = tmp_path / "home"
    prepare(folder)
    settings.PORTCULLIS_HOME = folder
    settings.LOG_KEY_FILE = folder / "keys" / "log.key"
    settings.RECEIPT_KEY_FILE = folder / "keys" / "receipt.key"
    settings.ROOT_KEY_FILE = folder / "keys" / "root.key"
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(folder / "objects")},
        },
    }
    return folder
