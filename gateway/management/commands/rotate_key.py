"""`rotate_key KEY --as USER`: give an API key a new secret and show it, this once."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from gateway.actions.keys import OVERLAP, Keep, rotate_key
from gateway.models import ApiKey, License
from governance.doors import DoorCommand
from governance.lookup import find
from governance.rbac import UserActor

_HOUR = timedelta(hours=1)
_MOST_HOURS = 10**6  # more is refused by the action; far more would overflow on the way


class Command(DoorCommand):
    """Rotate a key."""

    help = "Give an API key a new secret under the same id; it is shown once"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the key, and what becomes of its old secret."""
        parser.add_argument("key", help="the key's id: the ten characters after pck_live_")
        parser.add_argument(
            "--overlap-hours",
            type=int,
            default=OVERLAP // _HOUR,
            help="how long the old secret stays good, 0 to 720 (default: 24)",
        )
        parser.add_argument(
            "--keep", choices=[one.value for one in Keep], help="within an overlap: which one stays"
        )
        parser.add_argument("--idempotency-key", help="the same one again does not rotate again")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Rotate it."""
        key = find(actor, ApiKey, options["key"])
        hours = max(-1, min(options["overlap_hours"], _MOST_HOURS))
        rotated = rotate_key(
            actor,
            find(actor, License, str(key.license_id)),
            key=key,
            overlap=hours * _HOUR,
            keep=options["keep"],
            idempotency_key=options["idempotency_key"],
        )
        until = rotated.key.previous_not_after
        return {
            "key": rotated.key.public_id,
            "secret": rotated.secret,
            "license": str(rotated.key.license_id),
            "old_secret_until": None if until is None else until.isoformat(),
            "expires": rotated.key.expires_at.isoformat(),
        }
