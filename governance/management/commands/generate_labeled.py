"""`generate_labeled OUT.jsonl`: labeled rows in which nobody is anybody."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from governance.measurement.generating import REGIMES, ROWS, SEED, generate
from governance.recognition.regimes import ALL


class Command(BaseCommand):
    """Write a labeled set to measure a detector on; the same seed writes the same bytes."""

    help = "Write labeled rows, structured and prose, Chinese and English, of invented people"
    requires_system_checks: Any = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("out", type=Path, help="a new file, JSON Lines")
        parser.add_argument("--rows", type=int, default=ROWS)
        parser.add_argument("--seed", type=int, default=SEED)
        parser.add_argument("--regimes", nargs="+", choices=ALL, default=list(REGIMES))

    def handle(self, **options: Any) -> None:
        if options["rows"] < 1:
            raise CommandError("a set has at least one row")
        try:
            with options["out"].open("xb") as file:
                for row in generate(options["rows"], options["seed"], options["regimes"]):
                    file.write(row.as_line())
        except FileExistsError:
            raise CommandError("something is there already") from None
        except OSError:
            raise CommandError("the file cannot be written") from None
        told = {"out": str(options["out"]), "rows": options["rows"], "seed": options["seed"]}
        self.stdout.write(json.dumps(told))
