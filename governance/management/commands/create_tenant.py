"""`create_tenant SLUG --name N --customer --as USER`: another organization."""

from argparse import ArgumentParser
from typing import Any

from governance.actions.tenants import create_tenant
from governance.doors import DoorCommand
from governance.lookup import own_tenant
from governance.models.tenants import Suite
from governance.rbac import UserActor


class Command(DoorCommand):
    """Add an organization: a customer, a provider, or both."""

    help = "Add an organization"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add what it is."""
        parser.add_argument("slug")
        parser.add_argument("--name", required=True)
        parser.add_argument("--customer", action="store_true")
        parser.add_argument("--provider", action="store_true")
        parser.add_argument("--suite", choices=Suite.values, default=Suite.INTERNATIONAL.value)

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Create."""
        tenant = create_tenant(
            actor,
            own_tenant(actor),
            slug=options["slug"],
            name=options["name"],
            provider=options["provider"],
            customer=options["customer"],
            suite=options["suite"],
        )
        return {"tenant": tenant.slug, "suite": tenant.suite}
