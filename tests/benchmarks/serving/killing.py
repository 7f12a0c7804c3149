"""Calls under load while a web worker, Redis and PostgreSQL are killed; what was lost or doubled.

    python -m tests.benchmarks.serving.killing SECONDS

Starts a PostgreSQL cluster and a Redis of its own, on loopback and in a folder of its own, for they
are killed with SIGKILL and started again; and gunicorn as `serve` starts it. Clients send calls,
each under an Idempotency-Key of its own; one that gets no answer, or one that it may ask for again,
is sent once more after a while. Prints one JSON object:

    answered    calls that were answered with 200
    lost        calls that were not, though they were sent twice; and answers that no row knows of
    doubled     calls that were charged more than once, and units that the license counts too many
    unmatched   predictions, uses and entries that have not exactly one of each other
"""

import contextlib
import http.client
import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from gateway.processes import Command, Processes, free_port, portcullis, wait_for_port
from tests.benchmarks.serving.world import environment, ran

CLIENTS: Final = 8
AGAIN: Final = 8.0  # seconds before the one retry: longer than a database takes to come back
_RETRIED: Final = frozenset({409, 500, 502, 503, 504})
_NOBODY: Final = "postgres"  # PostgreSQL does not run as root


@dataclass
class Server:
    """A server of our own that may be killed."""

    argv: list[str]
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self, *, seconds: float = 30) -> None:
        """Start it, as often as it takes: what it left behind when it was killed may hold it up."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.process = subprocess.Popen(
                self.argv,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            with contextlib.suppress(Exception):
                wait_for_port("127.0.0.1", self.port, seconds=3)
                return
            self.kill()
        raise RuntimeError(f"{self.argv[0]} does not start")

    def kill(self) -> None:
        """SIGKILL, to all of it."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def postgresql(folder: Path) -> Iterator[Server]:
    """A cluster of our own, durable as PostgreSQL is by default."""
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    port = free_port()
    data = folder / "postgresql"
    data.mkdir(mode=0o700)
    as_them: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(data, _NOBODY, _NOBODY)
        as_them = ["runuser", "-u", _NOBODY, "--"]
    subprocess.run(
        [*as_them, str(binaries / "initdb"), "-D", str(data), "-U", "bench", "-A", "trust"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    server = Server(
        [*as_them, str(binaries / "postgres"), "-D", str(data), "-p", str(port), *options], port
    )
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def redis(folder: Path) -> Iterator[Server]:
    """A Redis of our own."""
    port = free_port()
    quiet = ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    server = Server(["redis-server", "--port", str(port), "--bind", "127.0.0.1", *quiet], port)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass
class Sent:
    """What came of the calls of all clients."""

    answers: dict[str, str] = field(default_factory=dict)  # key -> prediction
    unanswered: dict[str, str] = field(default_factory=dict)  # key -> why
    lock: threading.Lock = field(default_factory=threading.Lock)


class Client(threading.Thread):
    """Sends calls until told to stop, then repeats those that it may."""

    def __init__(self, port: int, path: str, secret: str, row: object, sent: Sent) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self._port, self._path, self._secret, self._sent = port, path, secret, sent
        self._body = json.dumps({"row": row}).encode()
        self._later: queue.SimpleQueue[tuple[float, str]] = queue.SimpleQueue()
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Call; what failed comes again after `AGAIN` seconds, once."""
        while not self.stop.is_set():
            key = secrets.token_hex(8)
            if self._call(key) is None:
                self._later.put((time.monotonic() + AGAIN, key))
                time.sleep(0.05)  # nobody is there: sockets are not what is measured
        while not self._later.empty():
            due, key = self._later.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if self._call(key) is None:
                with self._sent.lock:
                    self._sent.unanswered[key] = self._why

    def _call(self, key: str) -> str | None:
        self._why = ""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            headers = {
                "Authorization": f"Bearer {self._secret}",
                "Content-Type": "application/json",
                "Idempotency-Key": key,
            }
            self._connection.request("POST", self._path, self._body, headers)
            response = self._connection.getresponse()
            told = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection = None
            self._why = type(error).__name__
            return None
        if response.status != 200:
            self._why = f"{response.status} {told.get('code')}"
            if response.status not in _RETRIED:
                raise RuntimeError(self._why)
            return None
        with self._sent.lock:
            self._sent.answers[key] = told["prediction"]
        return str(told["prediction"])


def run(seconds: float) -> dict[str, Any]:
    """Load, kill, let everything come back, and count."""
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755 if os.geteuid() == 0 else 0o700)  # PostgreSQL's account passes through
    try:
        with postgresql(home) as database, redis(home) as cache:
            url = f"postgresql://bench@127.0.0.1:{database.port}/postgres"
            own = home / "house"
            own.mkdir(mode=0o700)
            environ = environment(own, url, REDIS_URL=f"redis://127.0.0.1:{cache.port}/0")
            return _run(seconds, url, environ, home / "artifact", database, cache)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run(
    seconds: float,
    url: str,
    environ: dict[str, str],
    artifact: Path,
    database: Server,
    cache: Server,
) -> dict[str, Any]:
    house = json.loads(ran(environ, "-m", "tests.benchmarks.serving.house", str(artifact), "1"))
    port = free_port()
    (web,) = portcullis(port=port, workers=False)
    sent = Sent()
    with Processes([Command(web.name, web.argv, environ)], write=lambda _: None) as running:
        wait_for_port("127.0.0.1", port, seconds=60)
        path = f"/api/v1/models/{house['slug']}/predict"
        clients = [
            Client(port, path, house["secrets"][0], house["row"], sent) for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        _kill_each(seconds, lambda: _kill_worker(running.pids()["web"]), database, cache)
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join()
    return _counted(url, sent)


def _kill_each(
    seconds: float, kill_worker: Callable[[], None], database: Server, cache: Server
) -> None:
    """One after the other, each in the middle of the load; then some load without harm."""
    pause = seconds / 4
    time.sleep(pause)
    kill_worker()
    time.sleep(pause)
    cache.kill()
    cache.start()
    time.sleep(pause)
    database.kill()
    database.start()
    kill_worker()
    time.sleep(pause)


def _kill_worker(master: int | None) -> None:
    """SIGKILL to one of gunicorn's workers."""
    told = subprocess.run(["pgrep", "-P", str(master)], capture_output=True, text=True, check=True)
    os.kill(int(told.stdout.split()[0]), signal.SIGKILL)


def _counted(url: str, sent: Sent) -> dict[str, Any]:
    with psycopg.connect(url) as connection:

        def ask(query: str) -> list[Any]:
            return [row[0] for row in connection.execute(query).fetchall()]

        predictions = set(map(str, ask("SELECT id FROM gateway_prediction")))
        (used,) = ask("SELECT used FROM gateway_license")
        unmatched = (
            len(
                ask(
                    "SELECT p.id FROM gateway_prediction p LEFT JOIN gateway_usageevent u"
                    " ON (u.tenant_id, u.request_id) = (p.tenant_id, p.request_id)"
                    " LEFT JOIN audit_auditentry e ON e.id = p.entry_id AND e.outcome = 'done'"
                    " GROUP BY p.id HAVING count(u.id) <> 1 OR count(e.id) <> 1"
                )
            )
            + len(
                ask(
                    "SELECT u.id FROM gateway_usageevent u LEFT JOIN gateway_prediction p"
                    " ON (u.tenant_id, u.request_id) = (p.tenant_id, p.request_id)"
                    " WHERE p.id IS NULL"
                )
            )
            + len(
                ask(
                    "SELECT e.id FROM audit_auditentry e LEFT JOIN gateway_prediction p"
                    " ON p.entry_id = e.id WHERE e.event = 'prediction.served'"
                    " AND e.outcome = 'done' AND p.id IS NULL"
                )
            )
        )
    told = list(sent.answers.values())
    return {
        "answered": len(told),
        "lost": len(sent.unanswered) + len(set(told) - predictions),
        "doubled": (len(told) - len(set(told))) + abs(used - len(predictions)),
        "unmatched": unmatched,
        "never_seen": len(predictions - set(told)),
        "why": sorted(set(sent.unanswered.values())),
    }


def main() -> None:
    """Print what was lost."""
    print(json.dumps(run(float(sys.argv[1]))))


if __name__ == "__main__":
    main()
