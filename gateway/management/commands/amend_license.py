"""`amend_license LICENSE [--quota N] [--feature F …] … --as USER`: change a license's terms."""

from argparse import ArgumentParser
from typing import Any, Final

from gateway.actions.licenses import amend_license
from gateway.agreements import Agreement
from gateway.models import Feature, License
from governance.doors import DoorCommand
from governance.lookup import find
from governance.rbac import UserActor


class Command(DoorCommand):
    """Amend a license."""

    help = "Change terms of a license; those that are not named stay"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the license, and the terms that may change."""
        parser.add_argument("license", help="the license's id")
        parser.add_argument("--feature", action="append", choices=Feature.values, dest="features")
        parser.add_argument("--purpose", action="append", dest="purposes")
        parser.add_argument("--region", action="append", dest="regions", help="repeat it")
        parser.add_argument("--everywhere", action="store_true", help="no region any more")
        parser.add_argument("--quota", type=int, help="units in all")
        parser.add_argument("--model-version", type=int, dest="version", help="this one alone")
        parser.add_argument("--stable", action="store_true", help="the newest released version")
        parser.add_argument("--seats", type=int, help="keys at a time")
        parser.add_argument("--any-seats", action="store_true", help="any number of keys")
        parser.add_argument("--paid", action="store_true", help="make a trial a paid license")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Amend it."""
        named = ("features", "purposes", "regions", "quota", "version", "seats")
        changes = {name: options[name] for name in named if options[name] is not None}
        for flag, change in _EMPTIED.items():
            if options[flag]:
                changes |= change
        license_ = find(actor, License, options["license"])
        amended = amend_license(actor, license_, changes=changes)
        return {
            "license": str(amended.id),
            "amendment": amended.amended,
            "terms": Agreement.of(amended).told(),
        }


_EMPTIED: Final[dict[str, dict[str, Any]]] = {
    "everywhere": {"regions": []},
    "stable": {"version": None},
    "any_seats": {"seats": None},
    "paid": {"trial": False},
}
