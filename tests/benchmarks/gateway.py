"""Calls through the gateway beside the same prediction without it; prints keys as JSON at the end.

    ours    POST /api/v1/models/{slug}/predict: charged, recorded, receipted, durable when answered
    bare    a DRF view that makes the same prediction and asks and writes nothing
    keyed   the same view behind djangorestframework-api-key

PostgreSQL and Redis on loopback, gunicorn with two workers for each, the load from a process of its
own. Each side is loaded in turn, A B C A B C …, at its best number of connections; medians.
"""

import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from gateway.processes import Command, Processes, free_port, wait_for_port
from gateway.settings.env import BASE_DIR

DATABASE: Final = os.environ.get(
    "DATABASE_URL", "postgresql://portcullis:portcullis@127.0.0.1:5432/postgres"
)
SECONDS: Final = float(os.environ.get("BENCH_SECONDS", "6"))
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "3"))
CONNECTIONS: Final = (8, 16, 32)
BUSY: Final = 0.7  # of the maximum, for the tail
SIDES: Final = ("ours", "bare", "keyed")
PRODUCT: Final = "-m gunicorn gateway.wsgi --workers 2 --threads 16"
# Measured with 1, 4 and 16 threads and with synchronous workers: see `PEERS`.
PEERS: Final = {
    "threads": "-m gunicorn tests.benchmarks.serving.peers --workers 2 --threads 4",
}

Request = bytes


@contextmanager
def throw_away_database() -> Iterator[str]:
    """An empty database beside the one that is named; gone afterwards."""
    name = f"portcullis_bench_{secrets.token_hex(4)}"
    with psycopg.connect(DATABASE, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlunsplit(urlsplit(DATABASE)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(DATABASE, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


def environment(home: Path, database: str, **more: str) -> dict[str, str]:
    """Of a process of the bench: the development profile, PostgreSQL, one thread a library."""
    ours = ("PORTCULLIS_", "DATABASE_URL", "CELERY_BROKER_URL", "REDIS_URL", "DJANGO_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return inherited | {
        "DJANGO_SETTINGS_MODULE": "gateway.settings.dev",
        "PORTCULLIS_HOME": str(home),
        "DATABASE_URL": database,
        "REDIS_URL": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/15"),
        "OMP_NUM_THREADS": "1",
        **more,
    }


def request(port: int, path: str, body: object, authorization: str = "") -> Request:
    """The bytes of one call."""
    data = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
    ]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    return "\r\n".join([*lines, "", ""]).encode() + data


def load(port: int, what: Request, connections: int, rate: float | None = None) -> dict[str, Any]:
    """What one stretch of load measured."""
    argv = [sys.executable, "-m", "tests.benchmarks.serving.load", str(port), str(SECONDS)]
    argv += [str(connections), *([] if rate is None else [str(rate)])]
    done = subprocess.run(argv, input=what, capture_output=True, check=False, cwd=BASE_DIR)
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-2000:])
    told: dict[str, Any] = json.loads(done.stdout)
    if set(told["statuses"]) - {"200"}:
        raise RuntimeError(f"answers were {told['statuses']}")
    return told


def main() -> None:
    """Print the table, and the JSON object as the last line."""
    home = Path(tempfile.mkdtemp())
    home.chmod(0o700)
    try:
        with throw_away_database() as ours, throw_away_database() as theirs:
            _measure(home, ours, theirs)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _measure(home: Path, ours: str, theirs: str) -> None:
    artifact = home / "artifact"
    own = environment(home, ours)
    peers = environment(
        home,
        theirs,
        DJANGO_SETTINGS_MODULE="tests.benchmarks.serving.peer_settings",
        BENCH_ARTIFACT=str(artifact),
    )
    house = json.loads(_ran(own, "-m", "tests.benchmarks.serving.house", str(artifact), "1"))
    foreign = _ran(peers, "-m", "tests.benchmarks.serving.foreign_key").strip()
    ports = {side: free_port() for side in ("ours", "peers")}
    servers = [
        Command("ours", _gunicorn(PRODUCT, ports["ours"]), own),
        Command("peers", _gunicorn(PEERS["threads"], ports["peers"]), peers),
    ]
    body = {"row": house["row"]}
    path = f"/api/v1/models/{house['slug']}/predict"
    calls = {
        "ours": (
            ports["ours"],
            request(ports["ours"], path, body, f"Bearer {house['secrets'][0]}"),
        ),
        "bare": (ports["peers"], request(ports["peers"], "/bare", body)),
        "keyed": (ports["peers"], request(ports["peers"], "/keyed", body, f"Api-Key {foreign}")),
    }
    with Processes(servers):
        for port in ports.values():
            wait_for_port("127.0.0.1", port, seconds=60)
        found = {side: _best(*calls[side]) for side in SIDES}
        rates: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(ROUNDS):
            for side in SIDES:
                rates[side].append(load(*calls[side], found[side])["calls_per_s"])
        most = {side: statistics.median(rates[side]) for side in SIDES}
        tail = load(*calls["ours"], 64, rate=BUSY * most["ours"])
    for side in SIDES:
        print(
            f"{side:6} {most[side]:8.0f} calls/s  ({found[side]} connections)",
            *map(round, rates[side]),
        )
    print(f"at {BUSY:.0%}: p50 {tail['p50'] * 1e3:.2f} ms, p99 {tail['p99'] * 1e3:.2f} ms")
    print(
        json.dumps(
            {
                "vs_bare": round(most["ours"] / most["bare"], 4),
                "vs_drf_api_key": round(most["ours"] / most["keyed"], 4),
                "p99_over_p50": round(tail["p99"] / tail["p50"], 3),
                "calls_per_s": round(most["ours"], 1),
            }
        )
    )


def _best(port: int, what: Request) -> int:
    """The number of connections at which a side answers most; warms it as well."""
    print(load(port, what, CONNECTIONS[0]))
    return max(CONNECTIONS, key=lambda many: load(port, what, many)["calls_per_s"])


def _gunicorn(start: str, port: int) -> tuple[str, ...]:
    quiet = "--log-level warning --no-control-socket"
    return (sys.executable, *start.split(), "--bind", f"127.0.0.1:{port}", *quiet.split())


def _ran(environ: Mapping[str, str], *argv: str) -> str:
    done = subprocess.run(
        [sys.executable, *argv],
        env=environ,
        capture_output=True,
        text=True,
        cwd=BASE_DIR,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    return done.stdout.splitlines()[-1]


if __name__ == "__main__":
    main()
