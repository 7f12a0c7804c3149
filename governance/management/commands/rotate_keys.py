"""`rotate_keys --level root|tenant --as USER`: a new key, without sealing anything again."""

from argparse import ArgumentParser
from typing import Any

from governance.actions.keys import Level, rotate_keys
from governance.doors import DoorCommand
from governance.lookup import own_tenant
from governance.rbac import UserActor


class Command(DoorCommand):
    """Rotate the root key, or the key of the actor's tenant."""

    help = "Rotate the root key or the tenant's key; the data is not sealed again"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add which key."""
        parser.add_argument("--level", choices=[level.value for level in Level], required=True)

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Rotate."""
        level = Level(options["level"])
        tenant = own_tenant(actor)
        return {"level": level.value, "rewrapped": rotate_keys(actor, tenant, level=level)}
