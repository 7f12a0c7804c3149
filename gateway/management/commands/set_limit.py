"""`set_limit SCOPE OF [--rate R] [--burst B] [--quota Q] [--period total|month] --as USER`."""

from argparse import ArgumentParser
from typing import Any

from gateway.actions.limits import Wanted, set_limit
from gateway.catalog import find_limited
from gateway.models import LimitPeriod, LimitScope
from governance.doors import DoorCommand
from governance.lookup import own_tenant
from governance.rbac import UserActor


class Command(DoorCommand):
    """Set a limit."""

    help = "Set the rate and the quota of a key, a license, a customer or a model"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the limit's terms."""
        parser.add_argument("scope", choices=LimitScope.values)
        parser.add_argument("of", help="id, key id or slug, by the scope")
        parser.add_argument("--rate", type=int, help="calls a second")
        parser.add_argument("--burst", type=int, help="calls at once (default: the rate)")
        parser.add_argument("--quota", type=int, help="charged units")
        parser.add_argument("--period", choices=LimitPeriod.values, default=LimitPeriod.TOTAL.value)

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Set it."""
        terms = {name: options[name] for name in ("rate", "burst", "quota", "period")}
        of = find_limited(actor, options["scope"], options["of"])
        limit = set_limit(actor, own_tenant(actor), of=of, wanted=Wanted(**terms))
        return {
            "limit": str(limit.id),
            "scope": limit.scope,
            "of": limit.name,
            "rate": limit.rate,
            "burst": limit.burst,
            "quota": limit.quota,
            "period": limit.period,
        }
