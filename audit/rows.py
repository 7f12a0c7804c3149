"""Many new rows of one table in one statement, without what the ORM weighs for each of them.

`bulk_create` resolves expressions, looks for relations and plans batches anew every time; where the
same table takes a few rows thousands of times a second, that is most of what the write costs.

On PostgreSQL the rows travel as one JSON text, which the database reads into the table's own row
type (`json_populate_recordset`): no value is quoted, and the statement is always the same. SQLite
takes them one after the other, in one prepared statement.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection, models

Row = Mapping[str, Any]

_OWN_TYPE: Final = (str, int, float, type(None), dict, list)  # JSON has them; bool is an int


def insert_rows(*tables: tuple[type[models.Model], Sequence[Row]]) -> None:
    """Insert rows: column to value, for every column but a number that the database gives.

    Args:
        tables: models, each with its rows; one statement for all of them on PostgreSQL. Its foreign
            keys are checked when the transaction ends, so that their order says nothing.

    Raises:
        IntegrityError, DataError: as the database says.
    """
    filled = [(model, rows) for model, rows in tables if rows]
    if not filled:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            texts = [
                json.dumps(rows, default=_text, ensure_ascii=False, separators=(",", ":"))
                for _, rows in filled
            ]
            cursor.execute(_from_json(tuple(model for model, _ in filled)), texts)
            return
        for model, rows in filled:
            fields = [
                (str(field.column), field.get_db_prep_save)
                for field in model._meta.concrete_fields  # noqa: SLF001 - Django's own name for it
                if field.column in rows[0]
            ]
            cursor.executemany(
                _one_by_one(model, tuple(column for column, _ in fields)),
                [[prepare(row[column], connection) for column, prepare in fields] for row in rows],
            )


def _text(value: object) -> str:
    """A value as the database's own input reads it."""
    match value:
        case UUID():
            return value.hex
        case datetime():
            return value.isoformat()
        case bytes():
            return f"\\x{value.hex()}"
        case _:
            raise TypeError(f"a {type(value).__name__} has no text for the database")


@functools.cache
def _from_json(tables: tuple[type[models.Model], ...]) -> str:
    """INSERT into the last table; the others before it, in a WITH clause each."""
    inserts = [_into(model) for model in tables]
    before = ", ".join(f"t{place} AS ({text})" for place, text in enumerate(inserts[:-1]))
    return f"WITH {before} {inserts[-1]}" if before else inserts[-1]


def _into(model: type[models.Model]) -> str:
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)  # noqa: SLF001 - Django's own name for it
    columns = ", ".join(
        quote(str(field.column))
        for field in model._meta.concrete_fields  # noqa: SLF001 - as above
        if not isinstance(field, models.AutoField)
    )
    return (
        f"INSERT INTO {table} ({columns}) "  # noqa: S608 - names of our own models
        f"SELECT {columns} FROM json_populate_recordset(NULL::{table}, %s)"
    )


@functools.cache
def _one_by_one(model: type[models.Model], columns: tuple[str, ...]) -> str:
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)  # noqa: SLF001 - Django's own name for it
    named = ", ".join(quote(column) for column in columns)
    return f"INSERT INTO {table} ({named}) VALUES ({', '.join(['%s'] * len(columns))})"  # noqa: S608 - names of our own models
