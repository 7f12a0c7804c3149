"""The ledger's races and kills on PostgreSQL, where row locks, not one writer, keep the order."""

from collections.abc import Callable

import pytest

WHAT = (
    "tests/training/test_ledger.py",
    "tests/training/test_pipeline_goes_on.py::test_killed_at_any_moment_nothing_is_charged_twice",
    "tests/training/test_pipeline_goes_on.py::test_a_stopped_run_goes_on_and_is_paid_for_once",
    "tests/training/test_pipeline_goes_on.py::test_a_heartbeat_keeps_the_lease_during_a_long_step",
    "tests/training/test_actions_runs.py::test_the_budget_admits_until_it_is_full",
    "tests/training/test_actions_runs.py::test_a_retry_reserves_anew_and_what_was_spent_stays",
)


@pytest.mark.timeout(600)
def test_the_ledger_holds_on_postgresql(on_postgresql: Callable[..., str]) -> None:
    assert "skipped" not in on_postgresql(*WHAT)
