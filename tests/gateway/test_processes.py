"""The supervisor, on tiny real commands."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.processes import (
    LONGEST_PAUSE,
    Command,
    ProcessError,
    Processes,
    backoff,
    portcullis,
    wait_for_port,
)


def _python(name: str, code: str, **environment: str) -> Command:
    return Command(name, (sys.executable, "-c", code), environment)


def _until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.5), (1, 1), (3, 4), (6, LONGEST_PAUSE), (10_000, LONGEST_PAUSE)]
)
def test_backoff_grows_to_a_limit(failures: int, seconds: float) -> None:
    assert backoff(failures) == seconds


def test_lines_are_prefixed_and_the_environment_is_passed() -> None:
    lines: list[str] = []
    commands = [
        _python("a", "import os; print('hello', os.environ['WHO']); input", WHO="a"),
        _python("longer", "import time; print('\u4f60\u597d'); time.sleep(60)"),
    ]
    with Processes(commands, write=lines.append, pause=lambda _failures: 60):
        _until(lambda: len(lines) >= 3)
    assert "a      | hello a" in lines
    assert "longer | \u4f60\u597d" in lines
    assert "a      | ended with 0, starting again" in lines


def test_what_dies_is_started_again_after_a_growing_pause() -> None:
    lines: list[str] = []
    failures: list[int] = []

    def pause(count: int) -> float:
        failures.append(count)
        return 0.01

    with Processes([_python("x", "raise SystemExit(3)")], write=lines.append, pause=pause):
        _until(lambda: len(failures) >= 3)
    assert failures[:3] == [1, 2, 3]
    assert lines[0] == "x | ended with 3, starting again"


def test_what_is_killed_comes_back_and_the_others_stay() -> None:
    commands = [_python(name, "import time; time.sleep(60)") for name in ("a", "b")]
    with Processes(commands, write=lambda _line: None, pause=lambda _failures: 0.01) as running:
        _until(lambda: all(running.pids().values()))
        before = running.pids()
        assert before["a"] is not None
        os.kill(before["a"], signal.SIGKILL)
        _until(lambda: running.pids()["a"] not in {None, before["a"]})
        assert running.pids()["b"] == before["b"]


def test_leaving_asks_first() -> None:
    """A command that ends when asked has the time to say goodbye."""
    lines: list[str] = []
    polite = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('goodbye')))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    with Processes([_python("x", polite)], write=lines.append):
        _until(lambda: "x | ready" in lines)
    assert lines == ["x | ready", "x | goodbye"]


def test_leaving_kills_the_deaf_and_their_children(tmp_path: Path) -> None:
    """Neither a process that ignores SIGTERM nor its child outlives the grace."""
    pids = tmp_path / "pids"
    deaf = (
        "import os, pathlib, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)"
    )
    with Processes([_python("x", deaf)], write=lambda _line: None, grace=0.2):
        _until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    for pid in map(int, pids.read_text().split()):
        _until(lambda pid=pid: not _alive(pid))  # type: ignore[misc]  # mypy cannot type a default


def test_a_dead_leader_takes_its_children_along(tmp_path: Path) -> None:
    """The restart finds no leftover holding the port or the queue."""
    pids = tmp_path / "pids"
    leader = (
        "import pathlib, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pids)!r}).write_text(f'{{child.pid}} ')"
    )
    lines: list[str] = []
    with Processes([_python("x", leader)], write=lines.append, pause=lambda _failures: 60):
        _until(lambda: bool(lines))
        assert not _alive(int(pids.read_text()))


def test_wait_returns_when_ended() -> None:
    with Processes([], write=lambda _line: None) as running:
        threading.Timer(0.05, running.end).start()
        running.wait()
        assert running.ending


def test_leaving_during_a_pause_does_not_wait_for_it() -> None:
    lines: list[str] = []
    began = time.monotonic()
    with Processes([_python("x", "")], write=lines.append, pause=lambda _failures: 60):
        _until(lambda: bool(lines))
    assert time.monotonic() - began < 10


def test_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        wait_for_port("127.0.0.1", server.getsockname()[1], seconds=5)
        port = server.getsockname()[1]
    with pytest.raises(ProcessError, match=str(port)):
        wait_for_port("127.0.0.1", port, seconds=0.2)


def test_every_queue_has_a_worker() -> None:
    from gateway.settings.queues import QUEUES

    taken = {
        queue
        for command in portcullis()
        if "--queues" in command.argv
        for queue in command.argv[command.argv.index("--queues") + 1].split(",")
    }
    assert taken | {"train.gpu"} == set(QUEUES)
    assert [command.name for command in portcullis(workers=False)] == ["web"]
