"""Other processes on the test's own database, which may be killed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote

from django.db import connections

ROOT: Final = Path(__file__).parents[2]


def database_url() -> str:
    """The test database, as another process reaches it."""
    parts = connections["default"].settings_dict
    if connections["default"].vendor == "sqlite":
        return f"sqlite:///{parts['NAME']}"
    user, password = quote(parts["USER"], safe=""), quote(parts["PASSWORD"], safe="")
    return f"postgresql://{user}:{password}@{parts['HOST']}:{parts['PORT']}/{parts['NAME']}"


def forked(
    home: Path,
    what: str,
    *arguments: str,
    at_once: bool = False,
    script: str = "training/forked.py",
) -> list[int]:
    """Run a script's function once for each argument, in a process of its own each.

    Args:
        home: PORTCULLIS_HOME.
        what: a function of the script.
        arguments: one a process.
        at_once: all side by side, let go together; one after the other otherwise.
        script: under `tests`; it imports once and forks.

    Returns:
        Exit codes in order; negative for the signal that killed the process.
    """
    database = connections["default"]
    name = str(database.settings_dict["NAME"])
    database.close()
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "tests" / script),
            "at_once" if at_once else "in_turn",
            what,
            *arguments,
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "gateway.settings.test",
            "PORTCULLIS_TEST_HOME": str(home),
            "TEST_DATABASE": name,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(code) for code in done.stdout.split()]
