"""`sweep`: send again what waits too long or was dropped by a dead worker."""

import json
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from governance import leases


class Command(BaseCommand):
    """Sweep once, or every few seconds with `--follow`. Several may run at once."""

    help = "Send jobs again whose worker died or whose message was lost"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--follow", action="store_true", help="go on until stopped")
        parser.add_argument("--every", type=float, default=5.0, help="seconds between sweeps")

    def handle(self, **options: Any) -> None:
        pause = threading.Event()
        while True:
            sent = leases.resend_due()
            if sent or not options["follow"]:
                self.stdout.write(json.dumps({"sent": sent}))
            if not options["follow"] or pause.wait(options["every"]):
                return
