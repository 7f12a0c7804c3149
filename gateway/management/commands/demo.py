"""`make demo`: the main job on real data, from upload to verified report."""

import json
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from rich.console import Console

from audit.errors import DomainError
from audit.keys import ensure_keys
from gateway.demo import telling
from gateway.demo.cast import CUSTOMER, HOUSE, USERS, gather
from gateway.demo.story import Story, Told
from gateway.processes import Processes, free_port, portcullis, wait_for_port
from governance.doors import EXIT


class Command(BaseCommand):
    """Run the main job with the real workers and servers, on this machine alone."""

    help = "Run the main job on real data, from upload to verified report"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--log", type=Path, help="where the processes' lines go")
        parser.add_argument("--rows", type=int, help="of the table; all 32,561 by default")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one object")

    def handle(self, **options: Any) -> None:
        console = Console(highlight=False, stderr=options["as_json"])
        try:
            told = _run(console, settings.PORTCULLIS_HOME, options["log"], options["rows"])
        except DomainError as error:
            console.print(f"[red]{error.stable_code}[/]: {error.detail}")
            sys.exit(EXIT[error.kind])
        if options["as_json"]:
            self.stdout.write(json.dumps(told.as_dict()))


def _run(console: Console, home: Path, log: Path | None, rows: int | None) -> Told:
    begun = time.monotonic()
    call_command("migrate", verbosity=0)
    key = ensure_keys()
    cast = gather(home)
    console.print(
        f"[bold]Portcullis[/]: {cast.house} and its customer {cast.customer}; "
        + ("a new house." if cast.is_new else "this home has run before, so the demo goes on.")
    )
    console.print(f"The auditor is handed the log's key, fingerprint {key.fingerprint}\n")
    port = free_port()
    lines = log or home / "demo.log"
    with lines.open("a") as out:
        lines.chmod(0o600)

        def write(line: str) -> None:
            out.write(f"{line}\n")
            out.flush()

        with Processes(portcullis(port=port, ingest_workers=settings.INGEST_WORKERS), write=write):
            wait_for_port("127.0.0.1", port, seconds=60)
            story = Story(cast, home, f"http://127.0.0.1:{port}", rows)
            story.told.seconds["start"] = time.monotonic() - begun
            for name, do in story.stages():
                with telling.stage(console, name) as progress:
                    story.play(name, do, progress)
    console.print()
    console.print(telling.table(story.told))
    console.print(telling.promise(float(settings.DEFAULT_DELTA), console.width))
    console.print(
        "\nOpen the console: [bold]make serve[/], then http://127.0.0.1:8000/admin/\n"
        f"Users: {', '.join(USERS)} ({CUSTOMER}; the others {HOUSE}); "
        f"password of all: [bold]{cast.password}[/]"
    )
    return story.told
