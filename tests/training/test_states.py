"""Which changes of a run's state are legal: every pair, in the code and in the database."""

from itertools import product
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from governance.scoping import tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import ask, make_version
from training import guards
from training.errors import RunStateError
from training.models import Run, RunState
from training.states import LEGAL, move

# Written out here once more: a change of the table is a decision, not a slip.
WAYS = {
    ("awaiting_approval", "awaiting_approval"),
    ("awaiting_approval", "queued"),
    ("awaiting_approval", "cancelled"),
    ("queued", "running"),
    ("queued", "failed"),
    ("queued", "cancelled"),
    ("running", "running"),
    ("running", "finished"),
    ("running", "failed"),
    ("running", "cancelled"),
    ("failed", "queued"),
    ("failed", "awaiting_approval"),
    ("cancelled", "queued"),
    ("cancelled", "awaiting_approval"),
}
PAIRS = [(str(start), str(end)) for start, end in product(RunState, RunState)]


@pytest.fixture
def run(db: None, home: Any) -> Run:
    house: House = make_house()
    return ask(house, make_version(house))


def put(run: Run, state: str) -> None:
    """Into a state, whatever the guard says."""
    with connection.cursor() as cursor:
        table = " ON training_run" if connection.vendor == "postgresql" else ""
        connection.check_constraints()  # PostgreSQL alters no table that a check still waits for
        cursor.execute(f"DROP TRIGGER run_way{table}")
        cursor.execute("UPDATE training_run SET state = %s", [state])
        connection.check_constraints()  # as above
        for statement in guards.install_sql(connection.vendor):
            cursor.execute(statement)
    with tenant_scope(run.tenant_id):
        run.refresh_from_db()


def test_every_state_is_in_the_table() -> None:
    assert set(LEGAL) == set(RunState)
    assert {(str(start), str(end)) for start in LEGAL for end in LEGAL[start]} == WAYS


def test_all_pairs(run: Run) -> None:
    """In one test: each pair takes a millisecond, and the run a quarter of a second."""
    with tenant_scope(run.tenant_id):
        for start, end in PAIRS:
            put(run, start)
            if (start, end) in WAYS:
                move(run, RunState(end))
            else:
                with pytest.raises(RunStateError):
                    move(run, RunState(end))
            run.refresh_from_db()
            assert run.state == (end if (start, end) in WAYS else start), (start, end)

            put(run, start)
            way_around = Run.objects.filter(pk=run.pk)
            if (start, end) in WAYS or start == end:
                way_around.update(state=end)
            else:
                with pytest.raises(IntegrityError), transaction.atomic():
                    way_around.update(state=end)


def test_a_run_is_not_put_over_itself(run: Run) -> None:
    """REPLACE INTO would fire no trigger of updates."""
    if connection.vendor != "sqlite":
        pytest.skip("SQLite's own statement")
    put(run, "finished")
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("REPLACE INTO training_run SELECT * FROM training_run")


def test_a_guard_that_is_gone_is_missed_and_put_back(run: Run) -> None:
    assert guards.missing_guards(connection) == []
    connection.check_constraints()  # as above
    with connection.cursor() as cursor:
        table = " ON training_run" if connection.vendor == "postgresql" else ""
        cursor.execute(f"DROP TRIGGER run_way{table}")
    assert guards.missing_guards(connection) == ["guard run_way is gone"]
    guards.reinstall(using="default")
    assert guards.missing_guards(connection) == []
