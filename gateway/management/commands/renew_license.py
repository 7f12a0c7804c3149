"""`renew_license LICENSE --days N --as USER`: extend a license's term."""

from argparse import ArgumentParser
from typing import Any

from gateway.actions.licenses import renew_license
from gateway.models import License
from gateway.moments import in_days
from governance.doors import DoorCommand
from governance.lookup import find
from governance.rbac import UserActor


class Command(DoorCommand):
    """Renew a license."""

    help = "Renew a license: the same license, and the same keys"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the license, and how long."""
        parser.add_argument("license", help="the license's id")
        parser.add_argument("--days", type=int, required=True, help="from today")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Renew it."""
        license_ = find(actor, License, options["license"])
        renewed = renew_license(actor, license_, expires_at=in_days(options["days"]))
        return {
            "license": str(renewed.id),
            "expires": renewed.expires_at.isoformat(),
            "amendment": renewed.amended,
        }
