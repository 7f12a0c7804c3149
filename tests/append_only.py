"""Drop and re-create the append-only triggers around a test database's flush.

Django empties the tables of a transactional test with DELETE or TRUNCATE, which the triggers
refuse. Both functions run the SQL of the migrations themselves; product code has nothing like it.
"""

from django.db.backends.base.base import BaseDatabaseWrapper

from audit.triggers import declared, drop_sql, install_sql


def drop_triggers(connection: BaseDatabaseWrapper) -> None:
    """Take the triggers off every table that a migration has made append-only."""
    with connection.cursor() as cursor:
        for table in declared(connection):
            for statement in drop_sql(connection.vendor, table):
                cursor.execute(statement)


def create_triggers(connection: BaseDatabaseWrapper) -> None:
    """Put them back."""
    with connection.cursor() as cursor:
        for table in declared(connection):
            for statement in install_sql(connection.vendor, table):
                cursor.execute(statement)
