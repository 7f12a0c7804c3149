"""For which tenant a person acts in this request; its scope is open until the answer is made."""

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse

from governance.rbac import UserActor, tenants_of
from governance.scoping import tenant_scope

SESSION_KEY: Final = "tenant"  # the slug of the tenant chosen in the console


class Tenancy:
    """Set `request.actor` from the session's user and chosen tenant, and open that tenant's scope.

    Without a choice, or when the chosen tenant's roles are gone, it is the first by slug. Whoever
    signed in and holds no role acts for no tenant, and sees nothing.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer within the scope of one tenant, or of none."""
        actor = _actor(request)
        request.actor = actor  # type: ignore[attr-defined]  # for views, console and authentication
        if actor is None:
            return self._get_response(request)
        with tenant_scope(*([] if actor.tenant_id is None else [actor.tenant_id])):
            return self._get_response(request)


def _actor(request: HttpRequest) -> UserActor | None:
    if not request.user.is_authenticated:
        return None
    user = request.user
    tenants = tenants_of(user)
    chosen = request.session.get(SESSION_KEY)
    active = next((tenant for tenant in tenants if tenant.slug == chosen), None)
    if active is None:
        active = tenants[0] if tenants else None
    return UserActor(user.id, None if active is None else active.id)
