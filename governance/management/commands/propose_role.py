"""`propose_role NAME ROLE --as USER`: ask that a person hold a role; somebody else approves."""

from argparse import ArgumentParser
from typing import Any

from governance.actions.people import propose_role
from governance.doors import DoorCommand
from governance.errors import InvalidError
from governance.lookup import own_tenant
from governance.models import Tenant, User
from governance.permissions import Role
from governance.rbac import UserActor


class Command(DoorCommand):
    """Propose a role, for the actor's own organization or for a customer of the house."""

    help = "Propose a role for a user; the privacy officer approves it"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add who, what and where."""
        parser.add_argument("name", help="the user's name")
        parser.add_argument("role", choices=[role.value for role in Role])
        parser.add_argument("--at", help="slug of another organization than one's own")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Propose."""
        house = own_tenant(actor)
        tenant = Tenant.objects.filter(slug=options["at"] or house.slug).first()
        user = User.objects.filter(username=options["name"]).first()
        if tenant is None or user is None:
            raise InvalidError("there is no such user or organization", code="role.subject_unknown")
        proposal = propose_role(actor, house, user=user, role=Role(options["role"]), tenant=tenant)
        return {"proposal": str(proposal.id), "status": "awaiting_approval"}
