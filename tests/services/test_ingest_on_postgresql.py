"""An ingest in row groups on PostgreSQL, workers killed included: its locks are others."""

from collections.abc import Callable

import pytest


@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", ["test_ingest", "test_batches", "test_killed_ingest"])
def test_an_ingest_holds_on_postgresql(on_postgresql: Callable[..., str], what: str) -> None:
    on_postgresql(f"tests/governance/{what}.py")
