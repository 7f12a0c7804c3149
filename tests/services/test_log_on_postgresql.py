"""The log, its triggers, approvals and roles on PostgreSQL: the statements there are others."""

from collections.abc import Callable

import pytest

WHAT = (
    "tests/audit/test_triggers.py",
    "tests/audit/test_sequencer.py",
    "tests/audit/test_recording.py",
    "tests/governance/test_approvals.py",
    "tests/governance/test_actions_people.py",
)


@pytest.mark.timeout(600)
def test_the_log_and_its_guards_hold_on_postgresql(on_postgresql: Callable[..., str]) -> None:
    on_postgresql(*WHAT)  # what is SQLite's own is skipped there, and runs in the suite
