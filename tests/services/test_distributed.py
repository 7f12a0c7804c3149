"""Whole runs in two processes of torchrun, on PostgreSQL, with processes that are killed."""

from collections.abc import Callable

import pytest

WHAT = (
    "tests/services/distributed.py",
    "tests/training/distributed/test_devices.py",
)


@pytest.mark.timeout(600)
def test_runs_in_several_processes_on_postgresql(on_postgresql: Callable[..., str]) -> None:
    assert "skipped" not in on_postgresql(*WHAT)
