"""`resume_license LICENSE --as USER`: let a suspended license hold again."""

from argparse import ArgumentParser
from typing import Any

from gateway.actions.licenses import resume_license
from gateway.models import License
from governance.doors import DoorCommand
from governance.lookup import find
from governance.rbac import UserActor


class Command(DoorCommand):
    """Resume a license."""

    help = "Resume a suspended license"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the license."""
        parser.add_argument("license", help="the license's id")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Resume it."""
        license_ = resume_license(actor, find(actor, License, options["license"]))
        return {"license": str(license_.id), "expires": license_.expires_at.isoformat()}
