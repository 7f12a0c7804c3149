"""`manage.py sequence`: append what is pending and sign the tree, once or for ever.

Exit codes: 0 done · 4 the key is missing, the log contradicts what was signed before, or a table of
it is no longer append-only; stderr then has the error's code and detail as one JSON object.
"""

import json
import signal
import sys
import threading
from types import FrameType
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from audit.errors import AuditError, TriggerError
from audit.sequencer import INTERVAL, SequenceResult, follow, sequence_once
from audit.triggers import missing

FAILED: Final = 4


class Command(BaseCommand):
    """Run the sequencer."""

    help = "Append pending leaves to the log and sign a checkpoint."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--follow", action="store_true", help="go on until stopped")
        parser.add_argument(
            "--interval", type=float, default=INTERVAL, help="seconds between rounds"
        )
        parser.add_argument("--json", action="store_true", help="print one object a round")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            self._sequence(options)
        except AuditError as error:
            self.stderr.write(json.dumps(error.as_dict(), ensure_ascii=False))
            sys.exit(FAILED)

    def _sequence(self, options: dict[str, Any]) -> None:
        if missing(connection):
            raise TriggerError("an append-only table has lost its protection; migrate restores it")
        show = self._show_json if options["json"] else self._show
        if not options["follow"]:
            show(sequence_once())
            return
        stop = threading.Event()

        def leave(_number: int, _frame: FrameType | None) -> None:
            stop.set()  # the round in hand is finished first

        signal.signal(signal.SIGTERM, leave)
        signal.signal(signal.SIGINT, leave)
        follow(stop, options["interval"], told=show)

    def _show(self, result: SequenceResult) -> None:
        self.stdout.write(f"{result.appended} appended, {result.size} in the log")

    def _show_json(self, result: SequenceResult) -> None:
        """One line: `size`, `appended`, and the newest `checkpoint` note or null."""
        shown = {
            "size": result.size,
            "appended": result.appended,
            "checkpoint": result.checkpoint,
        }
        self.stdout.write(json.dumps(shown, ensure_ascii=False))
