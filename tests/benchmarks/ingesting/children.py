"""Sides as the benchmark drives them: a process each, a command at a time, or two at once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[3]


class Child:
    """One side in a process of its own; see `sides`."""

    def __init__(
        self, side: str, variant: str, *, rows: int, sample: int, home: Path, pin: int | None
    ) -> None:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "gateway.settings.test",
            "PORTCULLIS_TEST_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            **({} if pin is None else {"PIN": str(pin)}),
        }
        command = [sys.executable, "-m", "tests.benchmarks.ingesting.sides", side, variant]
        self._process = subprocess.Popen(
            [*command, str(rows), str(sample)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
            text=True,
        )
        self.answer()

    def ask(self, command: str, *arguments: str) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.send(command, *arguments)
        return self.answer()

    def send(self, command: str, *arguments: str) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join((command, *arguments)) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the next answer.

        Raises:
            RuntimeError: the process ended instead; what it wrote is on standard error.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a side of the benchmark ended before its time")
        told: dict[str, Any] = json.loads(line)
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
