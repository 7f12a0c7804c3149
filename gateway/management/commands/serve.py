"""`manage.py serve`: the web server, the workers, sequencer and sweeper, until Ctrl-C."""

import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from gateway.processes import Processes, portcullis


class Command(BaseCommand):
    """Run everything on this machine."""

    help = "Run the web server, the workers, the sequencer and the sweeper; restart what dies."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--no-workers", action="store_true", help="the web server alone")

    def handle(self, *_args: Any, **options: Any) -> None:
        _refuse_unprepared()
        commands = portcullis(
            host=options["host"],
            port=options["port"],
            workers=not options["no_workers"],
            ingest_workers=settings.INGEST_WORKERS,
        )
        running = Processes(commands, write=self.stdout.write)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: running.end())
        self.stdout.write(f"Console: http://{options['host']}:{options['port']}/admin/")
        self.stdout.write("Ctrl-C stops everything.")
        with running:
            running.wait()


def _refuse_unprepared() -> None:
    """Nothing is migrated or compiled behind anybody's back: say what is missing."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CommandError("The database is not up to date. Run: python manage.py migrate")
    connection.close()  # the children open their own
    for folder in settings.LOCALE_PATHS:
        for source in folder.glob("*/LC_MESSAGES/*.po"):
            if not source.with_suffix(".mo").exists():
                raise CommandError(
                    f"{source.parent.parent.name} is not compiled. Run: "
                    "python manage.py compilemessages"
                )
