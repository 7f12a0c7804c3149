"""Invariants that a view must not be trusted with: database triggers over roles and proposals.

    roles      one person never holds two roles that conflict (`permissions.CONFLICTS`), whatever
               the tenant
    proposals  who proposed what and when, and the payload that was read, never change; what was
               used or rejected stays so, and nobody gives a proposal a longer life

Installed by a migration and put back after every `migrate`, because SQLite alters a table by
making a new one and drops its triggers with the old.
"""

from typing import Any, Final

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

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
_BOUND: Final = (
    "id", "kind", "subject", "payload", "payload_hash", "proposer_id", "tenant_id", "created_at",
)  # fmt: skip
_CLOSED: Final = ("used_at", "rejected_at")
_FOUNDING: Final = 0x666F756E  # any constant; "foun" in ASCII


def install_sql(vendor: str) -> list[str]:
    """The statements that install every guard; running them twice does no harm."""
    return _SQL[vendor]()


def found_alone() -> None:
    """Whoever founds the house waits here for another who does, until that transaction ends."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_FOUNDING])
    # On SQLite the transaction itself is the lock: the settings open it with BEGIN IMMEDIATE.


def reinstall(*, using: str, **_signal: Any) -> None:
    """Put every guard back: connected to `post_migrate`."""
    database = connections[using]
    tables = set(database.introspection.table_names())
    if database.vendor in _SQL and {"governance_rolebinding", "governance_proposal"} <= tables:
        with database.cursor() as cursor:
            for statement in install_sql(database.vendor):
                cursor.execute(statement)


def _changed(differs: str) -> str:
    """When an update of a proposal is refused; `differs` compares two values that may be null."""
    bound = [f"NEW.{column} {differs} OLD.{column}" for column in _BOUND]
    reopened = [
        f"(OLD.{column} IS NOT NULL AND NEW.{column} {differs} OLD.{column})" for column in _CLOSED
    ]
    return " OR ".join([*bound, *reopened, "NEW.expires_at > OLD.expires_at"])


def missing_guards(looked_at: BaseDatabaseWrapper) -> list[str]:
    """One sentence for each guard that does not stand in this database; empty when all do."""
    there = standing(looked_at)
    return [f"guard {name} is gone" for name in _NAMES[looked_at.vendor] if name not in there]


def standing(looked_at: BaseDatabaseWrapper) -> set[str]:
    """The names of all triggers that no session can switch off."""
    with looked_at.cursor() as cursor:
        if looked_at.vendor == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        else:  # "A" is ENABLE ALWAYS; anything less can be switched off by a session
            cursor.execute("SELECT tgname FROM pg_trigger WHERE tgenabled = 'A'")
        return {row[0] for row in cursor.fetchall()}


def _sqlite() -> list[str]:
    changed = _changed("IS NOT")
    # REPLACE INTO fires no UPDATE trigger.
    there = "EXISTS (SELECT 1 FROM governance_proposal AS old WHERE old.id = NEW.id)"
    out = []
    for name, when, table, condition, words in (
        ("role_conflict_insert", "INSERT", "governance_rolebinding", _CONFLICT, "roles conflict"),
        ("role_conflict_update", "UPDATE", "governance_rolebinding", _CONFLICT, "roles conflict"),
        ("proposal_bound", "UPDATE", "governance_proposal", changed, "a proposal does not change"),
        ("proposal_once", "INSERT", "governance_proposal", there, "a proposal does not change"),
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
    changed = _changed("IS DISTINCT FROM")
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


_NAMES: Final = {
    "sqlite": ("role_conflict_insert", "role_conflict_update", "proposal_bound"),
    "postgresql": ("role_conflict", "proposal_bound"),
}
_SQL: Final = {"sqlite": _sqlite, "postgresql": _postgresql}
