"""What an insider tries with the recording itself: every one of these once worked."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection, transaction

from audit import recording, triggers
from audit.errors import DomainError, RefusedError, UndeclaredFactError
from audit.events import Event, Outcome
from audit.keys import ensure_keys
from audit.models import AuditEntry
from audit.recording import Record, action, append_refusal, unaudited
from governance.models import Tenant

pytestmark = pytest.mark.django_db(transaction=True)


class Right(Enum):
    DO = "thing:do"


@dataclass(frozen=True)
class Answer:
    allowed: bool = True
    reason: str = "permission.granted"


@dataclass(frozen=True)
class Someone:
    reference: str = "user:7"
    tenant_reference: str | None = "house"

    def may(self, permission: Any, subject: Any) -> Answer:
        del permission, subject
        return Answer()


@dataclass(frozen=True)
class Owned:
    reference: str
    tenant_reference: str | None


HOUSE = Owned("tenant:house", "house")


@pytest.fixture(autouse=True)
def _registry_stays_clean() -> Iterator[None]:
    before = recording.registry()
    yield
    recording._registry.clear()
    recording._registry.update(before)


def bodies() -> list[dict[str, Any]]:
    found = AuditEntry.objects.order_by("at", "id").values_list("body", flat=True)
    return [json.loads(bytes(body)) for body in found]


def test_what_goes_wrong_after_the_commit_does_not_undo_the_answer() -> None:
    """A broker that is away: the act stands and says `done`, so its caller must not clean up."""
    called = []

    @action(Event.TENANT_CREATED, requires=Right.DO)
    def make(record: Record, actor: Someone, subject: Any) -> str:
        Tenant.objects.create(slug="new", name="New", is_provider=True)
        transaction.on_commit(_unreachable)
        transaction.on_commit(lambda: called.append(1))
        return "made"

    assert make(Someone(), HOUSE) == "made"
    assert [body["outcome"] for body in bodies()] == ["done"]
    assert Tenant.objects.filter(slug="new").exists()


def _unreachable() -> None:
    raise OSError("amqp://user:password@broker")


def test_an_interruption_after_the_commit_is_raised_and_not_recorded_as_failed() -> None:
    @action(Event.TENANT_CREATED, requires=Right.DO)
    def make(record: Record, actor: Someone, subject: Any) -> None:
        transaction.on_commit(_interrupted)

    with pytest.raises(KeyboardInterrupt):
        make(Someone(), HOUSE)
    assert [body["outcome"] for body in bodies()] == ["done"]


def _interrupted() -> None:
    raise KeyboardInterrupt


def test_an_entry_that_cannot_be_written_does_not_hide_the_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @action(Event.TENANT_CREATED, requires=Right.DO)
    def make(record: Record, actor: Someone, subject: Any) -> None:
        raise RefusedError("no", code="thing.refused")

    def away(self: Record, outcome: Outcome, *, reason: str | None = None) -> None:
        raise OperationalError("connection to 10.0.0.1 lost")

    monkeypatch.setattr(Record, "append", away)  # stands in for a database that has gone away
    with pytest.raises(RefusedError):
        make(Someone(), HOUSE)
    assert "tenant.created was not written" in caplog.text
    assert "10.0.0.1" not in caplog.text


def test_nobody_moves_an_act_out_of_their_own_auditors_sight() -> None:
    """The platform admin makes a tenant: the entry stays with the house that was asked."""

    @action(Event.TENANT_CREATED, requires=Right.DO)
    def make(record: Record, actor: Someone, subject: Any) -> None:
        record.about(Owned("tenant:shadow", "shadow"))

    make(Someone(), HOUSE)
    (body,) = bodies()
    assert (body["tenant"], body["subject"]) == ("house", "tenant:shadow")


def test_an_act_that_failed_is_told_of_what_was_asked() -> None:
    """What it made was undone: an entry about it would be in nobody's log."""

    @action(Event.TENANT_CREATED, requires=Right.DO)
    def make(record: Record, actor: Someone, subject: Any) -> None:
        record.about(Owned("tenant:shadow", "shadow"))
        raise DomainError("no", code="thing.wrong")

    for subject in (HOUSE, None):
        with pytest.raises(DomainError):
            make(Someone(), subject)
    told = [(body["tenant"], body["subject"], body["outcome"]) for body in bodies()]
    assert told == [("house", "tenant:house", "failed"), ("house", None, "failed")]


