"""`@action`: no operation without an actor, a permission and an entry in the log.

The way of one call, labeled in the code:

    1. an action inside an action is refused: what two share is a private function
    2. a durable transaction opens
    3. the actor is asked, inside it, so that what allowed the act still holds when it commits
    4. the body runs
    5. `done` is appended in the same transaction: if the append fails, so does the operation
    6. a refusal appends `denied`, an exception `failed`, each in a transaction of its own
    7. once it has committed, the act is done: what goes wrong after that is logged, not raised
"""

import functools
import inspect
import logging
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from django.db import DatabaseError, transaction

from audit.canonical import canonical
from audit.errors import DomainError, Kind, NestedActionError, RefusedError, UndeclaredFactError
from audit.events import Event, Outcome, is_code, is_reference
from audit.merkle import leaf_hash
from audit.models import AuditEntry, PendingLeaf
from audit.redaction import commit_private
from audit.rows import Row, insert_rows

VERSION: Final = 1  # of the entry's body
_log = logging.getLogger(__name__)


class Permission(Protocol):
    """What an action requires; a member of a string enum."""

    @property
    def value(self) -> str:
        """The permission's name, for example "dataset:anonymize"."""
        ...


class Decision(Protocol):
    """An answer with its reason, which is a stable code."""

    @property
    def allowed(self) -> bool:
        """Whether the act may go on."""
        ...

    @property
    def reason(self) -> str:
        """Why, as a stable code."""
        ...


class Actor(Protocol):
    """Who acts, for whom: a user, an API key, or a part of the system."""

    @property
    def reference(self) -> str:
        """An id without personal data: "user:<uuid>", "key:<id>", "system:<name>"."""
        ...

    @property
    def tenant_reference(self) -> str | None:
        """The tenant acted for, as a plain value."""
        ...

    def may(self, permission: Any, subject: Any) -> Decision:
        """Role, tenant, policy and approval say whether `permission` holds on `subject`."""
        ...


request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_running: ContextVar["Record | None"] = ContextVar("running_action", default=None)


