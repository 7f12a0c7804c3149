"""`issue_key LICENSE --name N --as USER`: make an API key and show it, this once."""

from argparse import ArgumentParser
from typing import Any

from gateway.actions.keys import issue_key
from gateway.models import KeyMode, License
from gateway.moments import in_days
from gateway.scopes import SCOPES
from governance.doors import DoorCommand
from governance.lookup import find
from governance.rbac import UserActor


class Command(DoorCommand):
    """Issue a key."""

    help = "Issue an API key under a license; it is shown once"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the key's license, name, mode and term."""
        parser.add_argument("license", help="the license's id")
        parser.add_argument("--name", required=True, help="what people call it")
        parser.add_argument("--mode", choices=KeyMode.values, default=KeyMode.LIVE.value)
        parser.add_argument("--scopes", type=_listed, help=f"of {','.join(SCOPES)} (default: all)")
        parser.add_argument(
            "--addresses", type=_listed, default=[], help="networks, comma-separated (default: any)"
        )
        parser.add_argument("--days", type=int, help="how long it lasts (default: the license)")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Issue it."""
        days = options["days"]
        issued = issue_key(
            actor,
            find(actor, License, options["license"]),
            name=options["name"],
            mode=options["mode"],
            scopes=options["scopes"],
            addresses=options["addresses"],
            expires_at=None if days is None else in_days(days),
        )
        return {
            "key": issued.key.public_id,
            "secret": issued.secret,
            "license": str(issued.key.license_id),
            "mode": issued.key.mode,
            "expires": issued.key.expires_at.isoformat(),
            "scopes": issued.key.scopes,
            "addresses": issued.key.addresses,
        }


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
