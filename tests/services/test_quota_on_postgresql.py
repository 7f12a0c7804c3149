"""Quota, keys and idempotency on PostgreSQL at READ COMMITTED, with real worker processes.

On SQLite one writer at a time makes most of this true; here row locks alone do.
"""

from collections.abc import Callable

import psycopg
import pytest

WHAT = (
    "tests/gateway/test_metering.py",
    "tests/gateway/test_quotas.py",
    "tests/gateway/test_limits.py",
    "tests/gateway/test_workers.py",
    "tests/gateway/test_garbage.py",
)


@pytest.mark.timeout(600)
def test_never_one_call_too_many_on_postgresql(
    database_url: str, on_postgresql: Callable[..., str]
) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SHOW default_transaction_isolation").fetchone()
    assert row == ("read committed",)
    assert "skipped" not in on_postgresql(*WHAT)
