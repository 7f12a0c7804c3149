"""Invariants that a view must not be trusted with: database triggers over roles and proposals.

    roles      one person never holds two roles that conflict (`permissions.CONFLICTS`), in any
    tenant proposals  who proposed what, and the payload that was read, never change

Installed by a migration and put back after every `migrate`, because SQLite alters a table by
making a new one and drops its triggers with the old.
"""

from typing import Any, Final

from django.db import connections

from governance.permissions import CONFLICTS

_PAIRS: Final = " OR ".join(
    f"(NEW.role = '{one}' AND held.role = '{other}')"
    f" OR (NEW.role = '{other}' AND held.role = '{one}')"
    for one, other in CONFLICTS
)
_CONFLICT: Final = (
    "NEW.revoked_at IS NULL AND EXISTS (SELECT 1 FROM governance_rolebinding AS held"  # noqa: S608  # no input
    f" WHERE held.user_id = NEW.user_id AND held.revoked_at IS NULL AND ({_PAIRS}))"
)
_BOUND: Final = ("kind", "subject", "payload", "payload_hash", "proposer_id", "tenant_id")


def install_sql(vendor: str) -> list[str]:
    """The statements that install every guard; running them twice does no harm."""
    return _SQL[vendor]()


def reinstall(*, using: str, **_signal: Any) -> None:
    """Put every guard back: connected to `post_migrate`."""
    connection = connections[using]
    tables = set(connection.introspection.table_names())
    if connection.vendor in _SQL and {"governance_rolebinding", "governance_proposal"} <= tables:
        with connection.cursor() as cursor:
            for statement in install_sql(connection.vendor):
                cursor.execute(statement)


def _sqlite() -> list[str]:
    changed = " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in _BOUND)
    out = []
    for name, when, table, condition, words in (
        ("role_conflict_insert", "INSERT", "governance_rolebinding", _CONFLICT, "roles conflict"),
        ("role_conflict_update", "UPDATE", "governance_rolebinding", _CONFLICT, "roles conflict"),
        ("proposal_bound", "UPDATE", "governance_proposal", changed, "a proposal does not change"),
    ):
        out += [
            f"DROP TRIGGER IF EXISTS {name}",
            (
                f"CREATE TRIGGER {name} BEFORE {when} ON {table} WHEN {condition}"
                f" BEGIN SELECT RAISE(ABORT, '{words}'); END"
            ),
        ]
    return out


def _postgresql() -> list[str]:
    changed = " OR ".join(f"NEW.{column} IS DISTINCT FROM OLD.{column}" for column in _BOUND)
    refuse = "RAISE EXCEPTION '{}' USING ERRCODE = 'check_violation';"
    # Two concurrent grants to one person wait for each other at the person's row.
    roles = (
        "PERFORM 1 FROM governance_user WHERE id = NEW.user_id FOR UPDATE;"
        f" IF {_CONFLICT} THEN {refuse.format('roles conflict')} END IF; RETURN NEW;"
    )
    bound = f"IF {changed} THEN {refuse.format('a proposal does not change')} END IF; RETURN NEW;"
    out = []
    for name, when, table, body in (
        ("role_conflict", "INSERT OR UPDATE", "governance_rolebinding", roles),
        ("proposal_bound", "UPDATE", "governance_proposal", bound),
    ):
        out += [
            (
                f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN {body} END $$"
            ),
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
            (
                f"CREATE TRIGGER {name} BEFORE {when} ON {table}"
                f" FOR EACH ROW EXECUTE FUNCTION {name}()"
            ),
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}",
        ]
    return out


_SQL: Final = {"sqlite": _sqlite, "postgresql": _postgresql}
