"""`check_invariants`: look from outside at what must always hold; exit 4 if it does not."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from audit.errors import Kind
from gateway.invariants import CHECKS
from governance.doors import EXIT
from governance.scoping import across_tenants


class Command(BaseCommand):
    """Check everything; it only reads, and acts for nobody."""

    help = "Check triggers, entries, checkpoint, calls and budgets against each other"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one object")

    def handle(self, **options: Any) -> None:
        with across_tenants(reason="invariants span every tenant"):
            found = {name: list(check()) for name, check in CHECKS.items()}
        holds = not any(found.values())
        if options["as_json"]:
            self.stdout.write(json.dumps({"holds": holds, "findings": found}))
        else:
            for name, findings in found.items():
                self.stdout.write(f"{name:<12} {'holds' if not findings else 'BROKEN'}")
                for finding in findings:
                    self.stdout.write(f"    {finding}")
        if not holds:
            sys.exit(EXIT[Kind.FAILED])
