"""Claims of jobs side by side on PostgreSQL, where READ COMMITTED alone would let two count one."""

from collections.abc import Callable

import pytest

WHAT = ("tests/governance/test_leases.py", "tests/training/test_states.py")


@pytest.mark.timeout(300)
def test_no_tenant_has_more_than_its_places(on_postgresql: Callable[..., str]) -> None:
    for _ in range(3):  # processes do not always meet
        on_postgresql(*WHAT)