class Record:
    """What one action tells the log. The body fills it; the decorator writes it."""

    def __init__(
        self,
        event: Event,
        actor: Actor,
        subject: object,
        permission: str,
        *,
        request: str | None = None,
    ) -> None:
        self.event = event
        self.body: bytes | None = None  # of the entry, once it is written
        self.entry_id = _time_ordered_uuid()
        self.leaf_hash: bytes | None = None  # set once the entry is appended
        self._by = actor
        self._actor = actor.reference
        self._owner = _tenant_of(subject)
        self._tenant = self._owner or actor.tenant_reference
        self._subject = _named(subject)
        self._asked = (self._tenant, self._subject)
        self._permission = permission
        self._request = request or request_id.get()
        self._facts: dict[str, Any] = {}
        self._private: dict[str, tuple[str, Any]] = {}
        self._failure: str | None = None

    def about(self, subject: object) -> None:
        """Name another subject: what the body made, for example.

        The entry stays with the tenant whom the act was asked of, so that nobody moves an act out
        of its own auditor's sight by what it makes; only an act on nothing takes the new one's.
        """
        self._subject = _named(subject)
        if self._owner is None:
            self._tenant = _tenant_of(subject) or self._tenant

    def facts(self, **facts: Any) -> None:
        """Add public facts.

        Raises:
            UndeclaredFactError: the event declares no such fact, or the value does not fit its
            type.
        """
        self.event.check(facts)
        self._facts.update(facts)

    def private(self, field: str, value: Any, *, key_ref: str) -> None:
        """Add a fact of which only a salted commitment enters the log.

        Args:
            field: a private field that the event declares.
            value: anything canonical JSON can carry.
            key_ref: the subject key that seals salt and value; deleting it redacts the field.

        Raises:
            UndeclaredFactError: the event declares no such private field.
        """
        if field not in self.event.private:
            raise UndeclaredFactError(f"{self.event.value} declares no private field {field}")
        self._private[field] = (key_ref, value)

    def also(self, event: Event, subject: object, **facts: Any) -> None:
        """Append a `done` entry about something else that the same act changed.

        In the action's transaction: the entry stands if, and only if, the act does.

        Args:
            event: what was done to it.
            subject: what it was done to.
            facts: as `facts`.

        Raises:
            UndeclaredFactError: the event declares no such fact.
        """
        further = Record(event, self._by, subject, self._permission)
        further.facts(**facts)
        further.append(Outcome.DONE)

    def failed(self, reason: str) -> None:
        """The work that this action closes went wrong: what the body writes commits, as `failed`.

        Args:
            reason: the stable code of the error that stopped the work.
        """
        self._failure = reason

    def undone(self) -> None:
        """The body was rolled back: speak of what was asked, not of what is no longer there."""
        self._tenant, self._subject = self._asked
        self._private.clear()

    def append(self, outcome: Outcome, *, reason: str | None = None) -> None:
        """Write the entry and its pending leaf; the caller holds the transaction."""
        entry, leaf = self.written(outcome, reason=reason)
        insert_rows((AuditEntry, [entry]), (PendingLeaf, [leaf]))

    def written(self, outcome: Outcome, *, reason: str | None = None) -> tuple[Row, Row]:
        """The rows of the entry and of its pending leaf, which nobody has saved yet."""
        if outcome is Outcome.DONE and self._failure is not None:
            outcome, reason = Outcome.FAILED, self._failure
        if reason is not None and not is_code(reason):
            reason = "internal"  # a reason is a code of ours, and never a text
        at = time.time_ns() // 1000
        commitments = {
            field: commit_private(self.entry_id, field, value, key_ref)
            for field, (key_ref, value) in self._private.items()
        }
        body = canonical(
            {
                "v": VERSION,
                "id": str(self.entry_id),
                "event": self.event.value,
                "outcome": outcome.value,
                "at": at,
                "tenant": self._tenant,
                "actor": self._actor,
                "subject": self._subject,
                "permission": self._permission,
                "reason": reason,
                "request": self._request,
                "facts": self._facts,
                "private": commitments,
                # Proofs show a tenant its neighbors' leaf hashes: without this, short entries
                # could be guessed.
                "nonce": secrets.token_hex(16),
            }
        )
        self.body, self.leaf_hash = body, leaf_hash(body)
        entry = {
            "id": self.entry_id,
            "body": body,
            "event": self.event.value,
            "outcome": outcome.value,
            "tenant": self._tenant,
            "actor": self._actor,
            "subject": self._subject,
            "request_id": self._request,
            "at": at,
        }
        return entry, {"entry_id": self.entry_id, "leaf_hash": self.leaf_hash}


@dataclass(frozen=True)
class Registered:
    """One action, as the architecture tests and the documents list it."""

    name: str
    event: Event
    requires: str


_registry: dict[str, Registered] = {}


def register(one: Registered) -> Registered:
    """Put an action on the list."""
    _registry[one.name] = one
    return one


@contextmanager
def running(name: str, record: Record) -> Iterator[None]:
    """Say that an action runs.

    Raises:
        NestedActionError: another one does already.
    """
    if _running.get() is not None:
        raise NestedActionError(f"{name} was called inside an action")
    token = _running.set(record)
    try:
        yield
    finally:
        _running.reset(token)


def registry() -> dict[str, Registered]:
    """Every action that has been imported, by dotted name."""
    return dict(_registry)


A = TypeVar("A", bound=Actor)
S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


