"""Calls through the gateway beside the same prediction without it; prints keys as JSON at the end.

    ours    POST /api/v1/models/{slug}/predict: charged, recorded, receipted, durable when answered
    bare    a DRF view that makes the same prediction and asks and writes nothing
    keyed   the same view behind djangorestframework-api-key

PostgreSQL and Redis on loopback, gunicorn with two workers for each, the load from a process of its
own. Each side is loaded in turn, A B C A B C …, at its best number of connections; medians.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from gateway.processes import Command, Processes, free_port, portcullis, wait_for_port
from gateway.settings.env import BASE_DIR
from tests.benchmarks.serving import key_check, killing
from tests.benchmarks.serving.world import environment, ran, throw_away_database

SECONDS: Final = float(os.environ.get("BENCH_SECONDS", "6"))
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "5"))
KILLING: Final = float(os.environ.get("BENCH_KILLING", "24"))
# Few kept connections may all be one worker's: whoever accepts first keeps them.
CONNECTIONS: Final = (16, 32, 64)
BUSY: Final = 0.7  # of the maximum, for the tail
SIDES: Final = ("ours", "bare", "keyed")
# At their best of 1, 4 and 16 threads, and of synchronous workers, which keep no connection open.
PEERS: Final = "-m gunicorn tests.benchmarks.serving.peers --workers 2 --threads 4"

Request = bytes


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
    house = json.loads(ran(own, "-m", "tests.benchmarks.serving.house", str(artifact), "1"))
    foreign = ran(peers, "-m", "tests.benchmarks.serving.foreign_key").strip()
    ports = {side: free_port() for side in ("ours", "peers")}
    (web,) = portcullis(port=ports["ours"], workers=False)
    servers = [
        Command(web.name, web.argv, own),
        Command("peers", _gunicorn(PEERS, ports["peers"]), peers),
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
    with Processes(servers, write=lambda _: None):
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
                **_beside(home),
                "vs_bare": round(most["ours"] / most["bare"], 4),
                "vs_drf_api_key": round(most["ours"] / most["keyed"], 4),
                "p99_over_p50": round(tail["p99"] / tail["p50"], 3),
                "calls_per_s": round(most["ours"], 1),
            }
        )
    )


def _beside(home: Path) -> dict[str, Any]:
    """The key check, and what is lost when everything is killed: each on a database of its own."""
    (home / "checked").mkdir(mode=0o700)
    with throw_away_database() as database:
        checked = key_check.key_check_ratio(environment(home / "checked", database))
    lost = killing.run(KILLING)
    print(f"key check: {checked}")
    print(f"killed a worker, Redis, PostgreSQL under load: {lost}")
    return {
        "key_check_ratio": round(checked["key_check_ratio"], 1),
        "lost": lost["lost"] + lost["doubled"] + lost["unmatched"],
    }


def _best(port: int, what: Request) -> int:
    """The number of connections at which a side answers most; warms it as well."""
    load(port, what, CONNECTIONS[0])
    tried = [(load(port, what, many)["calls_per_s"], many) for many in CONNECTIONS * 2]
    return max(tried)[1]


def _gunicorn(start: str, port: int) -> tuple[str, ...]:
    quiet = "--log-level warning --no-control-socket"
    return (sys.executable, *start.split(), "--bind", f"127.0.0.1:{port}", *quiet.split())


if __name__ == "__main__":
    main()
