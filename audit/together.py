"""`@actions_together`: many acts of one kind in one durable transaction, an entry for each.

A commit waits for the disk whether it holds one act or fifty, so acts that are asked for at the
same moment by different actors may share one. What `audit.recording.action` promises of an act
holds for each of them: its actor is asked inside the transaction, and its entry commits with it.

All or none: where one of them is refused or fails, nothing of any is written, no entry either, and
the error is raised. Who called then does each alone, through the `@action` of the same kind, which
records whose it was.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import transaction

from audit.errors import RefusedError
from audit.events import Event, Outcome
from audit.models import AuditEntry, PendingLeaf
from audit.recording import Actor, Permission, Record, Registered, register, running
from audit.rows import insert_rows

A = TypeVar("A", bound=Actor)
S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Act(Generic[A, S, T]):
    """One act that is asked for.

    Attributes:
        actor, subject: who, on what.
        asked: whatever the body needs to know.
        request: id of the request that it belongs to.
    """

    actor: A
    subject: S
    asked: T
    request: str | None = None


Body = Callable[[Sequence[Record], Sequence[Act[A, S, T]]], Sequence[R]]


def actions_together(
    event: Event, *, requires: Permission
) -> Callable[[Body[A, S, T, R]], Callable[[Sequence[Act[A, S, T]]], Sequence[R]]]:
    """Turn `body(records, acts)` into `do(acts)`: recorded each, committed together, or not at all.

    Raises (from the wrapped call):
        NestedActionError: an action is running already.
        RefusedError: one of the actors may not. Nothing was written.
    """

    def decorate(body: Body[A, S, T, R]) -> Callable[[Sequence[Act[A, S, T]]], Sequence[R]]:
        registered = register(
            Registered(f"{body.__module__}.{body.__qualname__}", event, requires.value)
        )

        @functools.wraps(body)
        def do(acts: Sequence[Act[A, S, T]]) -> Sequence[R]:
            records = [
                Record(event, act.actor, act.subject, requires.value, request=act.request)
                for act in acts
            ]
            with running(registered.name, records[0]), transaction.atomic(durable=True):
                for act in acts:
                    decision = act.actor.may(requires, act.subject)
                    if not decision.allowed:
                        raise RefusedError("you may not do this", code=decision.reason)
                results = body(records, acts)
                entries, leaves = zip(*(one.written(Outcome.DONE) for one in records), strict=True)
                insert_rows((AuditEntry, entries), (PendingLeaf, leaves))
            return results

        do.portcullis_action = registered  # type: ignore[attr-defined]  # read by the bindings
        return do

    return decorate