def action(
    event: Event, *, requires: Permission
) -> Callable[[Callable[Concatenate[Record, A, S, P], R]], Callable[Concatenate[A, S, P], R]]:
    """Turn `body(record, actor, subject, …)` into `act(actor, subject, …)`, recorded always.

    Raises:
        TypeError: the body is a generator or a coroutine: it would run after its entry.

    Raises (from the wrapped call):
        NestedActionError: an action is running already.
        RefusedError: the actor may not; its code is the decision's reason.
    """

    def decorate(
        body: Callable[Concatenate[Record, A, S, P], R],
    ) -> Callable[Concatenate[A, S, P], R]:
        name = f"{body.__module__}.{body.__qualname__}"
        if _is_lazy(body):
            raise TypeError(f"{name} would run after its entry was written")
        registered = register(Registered(name, event, requires.value))

        @functools.wraps(body)
        def act(actor: A, subject: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            record = Record(event, actor, subject, requires.value)
            committed: list[bool] = []
            result: list[R] = []
            with running(name, record):  # 1
                try:
                    with transaction.atomic(durable=True):  # 2
                        # Before every other callback: these run once the commit stands.
                        transaction.on_commit(lambda: committed.append(True))
                        decision = actor.may(requires, subject)  # 3
                        if not decision.allowed:
                            raise RefusedError(  # noqa: TRY301 - told below like every other end
                                "you may not do this", code=decision.reason
                            )
                        result.append(body(record, actor, subject, *args, **kwargs))  # 4
                        record.append(Outcome.DONE)  # 5
                except BaseException as error:
                    if not committed:
                        _tell(record, error)  # 6
                        raise
                    if not isinstance(error, Exception):
                        raise
                    _log.error("after %s was done: %s", name, type(error).__name__)  # 7
            return result[0]

        act.portcullis_action = registered  # type: ignore[attr-defined]  # read by the bindings
        return act

    return decorate


def append_refusal(
    event: Event, actor: Actor, subject: object, reason: str, permission: str, **facts: Any
) -> None:
    """Append a `denied` entry for a refusal that happened before an action could be called.

    A look-up of what the actor may not see, a key that is not known: the door calls this, then
    raises.
    """
    record = Record(event, actor, subject, permission)
    record.facts(**facts)
    with transaction.atomic(durable=True):
        record.append(Outcome.DENIED, reason=reason)


@contextmanager
def unaudited(*, reason: str, actor: Actor) -> Iterator[None]:
    """The one escape: writes inside belong to no action. That it was used is itself recorded.

    Args:
        reason: a code, for example "schema_repair".
        actor: who asked for it.
    """
    record = Record(Event.UNAUDITED, actor, None, "unaudited")
    record.facts(reason=reason)
    with running("unaudited", record):
        try:
            with transaction.atomic(durable=True):
                yield
                record.append(Outcome.DONE)
        except BaseException as error:
            _tell(record, error)
            raise


def _tell(record: Record, error: BaseException) -> None:
    """Append `denied` or `failed`. Where even that fails, the error itself must still be seen.

    It has the id that `done` would have had: should a commit have come through although it looked
    lost, the entry is there, and a second, contrary one is refused.
    """
    outcome, reason = _told(error)
    record.undone()
    try:
        with transaction.atomic(durable=True):
            record.append(outcome, reason=reason)
    except DatabaseError as lost:
        _log.error("an entry of %s was not written: %s", record.event.value, type(lost).__name__)


def reference_of(subject: object) -> str | None:
    """An object's id for the log: its `reference`, the string itself, or None."""
    if subject is None or isinstance(subject, str):
        return subject
    reference = getattr(subject, "reference", None)
    return reference if isinstance(reference, str) else None


def _named(subject: object) -> str | None:
    reference = reference_of(subject)
    if reference is not None and not is_reference(reference):
        raise UndeclaredFactError("an entry's subject is a reference, never a text")
    return reference


def _tenant_of(subject: object) -> str | None:
    tenant = getattr(subject, "tenant_reference", None)
    return tenant if isinstance(tenant, str) else None


def _is_lazy(body: Callable[..., Any]) -> bool:
    return (
        inspect.isgeneratorfunction(body)
        or inspect.iscoroutinefunction(body)
        or inspect.isasyncgenfunction(body)
    )


def _told(error: BaseException) -> tuple[Outcome, str]:
    """The outcome and the code under which an exception enters the log, never its text."""
    if isinstance(error, DomainError):
        refused = error.kind in {Kind.REFUSED, Kind.UNAUTHENTICATED, Kind.TOO_MANY}
        return (Outcome.DENIED if refused else Outcome.FAILED), error.stable_code
    if isinstance(error, Exception):
        return Outcome.FAILED, "internal"
    return Outcome.FAILED, "interrupted"


def _time_ordered_uuid() -> uuid.UUID:
    """A version 7 UUID (RFC 9562 §5.7): the index stays compact, the id stays unguessable."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (2**48 - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)
