"""The world that the console's tests look at: made once a module, and put back after each test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.test import override_settings

from gateway.settings.firststart import prepare
from tests.factories.console import World, make_world


@pytest.fixture(scope="module")
def _module_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("console") / "home"
    prepare(folder)
    keys = folder / "keys"
    objects = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(folder / "objects")},
    }
    with override_settings(
        PORTCULLIS_HOME=folder,
        LOG_KEY_FILE=keys / "log.key",
        RECEIPT_KEY_FILE=keys / "receipt.key",
        ROOT_KEY_FILE=keys / "root.key",
        STORAGES={**settings.STORAGES, "default": objects},
    ):
        yield folder


@pytest.fixture(scope="module")
def _made(_module_home: Path, django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """In a transaction around those of the module's tests, rolled back after the last."""
    with django_db_blocker.unblock():
        around = transaction.atomic()
        around._from_testcase = True  # type: ignore[attr-defined]  # as TestCase marks its own
        around.__enter__()
        made = make_world()
    yield made
    with django_db_blocker.unblock():
        transaction.set_rollback(True)
        around.__exit__(None, None, None)


@pytest.fixture
def home(_module_home: Path) -> Path:
    return _module_home


@pytest.fixture
def world(_made: World, db: None) -> World:
    return _made
