"""`declare_purpose SLUG --title T --basis B --as USER`: why personal data are processed here."""

from argparse import ArgumentParser
from typing import Any

from governance.actions.tenants import declare_purpose
from governance.doors import DoorCommand
from governance.lookup import own_tenant
from governance.models.tenants import LegalBasis
from governance.rbac import UserActor


class Command(DoorCommand):
    """Declare a purpose and its legal basis; what is not declared is refused."""

    help = "Declare a purpose for which personal data are processed"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the purpose."""
        parser.add_argument("slug", help="its short name, as ingest and train take it")
        parser.add_argument("--title", required=True)
        parser.add_argument("--basis", required=True, choices=LegalBasis.values)

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Declare."""
        purpose = declare_purpose(
            actor,
            own_tenant(actor),
            slug=options["slug"],
            title=options["title"],
            legal_basis=options["basis"],
        )
        return {"purpose": purpose.slug, "legal_basis": purpose.legal_basis}
