"""`bootstrap`: found the house, once: its tenant, first officer and first platform admin."""

import getpass
import json
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from audit.errors import DomainError
from governance.actions import people
from governance.doors import EXIT
from governance.models import Tenant
from governance.models.tenants import Suite


class Command(BaseCommand):
    """Found the house. Passwords come from the terminal or the environment."""

    help = "Found the house: its tenant, its first privacy officer, its first platform admin"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, help="the house's short name")
        parser.add_argument("--name", required=True, help="the house's name")
        parser.add_argument("--officer", required=True, help="user name of the privacy officer")
        parser.add_argument("--platform", required=True, help="user name of the platform admin")
        parser.add_argument("--suite", default=Suite.INTERNATIONAL.value, choices=Suite.values)

    def handle(self, **options: Any) -> None:
        try:
            tenant = people.bootstrap(
                people.BOOTSTRAP,
                Tenant.objects.order_by("created_at", "id").first(),
                tenant_slug=options["tenant"],
                tenant_name=options["name"],
                officer=options["officer"],
                officer_password=_password("OFFICER"),
                platform=options["platform"],
                platform_password=_password("PLATFORM"),
                suite=options["suite"],
            )
        except DomainError as error:
            self.stderr.write(json.dumps(error.as_dict()))
            sys.exit(EXIT[error.kind])
        self.stdout.write(json.dumps({"tenant": tenant.slug}))


def _password(whose: str) -> str:
    return os.environ.get(f"PORTCULLIS_{whose}_PASSWORD") or getpass.getpass(
        f"Password of the {whose.lower()}: "
    )
