"""Append-only tables: one SQL text per vendor, installed by migrations, no bypass in the product.

PostgreSQL: row triggers refuse UPDATE and DELETE, a statement trigger refuses TRUNCATE, and each is
`ENABLE ALWAYS`, so that `session_replication_role = replica` does not switch it off.

SQLite: `INSERT OR REPLACE` deletes the old row without firing DELETE triggers (unless the
connection has `recursive_triggers` on), so a BEFORE INSERT trigger refuses any row whose rowid or
unique value is already there. The hidden rowid counts too: `REPLACE INTO t(rowid, …)` hits it.
Where a statement gives no rowid, SQLite shows `NEW.rowid` as -1 to a BEFORE trigger, so an AFTER
trigger keeps every stored rowid positive.

A later migration that alters such a table on SQLite makes a new table and drops the old one with
its triggers; `reinstall` puts them back after every `migrate`. Where another table's `delete_when`
or `insert_unless` names the altered one, SQLite refuses ("error in trigger"): that migration first
runs the other table's `drop_sql`.

These triggers stop accidents and the application; the database's owner can drop them. What convicts
the owner is the log: checkpoints held elsewhere, and the signer's own memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import AppConfig
from django.db import connections, migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


@dataclass(frozen=True, slots=True)
class Table:
    """What is append-only about a table.

    Attributes:
        name: the table.
        unique: every set of columns that is unique in it, primary key included; SQLite needs them.
        delete_when: an SQL condition over `OLD` under which a DELETE is let through, "" for never.
        insert_unless: an SQL condition over `NEW` under which an INSERT is refused, "" for never.
    """

    name: str
    unique: tuple[tuple[str, ...], ...]
    delete_when: str = ""
    insert_unless: str = ""


def install_sql(vendor: str, table: Table) -> list[str]:
    """The statements that make `table` append-only; running them twice does no harm.

    Raises:
        ValueError: a database other than SQLite and PostgreSQL.
    """
    match vendor:
        case "sqlite":
            create = _sqlite(table)
        case "postgresql":
            create = _postgresql(table)
        case _:
            raise ValueError(f"no append-only triggers for {vendor}")
    return [*drop_sql(vendor, table), *create]


def drop_sql(vendor: str, table: Table) -> list[str]:
    """The statements that take the triggers off again: a reversed migration and test flushes."""
    on = f' ON "{table.name}"' if vendor == "postgresql" else ""
    return [f'DROP TRIGGER IF EXISTS "{name}"{on}' for name in _names(vendor, table)]


def append_only(
    table: str,
    *,
    unique: Sequence[str | Sequence[str]],
    delete_when: str = "",
    insert_unless: str = "",
) -> "AppendOnly":
    """A migration operation that makes `table` append-only; see `Table` for the arguments.

    A name in `unique` stands for itself, a sequence for columns that are unique together.
    """
    return AppendOnly(table, unique=unique, delete_when=delete_when, insert_unless=insert_unless)


class AppendOnly(Operation):
    """Install the triggers of one table, with the SQL of the connection's vendor."""

    reduces_to_sql = True
    reversible = True

    def __init__(
        self,
        table: str,
        *,
        unique: Sequence[str | Sequence[str]],
        delete_when: str = "",
        insert_unless: str = "",
    ) -> None:
        sets = tuple(
            (columns,) if isinstance(columns, str) else tuple(columns) for columns in unique
        )
        self.table = Table(table, sets, delete_when, insert_unless)

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Triggers are no part of Django's model state."""

    def database_forwards(
        self,
        app_label: str,  # noqa: ARG002 - Django's signature
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,  # noqa: ARG002 - Django's signature
        to_state: ProjectState,  # noqa: ARG002 - Django's signature
    ) -> None:
        """Install."""
        for statement in install_sql(schema_editor.connection.vendor, self.table):
            schema_editor.execute(statement, params=None)

    def database_backwards(
        self,
        app_label: str,  # noqa: ARG002 - Django's signature
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,  # noqa: ARG002 - Django's signature
        to_state: ProjectState,  # noqa: ARG002 - Django's signature
    ) -> None:
        """Take off again."""
        for statement in drop_sql(schema_editor.connection.vendor, self.table):
            schema_editor.execute(statement, params=None)

    def describe(self) -> str:
        """The line that `migrate` and `sqlmigrate` print."""
        return f"Make {self.table.name} append-only"


def declared(connection: BaseDatabaseWrapper) -> Iterator[Table]:
    """Every table that an applied migration of any app has made append-only."""
    loader = MigrationLoader(connection)
    applied = loader.applied_migrations
    for key, migration in loader.disk_migrations.items():
        if key in applied:
            for operation in migration.operations:
                if isinstance(operation, AppendOnly):
                    yield operation.table


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """What is wrong with the triggers of this database, one sentence each; empty when all stand."""
    faults = []
    standing = _standing_sqlite if connection.vendor == "sqlite" else _standing_postgresql
    with connection.cursor() as cursor:
        for table in declared(connection):
            wanted = set(_names(connection.vendor, table))
            found = standing(cursor, table)
            faults += [f"{table.name} lacks trigger {name}" for name in sorted(wanted - found)]
            faults += [
                f"{table.name} is unique in ({', '.join(columns)}), which its declaration omits"
                for columns in _undeclared_unique(cursor, connection.vendor, table)
            ]
    return faults


def reinstall(
    sender: AppConfig,  # noqa: ARG001 - Django's signal signature
    *,
    using: str,
    plan: Sequence[tuple[migrations.Migration, bool]] = (),
    **_signal: Any,
) -> None:
    """After a migration that did something, put every declared trigger back.

    SQLite alters a table by making a new one, and the old one takes its triggers along.
    """
    connection = connections[using]
    if not plan or connection.vendor not in {"sqlite", "postgresql"}:
        return
    there = set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        for table in declared(connection):
            if table.name in there:
                for statement in install_sql(connection.vendor, table):
                    cursor.execute(statement)


def _standing_sqlite(cursor: Any, table: Table) -> set[str]:
    """The triggers that say what we installed: one of the same name may do nothing."""
    cursor.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [table.name]
    )
    ours = set(_sqlite(table))
    return {name for name, text in cursor.fetchall() if text in ours}


def _standing_postgresql(cursor: Any, table: Table) -> set[str]:
    """The triggers that fire when ours do, on no condition, and call what we wrote."""
    # "A" is ENABLE ALWAYS; anything less can be switched off by a session. A replaced function
    # leaves its trigger as it was, so its text is read too.
    cursor.execute(
        "SELECT tgname, tgtype, prosrc FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid"
        " WHERE NOT tgisinternal AND tgenabled = 'A' AND tgqual IS NULL AND tgattr = ''"
        " AND tgrelid = to_regclass(%s)",
        [table.name],
    )
    no_change, no_truncate, *no_repeat = _names("postgresql", table)
    # Bits of tgtype (PostgreSQL's catalog/pg_trigger.h): row 1, before 2, insert 4, delete 8,
    # update 16, truncate 32.
    kinds = {no_change: 1 + 2 + 8 + 16, no_truncate: 2 + 32, **dict.fromkeys(no_repeat, 1 + 2 + 4)}
    functions = " ".join(_postgresql(table))
    return {
        name
        for name, kind, text in cursor.fetchall()
        if kinds.get(name) == kind and f"$${text}$$" in functions
    }


def _undeclared_unique(cursor: Any, vendor: str, table: Table) -> list[tuple[str, ...]]:
    """Unique indexes that `table.unique` leaves out: on SQLite each is a way for REPLACE."""
    if vendor != "sqlite":
        return []
    known = {frozenset(columns) for columns in table.unique}
    cursor.execute('SELECT name FROM pragma_index_list(%s) WHERE "unique" = 1', [table.name])
    found = []
    for (index,) in cursor.fetchall():
        cursor.execute("SELECT name FROM pragma_index_info(%s) ORDER BY seqno", [index])
        columns = tuple(row[0] for row in cursor.fetchall())
        if frozenset(columns) not in known:
            found.append(columns)
    return found


def _names(vendor: str, table: Table) -> list[str]:
    """Trigger names, in the order in which the SQL creates them."""
    parts = {
        "sqlite": ("no_update", "no_delete", "no_replace", "no_odd_rowid"),
        "postgresql": ("no_change", "no_truncate"),
    }[vendor]
    extra = ("no_repeat",) if vendor == "postgresql" and table.insert_unless else ()
    return [f"{table.name}_{part}" for part in (*parts, *extra)]


def _sqlite(table: Table) -> list[str]:
    name = table.name
    no_update, no_delete, no_replace, no_odd_rowid = _names("sqlite", table)
    refuse = f"BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END"
    # The hidden rowid goes unquoted: SQLite reads an unknown quoted name as a string.
    same_values = ["rowid = NEW.rowid", *map(_same, table.unique)]
    taken = " OR ".join(
        f'EXISTS (SELECT 1 FROM "{name}" WHERE {same})'  # noqa: S608 - names from migrations
        for same in same_values
    )
    if table.insert_unless:
        taken += f" OR ({table.insert_unless})"
    may_delete = f" WHEN NOT ({table.delete_when})" if table.delete_when else ""
    on = f'ON "{name}"'
    return [
        f'CREATE TRIGGER "{no_update}" BEFORE UPDATE {on} {refuse}',
        f'CREATE TRIGGER "{no_delete}" BEFORE DELETE {on}{may_delete} {refuse}',
        f'CREATE TRIGGER "{no_replace}" BEFORE INSERT {on} WHEN {taken} {refuse}',
        f'CREATE TRIGGER "{no_odd_rowid}" AFTER INSERT {on} WHEN NEW.rowid < 1 {refuse}',
    ]


def _same(columns: Sequence[str]) -> str:
    return " AND ".join(f'"{column}" = NEW."{column}"' for column in columns)


def _postgresql(table: Table) -> list[str]:
    name = table.name
    no_change, no_truncate, *no_repeat = _names("postgresql", table)
    # restrict_violation (23001) reaches Django as IntegrityError, as SQLite's RAISE does.
    refuse = f"RAISE EXCEPTION '{name} is append-only' USING ERRCODE = 'restrict_violation';"
    # A WHEN clause may hold no subquery, so a condition lives in a function of the table's own.
    may_delete = (
        f"IF TG_OP = 'DELETE' THEN IF {table.delete_when} THEN RETURN OLD; END IF; END IF;"
        if table.delete_when
        else ""
    )
    on = f'ON "{name}"'
    statements = [
        _function(f"{name}_refuse", f"{may_delete} {refuse}"),
        (
            f'CREATE TRIGGER "{no_change}" BEFORE UPDATE OR DELETE {on}'
            f' FOR EACH ROW EXECUTE FUNCTION "{name}_refuse"()'
        ),
        (
            f'CREATE TRIGGER "{no_truncate}" BEFORE TRUNCATE {on}'
            f' FOR EACH STATEMENT EXECUTE FUNCTION "{name}_refuse"()'
        ),
    ]
    for trigger in no_repeat:
        check = f"IF {table.insert_unless} THEN {refuse} END IF; RETURN NEW;"
        statements += [
            _function(f"{name}_admit", check),
            (
                f'CREATE TRIGGER "{trigger}" BEFORE INSERT {on}'
                f' FOR EACH ROW EXECUTE FUNCTION "{name}_admit"()'
            ),
        ]
    always = (
        f'ALTER TABLE "{name}" ENABLE ALWAYS TRIGGER "{trigger}"'
        for trigger in _names("postgresql", table)
    )
    return [*statements, *always]


def _function(name: str, statements: str) -> str:
    return (
        f'CREATE OR REPLACE FUNCTION "{name}"() RETURNS trigger LANGUAGE plpgsql AS'
        f" $$ BEGIN {statements} END $$"
    )
