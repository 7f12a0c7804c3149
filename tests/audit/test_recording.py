"""`@action`: what is written when an act is done, denied or failed, and that nothing else is."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from django.db import IntegrityError

from audit import recording
from audit.errors import DomainError, Kind, NestedActionError, RefusedError, UndeclaredFactError
from audit.events import Event, Fact, Outcome
from audit.merkle import leaf_hash
from audit.models import AuditEntry, PendingLeaf
from audit.recording import Record, action, append_refusal, request_id, unaudited
from governance.models import Tenant

pytestmark = pytest.mark.django_db


class Right(Enum):
    DO = "thing:do"


@dataclass(frozen=True)
class Answer:
    allowed: bool
    reason: str


@dataclass(frozen=True)
class Someone:
    allowed: bool = True
    reference: str = "user:7"
    tenant_reference: str | None = "t-1"

    def may(self, permission: Any, subject: Any) -> Answer:
        assert permission is Right.DO
        assert subject is None or isinstance(subject, str)
        return Answer(self.allowed, "permission.granted" if self.allowed else "permission.no_role")


class WrongError(DomainError):
    code = "thing.wrong"
    kind = Kind.INVALID


class QuotaError(DomainError):
    code = "thing.used_up"
    kind = Kind.TOO_MANY


@pytest.fixture(autouse=True)
def _registry_stays_clean() -> Iterator[None]:
    before = recording.registry()
    yield
    recording._registry.clear()
    recording._registry.update(before)


@action(Event.TENANT_CREATED, requires=Right.DO)
def make(record: Record, actor: Someone, subject: Any, *, fail: BaseException | None = None) -> str:
    Tenant.objects.create(slug="new", name="New", is_provider=True)
    record.facts(suite="aes-gcm", provider=True)
    if fail is not None:
        raise fail
    return "made"


def only_entry() -> dict[str, Any]:
    entry = AuditEntry.objects.get()
    body: dict[str, Any] = json.loads(bytes(entry.body))
    assert (body["event"], body["outcome"]) == (entry.event, entry.outcome)
    assert (body["id"], body["at"]) == (str(entry.id), entry.at)
    assert (body["actor"], body["tenant"]) == (entry.actor, entry.tenant)
    pending = PendingLeaf.objects.get()
    assert bytes(pending.leaf_hash) == leaf_hash(bytes(entry.body))
    return body


def test_done_is_written_with_the_work() -> None:
    token = request_id.set("req-1")
    try:
        assert make(Someone(), "tenant:1") == "made"
    finally:
        request_id.reset(token)
    body = only_entry()
    assert body["outcome"] == "done"
    assert body["facts"] == {"suite": "aes-gcm", "provider": True}
    assert (body["subject"], body["permission"], body["request"]) == (
        "tenant:1",
        "thing:do",
        "req-1",
    )
    assert len(body["nonce"]) == 32
    assert Tenant.objects.filter(slug="new").exists()


def test_denied_is_written_and_nothing_happens() -> None:
    with pytest.raises(RefusedError) as caught:
        make(Someone(allowed=False), "tenant:1")
    assert caught.value.stable_code == "permission.no_role"
    body = only_entry()
    assert (body["outcome"], body["reason"]) == ("denied", "permission.no_role")
    assert not Tenant.objects.exists()


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (WrongError("no"), "failed", "thing.wrong"),
        (WrongError("no", code="thing.narrower"), "failed", "thing.narrower"),
        (QuotaError("no"), "denied", "thing.used_up"),
        (ValueError("张三 13800138000"), "failed", "internal"),
        (KeyboardInterrupt(), "failed", "interrupted"),
    ],
)
def test_a_failure_is_written_and_undoes_the_work(
    error: BaseException, outcome: str, reason: str
) -> None:
    with pytest.raises(type(error)):
        make(Someone(), "tenant:1", fail=error)
    body = only_entry()
    assert (body["outcome"], body["reason"]) == (outcome, reason)
    assert "张三" not in json.dumps(body, ensure_ascii=False)
    assert not Tenant.objects.exists()


def test_if_the_entry_cannot_be_appended_the_work_is_undone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: Record, outcome: Outcome, *, reason: str | None = None) -> None:
        raise IntegrityError("disk full")

    monkeypatch.setattr(Record, "append", full)  # stands in for a database that takes no more rows
    with pytest.raises(IntegrityError):
        make(Someone(), "tenant:1")
    assert not Tenant.objects.exists()
    assert not AuditEntry.objects.exists()


def test_actions_do_not_nest() -> None:
    @action(Event.PURPOSE_DECLARED, requires=Right.DO)
    def outer(record: Record, actor: Someone, subject: Any) -> None:
        make(actor, subject)

    with pytest.raises(NestedActionError):
        outer(Someone(), None)
    assert only_entry()["reason"] == "audit.nested_action"
    assert not Tenant.objects.exists()


def test_an_action_may_close_work_that_failed() -> None:
    @action(Event.INGEST_STOPPED, requires=Right.DO)
    def stop(record: Record, actor: Someone, subject: Any) -> None:
        Tenant.objects.create(slug="kept", name="Kept", is_provider=True)
        record.facts(stage="read", code="table.empty")
        record.failed("table.empty")

    stop(Someone(), "dataset:1")
    body = only_entry()
    assert (body["outcome"], body["reason"]) == ("failed", "table.empty")
    assert Tenant.objects.filter(slug="kept").exists()


def test_about_names_what_the_body_made() -> None:
    @action(Event.TENANT_CREATED, requires=Right.DO)
    def made(record: Record, actor: Someone, subject: Any) -> Tenant:
        tenant = Tenant.objects.create(slug="new", name="New", is_provider=True)
        record.about(tenant)
        return tenant

    tenant = made(Someone(), None)
    body = only_entry()
    assert (body["subject"], body["tenant"]) == (tenant.reference, str(tenant.id))


@pytest.mark.parametrize(
    ("fact", "fail", "outcomes"),
    [
        ({"artifact": "0" * 64}, None, ["done", "done"]),
        ({"artifact": "0" * 64}, ValueError(), ["failed"]),
        ({"suite": "aes-gcm"}, None, ["failed"]),
    ],
    ids=["both", "neither", "undeclared"],
)
def test_what_else_an_act_changed_has_its_own_entry_or_none(
    fact: dict[str, Any], fail: Exception | None, outcomes: list[str]
) -> None:
    @action(Event.TENANT_CREATED, requires=Right.DO)
    def withdraw(record: Record, actor: Someone, subject: str) -> None:
        record.also(Event.MODEL_WITHDRAWN, "modelversion:2", **fact)
        if fail is not None:
            raise fail

    if outcomes == ["failed"]:
        with pytest.raises((ValueError, UndeclaredFactError)):
            withdraw(Someone(), "modelversion:1")
    else:
        withdraw(Someone(), "modelversion:1")
    bodies = [json.loads(bytes(entry.body)) for entry in AuditEntry.objects.all()]
    assert [body["outcome"] for body in bodies] == outcomes
    assert PendingLeaf.objects.count() == len(outcomes)
    if outcomes == ["done", "done"]:
        told = {body["subject"]: body for body in bodies}
        assert set(told) == {"modelversion:1", "modelversion:2"}
        further = told["modelversion:2"]
        assert (further["event"], further["facts"]) == ("model.withdrawn", fact)
        assert (further["actor"], further["permission"]) == ("user:7", "thing:do")


def test_the_escape_is_recorded() -> None:
    with unaudited(reason="schema_repair", actor=Someone()):
        Tenant.objects.create(slug="x", name="X", is_provider=True)
    assert only_entry()["facts"] == {"reason": "schema_repair"}


def test_a_refusal_at_the_door_is_recorded() -> None:
    append_refusal(
        Event.LOOKUP_REFUSED, Someone(), None, "not_found", "dataset:find", kind="dataset"
    )
    body = only_entry()
    assert (body["outcome"], body["reason"]) == ("denied", "not_found")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Fact.REFERENCE, "dataset:0198", ["dataset", "Zhang San:1", "dataset:a b", 7, ""]),
        (Fact.CODE, "table.ragged_row", ["Zhang San", "张三", "13800138000", "a@b.c", "", 1]),
        (Fact.NUMBER, 32561, [True, 1.5, "7", 2**60]),
        (Fact.DECIMAL, "-0.981234", ["1e5", "nan", 0.5, "１", "13800138000123456789"]),
        (Fact.DIGEST, "0" * 64, ["0" * 63, "G" * 64, "0" * 65]),
        (Fact.FLAG, True, [1, "true", None]),
        (Fact.COUNTS, {"CN_ID": 3}, [{"王小明": 1}, {"CN_ID": "3"}, {"CN_ID": True}, []]),
        (Fact.CODES, ["predict"], [["张三"], "predict", [1]]),
    ],
)
def test_a_fact_holds_what_its_type_says(kind: Fact, good: Any, bad: list[Any]) -> None:
    event = next(e for e in Event if kind in e.facts.values())
    name = next(name for name, declared in event.facts.items() if declared is kind)
    event.check({name: good})
    for value in bad:
        with pytest.raises(UndeclaredFactError):
            event.check({name: value})


def test_an_undeclared_fact_fails_the_action() -> None:
    @action(Event.LICENSE_REVOKED, requires=Right.DO)
    def tell_too_much(record: Record, actor: Someone, subject: Any) -> None:
        record.facts(phone="n13800138000")

    with pytest.raises(UndeclaredFactError):
        tell_too_much(Someone(), None)
    assert only_entry()["reason"] == "audit.undeclared_fact"


def test_an_undeclared_private_field_fails_the_action() -> None:
    @action(Event.LICENSE_REVOKED, requires=Right.DO)
    def tell(record: Record, actor: Someone, subject: Any) -> None:
        record.private("name", "王小明", key_ref="subject:1")

    with pytest.raises(UndeclaredFactError):
        tell(Someone(), None)


def test_events_have_one_dotted_name_each() -> None:
    names = [event.value for event in Event]
    assert len(set(names)) == len(names)
    assert all(name.count(".") == 1 and name == name.lower() for name in names)


def test_ids_grow_with_time_and_are_version_7() -> None:
    ids = [recording._time_ordered_uuid() for _ in range(50)]
    assert {made.version for made in ids} == {7}
    assert {made.variant for made in ids} == {uuid.RFC_4122}
    assert ids[0].int >> 80 <= ids[-1].int >> 80
