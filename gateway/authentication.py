"""Who calls: an API key's customer, or a person with a session. One path for each, for every door.

`Authorization: Bearer pck_…` is judged by `gateway.keys` and `gateway.licensing`; a request that
carries it is never answered for a session as well. People come with Django's session and, on verbs
that change something, its CSRF token; `gateway.tenancy` has already said for which tenant they act.
"""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from gateway import last_use
from gateway.addresses import client_address
from gateway.errors import CredentialError
from gateway.keys import KeyFacts, authenticate
from gateway.licensing import covers, judge_key
from gateway.refusals import REFUSALS
from gateway.scopes import FEEDBACK, READ
from governance.errors import RefusedError
from governance.permissions import Permission
from governance.rbac import ALLOWED, Decision, UserActor

REALM: Final = 'Bearer realm="portcullis"'
_SCHEME: Final = "bearer"


@dataclass(frozen=True)
class KeyActor:
    """An API key, acting for its customer: it reaches its own license and nothing else."""

    facts: KeyFacts
    address: str | None = None  # where it called from; None where nobody asked

    @property
    def reference(self) -> str:
        """The key's public id."""
        return f"key:{self.facts.public_id}"

    @property
    def tenant_id(self) -> UUID:
        """The customer."""
        return self.facts.tenant_id

    @property
    def tenant_reference(self) -> str:
        """The customer, as a plain value."""
        return str(self.facts.tenant_id)

    def may(self, permission: Permission, subject: object) -> Decision:
        """A key calls under its license, and reads what concerns it."""
        if permission not in _KEY_PERMISSIONS:
            return Decision(allowed=False, reason="permission.not_for_keys")
        scope = _SCOPES.get(permission)  # that of a call is judged with its license
        if scope is not None and not covers(self.facts, scope):
            return Decision(allowed=False, reason="key.scope_missing")
        if subject is None:
            # A list: what it holds is narrowed to the key's own license where it is read.
            listing = permission not in {Permission.PREDICT, Permission.FEEDBACK_SEND}
            return ALLOWED if listing else Decision(allowed=False, reason="license.other_customer")
        own = (
            getattr(subject, "id", None) == self.facts.license_id
            and getattr(subject, "customer_id", None) == self.facts.tenant_id
        )
        return ALLOWED if own else Decision(allowed=False, reason="license.other_customer")


_KEY_PERMISSIONS: Final = frozenset(
    {
        Permission.PREDICT,
        Permission.FEEDBACK_SEND,
        Permission.MODEL_VIEW,
        Permission.LICENSE_VIEW,
    }
)

_SCOPES: Final = {Permission.FEEDBACK_SEND: FEEDBACK, Permission.LICENSE_VIEW: READ}

Caller = KeyActor | UserActor


def bearer(header: str, address: str) -> KeyActor:
    """The actor of an `Authorization` header with Bearer credentials. What fails is counted.

    Args:
        header: its value.
        address: where the request came from.

    Raises:
        CredentialError: `key.malformed`, `key.unknown`, `key.revoked`, `key.expired`.
        KeyRefusedError: `key.address_refused`.
    """
    try:
        facts = authenticate(header.partition(" ")[2].strip())
    except CredentialError as error:
        REFUSALS.note(error.stable_code)
        raise
    actor = KeyActor(facts, address)
    denial = judge_key(facts, timezone.now(), address)
    if denial is not None:
        # The secret was right, so the entry says whose key it was.
        REFUSALS.note(denial.code, actor)
        raise denial.raised()
    return actor


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer pck_…`."""

    def authenticate(self, request: Request) -> tuple[Any, KeyFacts] | None:
        """The key's actor; None where no bearer credentials were sent.

        Raises:
            CredentialError, KeyRefusedError: as `bearer`.
        """
        offered = request.headers.get("Authorization", "")
        if offered.partition(" ")[0].lower() != _SCHEME:
            return None
        actor = bearer(offered, client_address(request.META))
        last_use.touch(actor.facts, at=timezone.now())
        return actor, actor.facts

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002  # DRF's signature
        """What a 401 asks for."""
        return REALM


class StaffSession(SessionAuthentication):
    """A person's session; verbs that change something need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        """The user's actor for the active tenant, or None.

        Raises:
            RefusedError: `auth.csrf_failed`.
        """
        found = super().authenticate(request)
        if found is None:
            return None
        actor = getattr(request, "actor", None)  # of Django's request: gateway.tenancy
        return None if actor is None else (actor, None)

    def enforce_csrf(self, request: Request) -> None:
        """Check the token; say that it failed, and not how."""
        try:
            super().enforce_csrf(request)
        except PermissionDenied:
            REFUSALS.note("auth.csrf_failed")
            raise RefusedError(
                "the CSRF token is missing or wrong", code="auth.csrf_failed"
            ) from None


class Known(BasePermission):
    """Somebody: what they may do is asked of the actor, for each act."""

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002  # DRF's
        """Whether an actor was found.

        Raises:
            CredentialError: `auth.required`.
        """
        if not isinstance(request.user, KeyActor | UserActor):
            REFUSALS.note(CredentialError.code)
            raise CredentialError("sign in, or send an API key as Bearer credentials")
        return True
