"""The load: one process, one thread, many kept connections, nothing but sockets.

    python -m tests.benchmarks.serving.load PORT SECONDS CONNECTIONS [RATE] < request

The request is sent as it comes on standard input. Without a rate every connection sends as soon as
it was answered (a closed loop: the most that the server can do); with one, requests are due at
fixed moments and their latency counts from when they were due, so that a server that stops is not
spared those that should have come meanwhile (the "coordinated omission" of closed loops).
Prints one JSON object; times in seconds.
"""

import json
import selectors
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

WARM: Final = 0.2  # of the time: answered, not measured


@dataclass
class Connection:
    """One socket, what came in of the answer, and when its request was due."""

    socket: socket.socket
    due: float = 0.0
    received: bytearray = field(default_factory=bytearray)


def main() -> None:
    """Load a server for a while."""
    port, seconds, connections = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    rate = float(sys.argv[4]) if len(sys.argv) > 4 else None
    print(json.dumps(run(port, seconds, connections, rate, sys.stdin.buffer.read())))


def run(  # noqa: C901 - one loop over one selector
    port: int, seconds: float, connections: int, rate: float | None, request: bytes
) -> dict[str, object]:
    """Calls a second, and the distribution of latencies, after the warm-up."""
    selector = selectors.DefaultSelector()
    idle: deque[Connection] = deque()
    for _ in range(connections):
        opened = socket.create_connection(("127.0.0.1", port))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        idle.append(Connection(opened))
        selector.register(opened, selectors.EVENT_READ, idle[-1])
    statuses: Counter[str] = Counter()
    latencies: list[float] = []
    start = time.perf_counter()
    measured, end = start + seconds * WARM, start + seconds
    waiting: deque[float] = deque()  # due, and no connection is free
    next_due, busy, cpu = start, 0, 0.0
    while True:
        now = time.perf_counter()
        if rate is not None:
            while next_due <= min(now, end):
                waiting.append(next_due)
                next_due += 1 / rate
        if now < end or waiting:
            while idle and (rate is None or waiting):
                connection = idle.popleft()
                connection.due = now if rate is None else waiting.popleft()
                connection.socket.sendall(request)
                busy += 1
        elif not busy:
            break
        if not cpu and now >= measured:
            cpu = time.process_time()
        wait = 1.0 if rate is None or now >= end else max(0.0, next_due - now)
        for key, _ in selector.select(wait):
            connection = key.data
            status = _read(connection)
            if status is None:
                continue
            done = time.perf_counter()
            busy -= 1
            idle.append(connection)
            if measured <= connection.due < end:
                statuses[status] += 1
                latencies.append(done - connection.due)
    took = end - measured
    latencies.sort()
    return {
        "calls_per_s": len(latencies) / took,
        "statuses": dict(statuses),
        "p50": _at(latencies, 0.50),
        "p90": _at(latencies, 0.90),
        "p99": _at(latencies, 0.99),
        "max": latencies[-1] if latencies else None,
        "own_cpu": (time.process_time() - cpu) / took,
    }


def _read(connection: Connection) -> str | None:
    """The status of an answer that is whole; None while it is not."""
    part = connection.socket.recv(65536)
    if not part:
        raise ConnectionError("the server closed a kept connection")
    received = connection.received
    received += part
    head, found, rest = received.partition(b"\r\n\r\n")
    if not found:
        return None
    lines = head.lower().split(b"\r\n")
    told = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
    if len(rest) < told[0] if told else not rest.endswith(b"0\r\n\r\n"):  # chunks
        return None
    received.clear()
    return lines[0].split()[1].decode()


def _at(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


if __name__ == "__main__":
    main()
