"""`issue_license MODEL --customer T --purpose P --as USER`: let a customer call a model."""

from argparse import ArgumentParser
from typing import Any

from gateway.actions.licenses import issue_license
from gateway.catalog import find_tenant
from gateway.models import Feature
from gateway.moments import in_days
from governance.doors import DoorCommand
from governance.lookup import find
from governance.rbac import UserActor
from training.models import Model


class Command(DoorCommand):
    """Issue a license."""

    help = "License a released model to a customer"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the terms."""
        parser.add_argument("model", help="slug or id")
        parser.add_argument("--customer", required=True, help="slug or id of the customer")
        parser.add_argument(
            "--purpose", required=True, action="append", help="what the calls are for; repeat it"
        )
        parser.add_argument(
            "--feature",
            action="append",
            choices=Feature.values,
            help="what may be called; repeat it (default: all)",
        )
        parser.add_argument(
            "--region", action="append", help="where it holds (default: everywhere); repeat it"
        )
        parser.add_argument(
            "--model-version", type=int, help="this one alone (default: the newest)"
        )
        parser.add_argument("--seats", type=int, help="keys at a time (default: any number)")
        parser.add_argument("--trial", action="store_true", help="a trial, 30 days at most")
        parser.add_argument("--quota", type=int, default=10_000, help="units in all")
        parser.add_argument("--rate", type=int, help="calls a second (default: any number)")
        parser.add_argument("--burst", type=int, help="calls at once (default: the rate)")
        parser.add_argument("--days", type=int, default=365, help="how long it lasts")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Issue it."""
        license_ = issue_license(
            actor,
            find(actor, Model, options["model"]),
            customer=find_tenant(actor, options["customer"]),
            features=options["feature"] or list(Feature.values),
            purposes=options["purpose"],
            regions=options["region"] or [],
            version=options["model_version"],
            seats=options["seats"],
            trial=options["trial"],
            quota=options["quota"],
            expires_at=in_days(options["days"]),
            rate=options["rate"],
            burst=options["burst"],
        )
        return {
            "license": str(license_.id),
            "customer": license_.customer.slug,
            "model": license_.model.slug,
            "features": license_.features,
            "purposes": license_.purposes,
            "regions": license_.regions,
            "version": license_.version,
            "seats": license_.seats,
            "trial": license_.trial,
            "quota": license_.quota,
            "rate": license_.rate,
            "burst": license_.burst,
            "expires": license_.expires_at.isoformat(),
        }