@pytest.mark.parametrize("text", ["Zhang San", "王小明", "13800138000", "a@b.c:x", "user:a b", ""])
def test_a_subject_is_a_reference_and_never_a_text(text: str) -> None:
    @action(Event.TENANT_CREATED, requires=Right.DO)
    def make(record: Record, actor: Someone, subject: Any) -> None: ...

    with pytest.raises(UndeclaredFactError):
        make(Someone(), text)
    with pytest.raises(UndeclaredFactError):
        append_refusal(Event.LOOKUP_REFUSED, Someone(), text, "not_found", "x:find", kind="x")
    assert bodies() == []


def test_a_reason_is_a_code_and_never_a_text() -> None:
    @action(Event.TENANT_CREATED, requires=Right.DO)
    def make(record: Record, actor: Someone, subject: Any) -> None:
        raise DomainError("no", code="no such user: 王小明")

    with pytest.raises(DomainError):
        make(Someone(), HOUSE)
    assert [body["reason"] for body in bodies()] == ["internal"]


def test_an_action_cannot_run_after_its_entry() -> None:
    """A generator or a coroutine would be recorded as done before its first line has run."""

    def generator(record: Record, actor: Someone, subject: Any) -> Iterator[int]:
        yield 1

    async def coroutine(record: Record, actor: Someone, subject: Any) -> None: ...

    for lazy in (generator, coroutine):
        with pytest.raises(TypeError):
            action(Event.TENANT_CREATED, requires=Right.DO)(lazy)


def test_a_rollback_from_inside_is_no_success() -> None:
    """`set_rollback` leaves a body without an exception and without its writes."""

    @action(Event.TENANT_CREATED, requires=Right.DO)
    def make(record: Record, actor: Someone, subject: Any) -> str:
        transaction.set_rollback(True)
        return "made"

    with pytest.raises(DatabaseError):
        make(Someone(), HOUSE)
    assert [body["outcome"] for body in bodies()] == ["failed"]


def test_the_escape_is_recorded_when_it_fails_as_well() -> None:
    def repair() -> None:
        with unaudited(reason="repair", actor=Someone()):
            Tenant.objects.create(slug="x", name="X", is_provider=True)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        repair()
    assert [body["outcome"] for body in bodies()] == ["failed"]
    assert not Tenant.objects.exists()


def test_a_trigger_of_the_right_name_that_does_nothing_is_seen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The admin keeps the name and takes the teeth; the sequencer then signs nothing."""
    ensure_keys()
    assert triggers.missing(connection) == []
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute('DROP TRIGGER "audit_auditentry_no_update"')
            cursor.execute(
                'CREATE TRIGGER "audit_auditentry_no_update" BEFORE UPDATE ON "audit_auditentry"'
                " BEGIN SELECT 1; END"
            )
        else:
            cursor.execute(
                'CREATE OR REPLACE FUNCTION "audit_auditentry_refuse"() RETURNS trigger'
                " LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
            )
    try:
        assert triggers.missing(connection)
        with pytest.raises(SystemExit) as left:
            call_command("sequence")
        assert left.value.code == 4
        assert json.loads(capsys.readouterr().err)["code"] == "audit.triggers_missing"
    finally:
        table = next(t for t in triggers.declared(connection) if t.name == "audit_auditentry")
        with connection.cursor() as cursor:
            for statement in triggers.install_sql(connection.vendor, table):
                cursor.execute(statement)
