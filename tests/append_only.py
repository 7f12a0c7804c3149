"""Drop and re-create the append-only triggers around a test database's flush.

Django empties the tables of a transactional test with DELETE or TRUNCATE, which the triggers
refuse. Both functions run the SQL of the migrations themselves; product code has nothing like it.
"""

from collections.abc import Callable

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from audit.triggers import Table, declared, drop_sql, install_sql


def drop_triggers(connection: BaseDatabaseWrapper) -> None:
    """Take the triggers off every table that a migration has made append-only."""
    _run(connection, drop_sql)


def create_triggers(connection: BaseDatabaseWrapper) -> None:
    """Put them back."""
    _run(connection, install_sql)


def _run(connection: BaseDatabaseWrapper, sql: Callable[[str, Table], list[str]]) -> None:
    # One transaction: each statement alone would be a write to disk of its own.
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        for table in declared(connection):
            for statement in sql(connection.vendor, table):
                cursor.execute(statement)
