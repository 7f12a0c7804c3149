"""A trigger that holds `training.states.LEGAL`, whatever writes to the table of runs.

Installed by a migration and put back after every `migrate`, as `governance.guards`.
"""

from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from governance.guards import standing
from training.models import RunState
from training.states import LEGAL

_TABLE: Final = "training_run"
_WORDS: Final = "a run does not change so"
_NAMES: Final = {"sqlite": ("run_way", "run_once"), "postgresql": ("run_way",)}


def install_sql(vendor: str) -> list[str]:
    """The statements that install the guard; running them twice does no harm."""
    return _sqlite() if vendor == "sqlite" else _postgresql()


def reinstall(*, using: str, **_signal: Any) -> None:
    """Put the guard back: connected to `post_migrate`."""
    database = connections[using]
    if database.vendor in _NAMES and _TABLE in database.introspection.table_names():
        with database.cursor() as cursor:
            for statement in install_sql(database.vendor):
                cursor.execute(statement)


def missing_guards(looked_at: BaseDatabaseWrapper) -> list[str]:
    """One sentence for each guard that does not stand in this database; empty when all do."""
    there = standing(looked_at)
    return [f"guard {name} is gone" for name in _NAMES[looked_at.vendor] if name not in there]


def _illegal() -> str:
    """When an update is refused."""
    ways = [
        f"(OLD.state = '{start.value}' AND NEW.state = '{end.value}')"
        for start in RunState
        for end in sorted(LEGAL[start])
        if start is not end
    ]
    return f"NEW.state <> OLD.state AND NOT ({' OR '.join(ways)})"


def _sqlite() -> list[str]:
    # REPLACE INTO fires no UPDATE trigger.
    there = f"EXISTS (SELECT 1 FROM {_TABLE} AS old WHERE old.id = NEW.id)"  # noqa: S608 - no input
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_WORDS}'); END"
    return [
        "DROP TRIGGER IF EXISTS run_way",
        f"CREATE TRIGGER run_way BEFORE UPDATE ON {_TABLE} WHEN {_illegal()} {refuse}",
        "DROP TRIGGER IF EXISTS run_once",
        f"CREATE TRIGGER run_once BEFORE INSERT ON {_TABLE} WHEN {there} {refuse}",
    ]


def _postgresql() -> list[str]:
    return [
        (
            "CREATE OR REPLACE FUNCTION run_way() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN IF {_illegal()} THEN RAISE EXCEPTION '{_WORDS}'"
            " USING ERRCODE = 'check_violation'; END IF; RETURN NEW; END $$"
        ),
        f"DROP TRIGGER IF EXISTS run_way ON {_TABLE}",
        (
            f"CREATE TRIGGER run_way BEFORE UPDATE ON {_TABLE}"
            " FOR EACH ROW EXECUTE FUNCTION run_way()"
        ),
        f"ALTER TABLE {_TABLE} ENABLE ALWAYS TRIGGER run_way",
    ]
