"""`add_user NAME --as USER`: a person who can sign in, and holds no role yet."""

import getpass
import os
from argparse import ArgumentParser
from typing import Any

from governance.actions.people import create_user
from governance.doors import DoorCommand
from governance.lookup import own_tenant
from governance.rbac import UserActor


class Command(DoorCommand):
    """Add a person. The password comes from the terminal or PORTCULLIS_USER_PASSWORD."""

    help = "Add a user, who holds no role until one is proposed and approved"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the name."""
        parser.add_argument("name", help="what the person signs in with")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Ask for a password, and add."""
        password = os.environ.get("PORTCULLIS_USER_PASSWORD") or getpass.getpass("Password: ")
        user = create_user(actor, own_tenant(actor), username=options["name"], password=password)
        return {"user": str(user.id)}
