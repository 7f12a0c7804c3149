"""The ledger's races and kills on PostgreSQL, where row locks, not one writer, keep the order."""

import os
import subprocess
import sys

from gateway.settings.env import BASE_DIR

WHAT = (
    "tests/training/test_ledger.py",
    "tests/training/test_pipeline.py::test_killed_at_any_moment_the_ledger_covers_what_happened",
    "tests/training/test_pipeline.py::test_a_heartbeat_keeps_the_lease_during_a_long_step",
    "tests/training/test_actions_runs.py::test_the_budget_admits_until_it_is_full",
    "tests/training/test_actions_runs.py::test_a_retry_reserves_anew_and_what_was_spent_stays",
)


def test_the_ledger_holds_on_postgresql(database_url: str) -> None:
    """The same tests, in a session of their own on a database beside the one that is named."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *WHAT],
        cwd=BASE_DIR,
        env={**os.environ, "DATABASE_URL": database_url, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout
