"""Quota, keys and idempotency on PostgreSQL at READ COMMITTED, with real worker processes.

On SQLite one writer at a time makes most of this true; here row locks alone do.
"""

import os
import subprocess
import sys

import psycopg
import pytest

from gateway.settings.env import BASE_DIR

WHAT = (
    "tests/gateway/test_metering.py",
    "tests/gateway/test_workers.py",
    "tests/gateway/test_garbage.py",
)


@pytest.mark.timeout(600)
def test_never_one_call_too_many_on_postgresql(database_url: str) -> None:
    """The same tests, in a session of their own on a database beside the one that is named."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SHOW default_transaction_isolation").fetchone()
    assert row == ("read committed",)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *WHAT],
        cwd=BASE_DIR,
        env={**os.environ, "DATABASE_URL": database_url, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout
