"""Append-only tables hold against every statement that changes rows, on either database."""

# ruff: noqa: S608 - the statements are made of our own table and column names

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import IntegrityError, ProgrammingError, connection, migrations, models, transaction
from django.db.migrations.state import ProjectState

from audit.models import AuditEntry, Checkpoint, Leaf, PendingLeaf, PrivateFact, Tile
from audit.triggers import Table, append_only, declared, drop_sql, install_sql, missing, reinstall
from tests.append_only import create_triggers, drop_triggers
from tests.factories.entries import make_entry

pytestmark = pytest.mark.django_db
SQLITE = connection.vendor == "sqlite"
only_sqlite = pytest.mark.skipif(not SQLITE, reason="SQLite's own statements")
only_postgresql = pytest.mark.skipif(SQLITE, reason="PostgreSQL's own statements")

ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
def rows() -> dict[str, models.Model]:
    """One row in every table."""
    return {
        "audit_auditentry": make_entry(1),
        "audit_pendingleaf": PendingLeaf.objects.create(entry_id=TWO, leaf_hash=b"2"),
        "audit_leaf": Leaf.objects.create(index=0, entry_id=ONE, leaf_hash=b"1"),
        "audit_tile": Tile.objects.create(level=0, index=0, hashes=b"h", root=b"r"),
        "audit_checkpoint": Checkpoint.objects.create(size=1, root=b"r", note="n", signed_at=1),
        "audit_privatefact": PrivateFact.objects.create(
            entry_id=ONE, field="name", key_ref="k", sealed=b"s"
        ),
    }


TABLES = sorted(
    [
        "audit_auditentry",
        "audit_pendingleaf",
        "audit_leaf",
        "audit_tile",
        "audit_checkpoint",
        "audit_privatefact",
    ]
)


def content(table: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT * FROM "{table}" ORDER BY 1')
        return [tuple(map(str, row)) for row in cursor.fetchall()]


def refused(sql: str, parameters: list[Any] | None = None) -> None:
    """The statement is refused, and by our trigger."""
    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql, parameters)


@pytest.mark.parametrize("table", TABLES)
def test_rows_are_not_changed_or_deleted(table: str, rows: dict[str, models.Model]) -> None:
    before = content(table)
    model = type(rows[table])
    column, last = model._meta.fields[-1].column, model._meta.fields[-1].name
    for statement in (
        f'UPDATE "{table}" SET "{column}" = "{column}"',
        f'DELETE FROM "{table}"',
    ):
        refused(statement)
    for change in (
        lambda: model._base_manager.update(**{last: models.F(last)}),
        lambda: model._base_manager.all().delete(),
        rows[table].delete,
        lambda: rows[table].save(force_update=True),
    ):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            change()
    assert content(table) == before


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "pragma",
    ["recursive_triggers = OFF", "recursive_triggers = ON", "ignore_check_constraints = 1"],
)
@only_sqlite
def test_replace_does_not_pass(table: str, pragma: str, rows: dict[str, models.Model]) -> None:
    """Every way to hit an existing row: by primary key, by unique values, by the hidden rowid."""
    before = content(table)
    model = type(rows[table])
    columns = [field.column for field in model._meta.fields]
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {pragma}")
        cursor.execute(f'SELECT rowid, * FROM "{table}"')
        rowid, *values = cursor.fetchone()
    names = ", ".join(f'"{column}"' for column in columns)
    marks = ", ".join(["%s"] * len(columns))
    for verb in ("REPLACE", "INSERT OR REPLACE", "INSERT OR IGNORE", "INSERT"):
        refused(f'{verb} INTO "{table}" ({names}) VALUES ({marks})', values)
    upsert = f'ON CONFLICT DO UPDATE SET "{columns[-1]}" = 0'
    refused(f'INSERT INTO "{table}" ({names}) VALUES ({marks}) {upsert}', values)
    # The hidden rowid, with unique values that are all fresh.
    fresh = [_fresh(value, number) for number, value in enumerate(values)]
    if rowid not in values:
        for alias in ("rowid", "oid", "_rowid_"):
            refused(
                f'REPLACE INTO "{table}" ({alias}, {names}) VALUES (%s, {marks})', [rowid, *fresh]
            )
        for odd in (-1, 0, -5):
            refused(f'INSERT INTO "{table}" (rowid, {names}) VALUES (%s, {marks})', [odd, *fresh])
    refused(f'UPDATE OR REPLACE "{table}" SET "{columns[0]}" = "{columns[0]}"')
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA recursive_triggers = ON")  # as the settings have it
        cursor.execute("PRAGMA ignore_check_constraints = 0")
    assert content(table) == before


def _fresh(value: Any, number: int) -> Any:
    if isinstance(value, int):
        return value + 1000 + number
    if isinstance(value, str):
        return uuid.uuid4().hex if re.fullmatch("[0-9a-f]{32}", value) else f"{value}x"
    return value


@pytest.mark.parametrize("table", TABLES)
@only_postgresql
def test_postgresql_refuses_truncate_and_replica_mode(
    table: str, rows: dict[str, models.Model]
) -> None:
    before = content(table)
    refused(f'TRUNCATE "{table}"')
    refused(f'TRUNCATE "{table}" CASCADE')
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT usesuper FROM pg_user WHERE usename = current_user")
        if not cursor.fetchone()[0]:  # nobody else may switch triggers off at all
            with pytest.raises(ProgrammingError), transaction.atomic():
                cursor.execute("SET LOCAL session_replication_role = replica")
            return
        cursor.execute("SET LOCAL session_replication_role = replica")
        refused(f'DELETE FROM "{table}"')
        refused(f'TRUNCATE "{table}"')
        cursor.execute("SET LOCAL session_replication_role = origin")
    assert content(table) == before


def test_a_pending_leaf_goes_only_when_it_stands_in_the_log() -> None:
    PendingLeaf.objects.create(entry_id=ONE, leaf_hash=b"1")
    Leaf.objects.create(index=0, entry_id=ONE, leaf_hash=b"other")
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        PendingLeaf.objects.all().delete()
    PendingLeaf.objects.create(entry_id=TWO, leaf_hash=b"2")
    Leaf.objects.create(index=1, entry_id=TWO, leaf_hash=b"2")
    PendingLeaf.objects.filter(entry_id=TWO).delete()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        PendingLeaf.objects.create(entry_id=TWO, leaf_hash=b"2")  # twice in the log
    assert list(PendingLeaf.objects.values_list("entry_id", flat=True)) == [ONE]


def test_bulk_upserts_are_refused() -> None:
    entry = make_entry(1)
    for options in (
        {"ignore_conflicts": False},
        {"update_conflicts": True, "update_fields": ["event"], "unique_fields": ["id"]},
    ):
        entry.event = "changed"
        with pytest.raises(IntegrityError), transaction.atomic():
            AuditEntry.objects.bulk_create([entry], **options)
    assert AuditEntry.objects.get().event != "changed"


def test_every_declared_table_has_its_triggers() -> None:
    assert {table.name for table in declared(connection)} >= set(TABLES)
    assert missing(connection) == []


@pytest.fixture
def _without_triggers() -> Iterator[None]:
    drop_triggers(connection)
    yield
    create_triggers(connection)


@pytest.mark.usefixtures("_without_triggers")
def test_missing_triggers_are_named_and_a_migration_puts_them_back() -> None:
    faults = missing(connection)
    assert any("audit_auditentry lacks trigger" in fault for fault in faults)
    reinstall(None, using="default")  # type: ignore[arg-type]  # a flush: nothing was migrated
    assert missing(connection) == faults
    reinstall(None, using="default", plan=[(migrations.Migration("x", "audit"), False)])  # type: ignore[arg-type]  # Django's sender
    assert missing(connection) == []


@only_sqlite
def test_an_undeclared_unique_index_is_named() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE UNIQUE INDEX planted ON audit_auditentry (request_id)")
        assert missing(connection) == [
            "audit_auditentry is unique in (request_id), which its declaration omits"
        ]
        cursor.execute("DROP INDEX planted")


@pytest.mark.django_db(transaction=True)  # SQLite's schema editor refuses a transaction
def test_the_operation_installs_and_takes_off_again() -> None:
    operation = append_only("planted", unique=["id", ("a", "b")])
    state = ProjectState()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE planted (id integer PRIMARY KEY, a integer, b integer)")
        cursor.execute("INSERT INTO planted VALUES (1, 1, 1)")
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("audit", editor, state, state)
        operation.database_forwards("audit", editor, state, state)  # twice does no harm
    refused("DELETE FROM planted")
    refused("UPDATE planted SET a = 2")
    with connection.schema_editor(atomic=False) as editor:
        operation.database_backwards("audit", editor, state, state)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM planted")
        cursor.execute("DROP TABLE planted")
    assert "planted" in operation.describe()
    name, arguments, options = operation.deconstruct()
    assert (name, tuple(arguments)) == ("AppendOnly", ("planted",))
    assert options["unique"] == ["id", ("a", "b")]


def test_another_database_is_refused() -> None:
    with pytest.raises(ValueError, match="oracle"):
        install_sql("oracle", Table("t", (("id",),)))
    assert len(drop_sql("sqlite", Table("t", (("id",),)))) == 4
