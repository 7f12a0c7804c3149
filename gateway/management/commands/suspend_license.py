"""`suspend_license LICENSE --reason R --as USER`: let a license rest until it is resumed."""

from argparse import ArgumentParser
from typing import Any

from gateway.actions.licenses import suspend_license
from gateway.models import License, SuspensionReason
from governance.doors import DoorCommand
from governance.lookup import find
from governance.rbac import UserActor


class Command(DoorCommand):
    """Suspend a license."""

    help = "Suspend a license: no call commits under it until it is resumed"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the license, and why."""
        parser.add_argument("license", help="the license's id")
        parser.add_argument("--reason", required=True, choices=SuspensionReason.values)

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Suspend it."""
        license_ = find(actor, License, options["license"])
        suspended = suspend_license(actor, license_, reason=options["reason"])
        return {
            "license": str(suspended.id),
            "reason": suspended.suspended_for,
            "suspended": str(suspended.suspended_at and suspended.suspended_at.isoformat()),
        }
