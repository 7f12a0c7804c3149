"""Who looks at the console, and what they may see; a refused page is a refusal in the log."""

from typing import Final, cast

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from audit.events import Event
from audit.recording import append_refusal
from gateway.console.sentences import sentence
from governance.lookup import own_tenant
from governance.models import Tenant
from governance.permissions import Permission, Role
from governance.rbac import Decision, UserActor

_ANSWERS: Final = "_console_answers"


def person(request: HttpRequest) -> UserActor:
    """Who acts, for which tenant; the tenancy middleware said so."""
    return cast("UserActor", request.actor)  # type: ignore[attr-defined]  # set by the middleware


def roles(request: HttpRequest) -> frozenset[Role]:
    """The roles held now; none for whoever is not signed in."""
    actor: UserActor | None = getattr(request, "actor", None)
    return frozenset() if actor is None else actor.roles()


def house(request: HttpRequest) -> Tenant:
    """The tenant acted for."""
    return own_tenant(person(request))


def sees(request: HttpRequest, permission: Permission) -> bool:
    """Whether a link or a button is worth showing; the act itself is asked for again.

    Asked once a page for each permission: a page is drawn from one state of the roles.
    """
    actor: UserActor | None = getattr(request, "actor", None)
    if actor is None:
        return False
    answers: dict[Permission, bool] = request.__dict__.setdefault(_ANSWERS, {})
    if permission not in answers:
        answers[permission] = actor.may(permission, None).allowed
    return answers[permission]


def check(request: HttpRequest, permission: Permission, kind: str) -> None:
    """Ask for a page.

    Raises:
        PermissionDenied: recorded, as a look-up that was refused.
    """
    decision: Decision = person(request).may(permission, None)
    if not decision.allowed:
        append_refusal(
            Event.LOOKUP_REFUSED,
            person(request),
            None,
            decision.reason,
            permission.value,
            kind=kind,
        )
        raise PermissionDenied(sentence(decision.reason))
