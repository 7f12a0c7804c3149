"""`sweep`: send lost jobs again, remove sealed bytes that belong to nothing, make the rounds."""

import json
import threading
import time
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from governance import leases, rounds
from governance.vault import sweep_orphans

ORPHANS_EVERY: Final = 3600.0  # seconds between looks for sealed bytes that belong to nothing


class Command(BaseCommand):
    """Sweep once, or every few seconds with `--follow`. Several may run at once."""

    help = "Send jobs again whose worker died or whose message was lost"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--follow", action="store_true", help="go on until stopped")
        parser.add_argument("--every", type=float, default=5.0, help="seconds between sweeps")

    def handle(self, **options: Any) -> None:
        pause = threading.Event()
        orphans_at = 0.0
        timetable = rounds.Timetable()
        while True:
            found = {"sent": leases.resend_due(), "orphans": 0}
            if time.monotonic() >= orphans_at:
                found["orphans"] = sweep_orphans()
                orphans_at = time.monotonic() + ORPHANS_EVERY
            found |= timetable.go()
            if any(found.values()) or not options["follow"]:
                self.stdout.write(json.dumps(found))
            if not options["follow"] or pause.wait(options["every"]):
                return
