"""Acts that are committed together: an entry each, all or none, each actor asked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from audit.errors import NestedActionError, RefusedError
from audit.events import Event
from audit.models import AuditEntry, PendingLeaf
from audit.recording import Record
from audit.together import Act, actions_together

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True)
class Permission:
    value: str = "test:do"


@dataclass(frozen=True)
class Decision:
    allowed: bool
    reason: str = "role.missing"


@dataclass(frozen=True)
class Person:
    name: str
    allowed: bool = True
    tenant_reference: str | None = None

    @property
    def reference(self) -> str:
        return f"user:{self.name}"

    def may(self, permission: Any, subject: Any) -> Decision:
        del permission, subject
        return Decision(self.allowed)


@actions_together(Event.UNAUDITED, requires=Permission())
def note_together(records: Sequence[Record], acts: Sequence[Act[Person, None, str]]) -> list[str]:
    for record, act in zip(records, acts, strict=True):
        if act.asked == "fail":
            raise ValueError(act.asked)
        if act.asked == "nest":
            note_together([Act(act.actor, None, "inner")])
        record.facts(reason=act.asked)
    return [act.asked for act in acts]


def test_each_has_its_own_entry_under_its_own_request() -> None:
    acts = [Act(Person(name), None, f"reason_{name}", f"request-{name}") for name in ("a", "b")]
    assert note_together(acts) == ["reason_a", "reason_b"]
    bodies = [json.loads(bytes(row.body)) for row in AuditEntry.objects.order_by("actor")]
    assert [(one["actor"], one["request"], one["facts"]["reason"]) for one in bodies] == [
        ("user:a", "request-a", "reason_a"),
        ("user:b", "request-b", "reason_b"),
    ]
    assert {one["outcome"] for one in bodies} == {"done"}
    assert PendingLeaf.objects.count() == 2


@pytest.mark.parametrize(
    ("second", "error"),
    [
        (Act(Person("b", allowed=False), None, "x"), RefusedError),
        (Act(Person("b"), None, "fail"), ValueError),
        (Act(Person("b"), None, "nest"), NestedActionError),
    ],
)
def test_all_or_none(second: Act[Person, None, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        note_together([Act(Person("a"), None, "fine"), second])
    assert not AuditEntry.objects.exists()
    assert not PendingLeaf.objects.exists()
    assert note_together([Act(Person("a"), None, "again")]) == ["again"]
