"""The world that the console's tests look at."""

from pathlib import Path

import pytest

from tests.factories.console import World, make_world


@pytest.fixture
def world(db: None, home: Path) -> World:
    return make_world()
