"""People: who holds which role for the tenant; roles proposed and revoked."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from gateway.bindings import binds_action, scoped_read
from gateway.console import words
from gateway.console.access import person
from gateway.console.sections import Section
from governance.actions.people import revoke_role
from governance.models import RoleBinding
from governance.permissions import GRANTS, Permission, Role


@admin.register(RoleBinding)
class People(Section):
    """A user holds a role, from when it was granted until it is revoked."""

    requires = Permission.PEOPLE_VIEW
    template = "console/person.html"
    title = _("People and roles")
    related: ClassVar[tuple[str, ...]] = ("user", "tenant")
    list_display = ("user", "shown_role", "shown_state", "granted_at", "revoked_at")
    list_filter = ("role",)
    search_fields = ("user__username",)
    ordering = ("revoked_at", "user__username", "role")

    @display(description=_("role"), ordering="role")
    def shown_role(self, binding: RoleBinding) -> str:
        """In words."""
        return words.word(words.ROLES, binding.role)

    @display(description=_("state"), label=words.VARIANTS)
    def shown_state(self, binding: RoleBinding) -> tuple[str, str]:
        """Whether it still counts."""
        state = _state_of(binding)
        return state, str(_STATES[state])

    def doors(self) -> list[URLPattern]:
        """Revoke."""
        return [self.button("<str:object_id>/revoke/", self.revoke, "revoke")]

    @scoped_read(RoleBinding)
    def context(self, request: HttpRequest, row: RoleBinding) -> dict[str, Any]:
        """What the role opens."""
        state = _state_of(row)
        return {
            "heading": row.user.get_username(),
            "state": state,
            "state_label": _STATES[state],
            "permissions": [
                permission.value
                for permission, holders in GRANTS.items()
                if Role(row.role) in holders
            ],
            "may_revoke": row.revoked_at is None
            and person(request).may(Permission.ROLE_REVOKE, row).allowed,
        }

    @binds_action(revoke_role)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Take the role away."""
        binding: RoleBinding = self.one(request, object_id)
        return self.act(
            request,
            binding,
            lambda: revoke_role(person(request), binding),
            gettext("The role is revoked."),
        )


_STATES = {"active": _("active"), "revoked": _("revoked")}


def _state_of(binding: RoleBinding) -> str:
    gone = binding.revoked_at is not None or not binding.user.is_active
    return "revoked" if gone else "active"
