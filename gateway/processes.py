"""Several commands kept alive together, and the commands that make up Portcullis on one machine.

    with Processes(portcullis(port=8000)) as running:
        running.wait()

Each command runs in a session of its own, so that Ctrl-C reaches the supervisor alone, which then
asks each command's first process to end (Celery and gunicorn finish what they hold), and kills what
is left of its process group after a grace.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from gateway.errors import GatewayError
from gateway.settings.env import BASE_DIR

GRACE: Final = 10.0  # seconds between the request to end and the kill
HEALTHY: Final = 30.0  # seconds after which a start counts as a success
LONGEST_PAUSE: Final = 30.0  # seconds between two starts, at most
READ_OUT: Final = 5.0  # seconds to read what a dead command wrote, should another hold its output

# Ingest runs a process a core: libraries that start a thread a core would only be in one another's
# way (a model's matrices are small).
ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# A process gives its memory back when it ends: a language model's vocabulary grows with what it
# reads. In KiB; looked at between two jobs.
_RECYCLED: Final = ("--max-memory-per-child", "2000000")

Write = Callable[[str], None]


class ProcessError(GatewayError):
    """A command did not come up."""

    code = "process.not_started"


@dataclass(frozen=True)
class Command:
    """A command to keep alive.

    Attributes:
        name: what its lines are prefixed with.
        argv: the program and its arguments; nothing secret, since every user can list them.
        environment: what is added to ours.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def portcullis(
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: bool = True,
    ingest_workers: int = 1,
) -> list[Command]:
    """The web server, one worker a queue set, the sequencer and the sweeper.

    Args:
        host: where the web server listens.
        port: as above.
        workers: False for the web server alone.
        ingest_workers: processes that take row groups at the same time.
    """
    web = f"-m gunicorn gateway.wsgi --bind {host}:{port} --workers 2 --threads 16 --timeout 120"
    quiet = "--log-level warning --no-control-socket"
    commands = [Command("web", (sys.executable, *web.split(), *quiet.split()))]
    if workers:
        commands += [
            _worker("ingest", ingest_workers, *_RECYCLED, environment=ONE_THREAD),
            *(_worker(queues) for queues in (_training_queues(), "audit,serve")),
        ]
        commands += [
            Command(name, (sys.executable, str(BASE_DIR / "manage.py"), name, "--follow"))
            for name in ("sequence", "sweep")
        ]
    return commands


def backoff(failures: int) -> float:
    """Seconds to wait before the next start, after so many short-lived ones in a row."""
    return float(min(LONGEST_PAUSE, 0.5 * 2 ** min(failures, 10)))


def wait_for_port(host: str, port: int, *, seconds: float) -> None:
    """Return when somebody listens there.

    Raises:
        ProcessError: nobody did in time.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(0.1)
    raise ProcessError(f"Nothing listens on {host}:{port} after {seconds:g} s")


def free_port() -> int:
    """A port on loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Processes:
    """Commands that are started together, restarted when they die, and stopped together."""

    def __init__(
        self,
        commands: Iterable[Command],
        *,
        write: Write = lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201 - the log
        grace: float = GRACE,
        pause: Callable[[int], float] = backoff,
    ) -> None:
        self._write = write
        self._pause = pause
        self._ending = threading.Event()
        self._kept = [_Kept(command, self) for command in commands]
        self._width = max((len(kept.command.name) for kept in self._kept), default=0)
        self._grace = grace

    def __enter__(self) -> Self:
        """Start every command."""
        for kept in self._kept:
            kept.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop every command, at the latest after the grace."""
        self.end()
        for kept in self._kept:
            kept.ask()
        until = time.monotonic() + self._grace
        for kept in self._kept:
            kept.thread.join(max(0.0, until - time.monotonic()))
        for kept in self._kept:
            kept.kill()
        for kept in self._kept:
            kept.thread.join()

    def end(self) -> None:
        """Let `wait` return; safe in a signal handler."""
        self._ending.set()

    def wait(self) -> None:
        """Block until `end` is called."""
        self._ending.wait()

    def pids(self) -> dict[str, int | None]:
        """The first process of each command, None between two starts."""
        return {kept.command.name: kept.pid for kept in self._kept}

    def say(self, name: str, line: str) -> None:
        """One line of a command's output, or about it."""
        self._write(f"{name:<{self._width}} | {line}")

    def pause(self, failures: int) -> bool:
        """Wait before a restart; True when there is to be none."""
        return self._ending.wait(self._pause(failures))

    @property
    def ending(self) -> bool:
        """Whether `end` was called."""
        return self._ending.is_set()


class _Kept:
    """One command and the thread that keeps it."""

    def __init__(self, command: Command, owner: Processes) -> None:
        self.command = command
        self.thread = threading.Thread(target=self._keep, name=f"keep-{command.name}", daemon=True)
        self._owner = owner
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()  # between a start and a stop

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    def ask(self) -> None:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        with self._lock:
            # One that has ended was cleared away by its thread; its number may be another's by now.
            if self._process is not None and self._process.poll() is None:
                _kill_group(self._process.pid)

    def _keep(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            process = self._start()
            if process is None:
                return
            output = process.stdout
            reader = threading.Thread(target=self._read, args=(output,), daemon=True)
            reader.start()
            code = process.wait()
            # What it left behind would hold its port, its queue or its output.
            _kill_group(process.pid)
            reader.join(READ_OUT)
            if self._owner.ending:
                return
            failures = 0 if time.monotonic() - started >= HEALTHY else failures + 1
            self._owner.say(self.command.name, f"ended with {code}, starting again")
            if self._owner.pause(failures):
                return

    def _start(self) -> subprocess.Popen[str] | None:
        with self._lock:
            if self._owner.ending:
                return None
            self._process = subprocess.Popen(  # noqa: S603 - our own commands, no shell
                self.command.argv,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.command.environment},
                cwd=BASE_DIR,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            return self._process

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self._owner.say(self.command.name, line.rstrip("\n"))


def _kill_group(leader: int) -> None:
    """Kill what is left of the group that `leader` began, whether or not it lives itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _worker(
    queues: str,
    processes: int = 1,
    *more: str,
    environment: Mapping[str, str] | None = None,
) -> Command:
    name = queues.replace(",", "+")
    start = f"-m celery --quiet -A gateway worker --queues {queues} --hostname {name}@%h"
    alone = f"--concurrency {processes} --without-gossip --without-mingle --without-heartbeat"
    argv = (sys.executable, *start.split(), *alone.split(), *more)
    return Command(name, argv, environment or {})


def _training_queues() -> str:
    """A worker takes the GPU's queue only where there is one."""
    return "train.cpu,train.gpu" if Path("/dev/nvidiactl").exists() else "train.cpu"
