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
        parser.add_argument("--purpose", required=True, help="what the calls are for")
        parser.add_argument(
            "--feature",
            action="append",
            choices=Feature.values,
            help="what may be called; repeat it (default: all)",
        )
        parser.add_argument("--quota", type=int, default=10_000, help="units in all")
        parser.add_argument("--version-number", type=int, help="bind it to this released version")
        parser.add_argument("--days", type=int, default=365, help="how long it lasts")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Issue it."""
        license_ = issue_license(
            actor,
            find(actor, Model, options["model"]),
            customer=find_tenant(actor, options["customer"]),
            features=options["feature"] or list(Feature.values),
            purpose=options["purpose"],
            quota=options["quota"],
            expires_at=in_days(options["days"]),
            version=options["version_number"],
        )
        return {
            "license": str(license_.id),
            "customer": license_.customer.slug,
            "model": license_.model.slug,
            "features": license_.features,
            "purpose": license_.purpose,
            "quota": license_.quota,
            "version": options["version_number"],
            "expires": license_.expires_at.isoformat(),
        }
