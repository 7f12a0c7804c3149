"""`rollout MODEL --as USER`: a version's part in the service, its rollback, its end."""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from gateway.releases import affected
from governance.doors import DoorCommand
from governance.errors import InvalidError
from governance.lookup import find
from governance.rbac import UserActor
from training.actions.rollouts import announce_sunset, roll_back, set_service
from training.models import Model, ModelVersion, Service


class Command(DoorCommand):
    """Change the part of one version."""

    help = "Serve a version to all, to a share, or beside; roll it back; announce its end"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the version and what is done with it."""
        parser.add_argument("model", help="name or id")
        parser.add_argument("--number", type=int, help="of the version (default: the newest)")
        done = parser.add_mutually_exclusive_group(required=True)
        done.add_argument("--service", choices=Service.values, help="which calls it answers")
        done.add_argument("--rollback", action="store_true", help="out of service, at once")
        done.add_argument("--sunset", help="when its service ends, ISO 8601 with an offset")
        done.add_argument("--no-sunset", action="store_true", help="take the notice back")
        parser.add_argument("--share", type=int, default=10, help="of a canary, percent (10)")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Do it."""
        version = _version(actor, find(actor, Model, options["model"]), options["number"])
        if options["service"]:
            version = set_service(
                actor, version, service=options["service"], share=options["share"]
            )
        elif options["rollback"]:
            version = roll_back(actor, version)
        else:
            ends = None if options["no_sunset"] else _moment(options["sunset"])
            version = announce_sunset(actor, version, ends_at=ends)
        concerned = affected(version, timezone.now()) if version.sunset_at else []
        return {
            "model": version.model.slug,
            "version": version.number,
            "state": version.state,
            "service": version.service,
            "share": version.share,
            "sunset": version.sunset_at.isoformat() if version.sunset_at else None,
            "affected": [str(license_.pk) for license_ in concerned],
        }


def _version(actor: UserActor, model: Model, number: int | None) -> ModelVersion:
    rows = ModelVersion.objects.visible_to(actor).filter(model=model).order_by("-number")
    named = rows if number is None else rows.filter(number=number)
    key = named.values_list("pk", flat=True).first()
    return find(actor, ModelVersion, "" if key is None else str(key))


def _moment(text: str) -> datetime:
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or timezone.is_naive(found):
        raise InvalidError("a moment is written by ISO 8601, with its offset", code="term.invalid")
    return found
