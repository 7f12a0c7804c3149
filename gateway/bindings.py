"""What stands behind an address: an action, or a read within the caller's scope.

A view says so with one of three marks, on the function, on the class, or on a viewset's method:

    @binds_action(anonymize_dataset)      changes state, or hands out plaintext or a file
    @scoped_read(Dataset)                 lists and shows what `visible_to(actor)` lets through
    @reads_no_tenant_data(reason="…")     schema pages and probes

An architecture test walks every address and refuses one without a mark, or with a verb that changes
state and no action.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from django.db.models import Model

View = TypeVar("View", bound=Callable[..., Any])

ATTRIBUTE: Final = "portcullis_binding"


class Binding(StrEnum):
    """The three things that a view may be."""

    ACTION = "action"
    SCOPED_READ = "scoped_read"
    NO_TENANT_DATA = "no_tenant_data"


@dataclass(frozen=True)
class Bound:
    """One mark: what kind, and which actions, models or reason."""

    binding: Binding
    to: tuple[str, ...]


def binds_action(*actions: Callable[..., Any]) -> Callable[[View], View]:
    """Mark a view as the door of these actions.

    Raises:
        TypeError: something that does not live in an `actions` package.
    """
    names = tuple(f"{action.__module__}.{action.__qualname__}" for action in actions)
    for name in names:
        if name.split(".")[1:2] != ["actions"]:
            raise TypeError(f"{name} is not an action")
    if not names:
        raise TypeError("a view binds at least one action")
    return _mark(Bound(Binding.ACTION, names))


def scoped_read(*models: type[Model]) -> Callable[[View], View]:
    """Mark a view as reading `models` through their scoped querysets."""
    if not models:
        raise TypeError("a read names at least one model")
    return _mark(Bound(Binding.SCOPED_READ, tuple(model.__name__ for model in models)))


def reads_no_tenant_data(*, reason: str) -> Callable[[View], View]:
    """Mark a view that touches nobody's data."""
    if not reason.strip():
        raise TypeError("say why")
    return _mark(Bound(Binding.NO_TENANT_DATA, (reason,)))


def bound(view: Callable[..., Any]) -> tuple[Bound, ...]:
    """The marks on `view` itself, nearest first."""
    marks: tuple[Bound, ...] = getattr(view, ATTRIBUTE, ())
    return marks


def unbound_verbs(callback: Callable[..., Any]) -> Iterator[str]:
    """The HTTP verbs of a URL's callback that are not bound as they must be; `*` for a function's.

    A safe verb needs any mark, an unsafe one an action. The verb of a viewset or a class view is
    judged by the marks on its method, or failing that on its class.
    """
    cls = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
    if cls is None:
        if not bound(callback):
            yield "*"
        return
    for verb, method in _handlers(callback, cls):
        marks = bound(method) or bound(cls)
        if not marks or (
            verb not in _SAFE and not any(mark.binding is Binding.ACTION for mark in marks)
        ):
            yield verb


_SAFE: Final = frozenset({"get", "head", "options", "trace"})
_VERBS: Final = ("get", "post", "put", "patch", "delete")


def _handlers(
    callback: Callable[..., Any], cls: type[Any]
) -> Iterator[tuple[str, Callable[..., Any]]]:
    by_verb = getattr(callback, "actions", None) or {verb: verb for verb in _VERBS}
    for verb, name in by_verb.items():
        if (method := getattr(cls, name, None)) is not None:
            yield verb, method


def _mark(mark: Bound) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        # A class's own marks only: a subclass that adds a door must say what it is.
        present = vars(view).get(ATTRIBUTE, ())
        setattr(view, ATTRIBUTE, (mark, *present))
        return view

    return decorate
