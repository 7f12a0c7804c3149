"""What the supervisor makes of ranks that lie, die or fall silent: processes without torch."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from governance.errors import LostLeaseError
from tests.factories.ranks import Caller, job_of
from training.distributed import supervisor
from training.distributed.supervisor import Calls, Ranks, train_in_ranks
from training.errors import EngineError, LedgerError

HERE = Path(__file__).parent
Started = list[subprocess.Popen[bytes]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    """The processes that were started; none of them outlives its supervisor."""
    seen: Started = []
    init = supervisor._Processes.__init__

    def noted(self: Any, command: list[str], environment: Mapping[str, str]) -> None:
        init(self, command, environment)
        seen.append(self._process)

    monkeypatch.setattr(supervisor._Processes, "__init__", noted)
    yield seen
    assert seen
    assert all(process.returncode is not None for process in seen)


@pytest.fixture
def lie(monkeypatch: pytest.MonkeyPatch, started: Started) -> Callable[..., Caller]:
    """Supervises a liar; what it raises is the test's."""

    def run(scenario: str, calls: Calls | None = None) -> Caller:
        command = [sys.executable, str(HERE / "liars.py"), scenario]
        monkeypatch.setattr(supervisor, "command", lambda _: command)
        caller = Caller()
        ranks = Ranks(2 if scenario == "rank 1" else 1)
        trained = train_in_ranks(job_of(), ranks, calls or caller.calls)
        caller.order.append(("ended", trained.executed))
        return caller

    return run


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        ("unpaid", "engine.protocol"),
        ("more than paid", "engine.protocol"),
        ("backwards", "engine.protocol"),
        ("pay:none", "engine.protocol"),
        ("pay:much", "engine.protocol"),
        ("no loss", "engine.protocol"),
        ("unknown", "engine.protocol"),
        ("hello again", "engine.protocol"),
        ("bytes", "engine.protocol"),
        ("snapshot", "engine.protocol"),
        ("no snapshot", "engine.protocol"),
        ("trained", "engine.protocol"),
        ("rank 1", "engine.protocol"),
        ("failed:No Code", "engine.protocol"),
        ("failed:engine/diverged", "engine.diverged"),
        ("dies", "engine.rank_lost"),
        ("half a message", "engine.rank_lost"),
        ("leaves", "engine.rank_lost"),
        ("stranger:token", "stranger.sent_away"),
        ("stranger:rank", "stranger.sent_away"),
        ("stranger:text", "stranger.sent_away"),
        ("stranger:none", "stranger.sent_away"),
        ("stranger:surrogate", "stranger.sent_away"),
        ("twice", "stranger.sent_away"),
    ],
)
def test_what_a_rank_may_not_do_ends_the_training(
    lie: Callable[..., Caller], scenario: str, code: str
) -> None:
    with pytest.raises(EngineError) as caught:
        lie(scenario)
    assert caught.value.stable_code == code


def test_a_block_that_the_ledger_refuses_does_not_run(lie: Callable[..., Caller]) -> None:
    def refuse(_steps: int) -> None:
        raise LedgerError("more would run than was reserved", code="ledger.not_reserved")

    calls = Calls(refuse, lambda _: None, lambda _: None, lambda: False)
    with pytest.raises(LedgerError):
        lie("silent", calls)


def test_what_keeping_a_block_raises_is_the_callers(lie: Callable[..., Caller]) -> None:
    def full(_take: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        lie("block", Calls(lambda _: None, full, lambda _: None, lambda: False))


def test_a_lost_lease_ends_ranks_in_the_middle_of_a_block(
    lie: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "TICK", 0.02)
    asked = iter(range(100))

    def lost() -> bool:
        if next(asked) > 2:
            raise LostLeaseError("another worker holds this job")
        return False

    with pytest.raises(LostLeaseError):
        lie("silent", Calls(lambda _: None, lambda _: None, lambda _: None, lost))


def test_a_cancelled_block_that_does_not_end_is_ended(
    lie: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "TICK", 0.02)
    monkeypatch.setattr(supervisor, "GRACE", 0.04)
    answers = iter([False])  # the block was begun before anybody cancelled
    calls = Calls(lambda _: None, lambda _: None, lambda _: None, lambda: next(answers, True))
    assert lie("silent", calls).order == [("ended", 0)]


def test_ranks_that_do_not_come_in_are_not_waited_for(
    lie: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "TICK", 0.02)
    monkeypatch.setattr(supervisor, "START", 0.0)
    with pytest.raises(EngineError) as caught:
        lie("wait")
    assert caught.value.stable_code == "engine.rank_lost"


def test_a_terminated_supervisor_ends_its_ranks_first(
    lie: Callable[..., Caller], started: Started
) -> None:
    """Where nobody handles SIGTERM, as in a worker's child process."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        calls = Calls(
            lambda _: os.kill(os.getpid(), signal.SIGTERM), lambda _: None, lambda _: None,
            lambda: False,
        )  # fmt: skip
        with pytest.raises(SystemExit) as caught:
            lie("silent", calls)
        assert caught.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_ranks_environment_opens_no_door() -> None:
    outer = {
        "PATH": "/bin", "LANG": "C", "NCCL_DEBUG": "WARN", "DATABASE_URL": "secret",
        "PORTCULLIS_SECRET_KEY": "secret", "PYTHONSTARTUP": "x", "LD_PRELOAD": "x",
        "CUDA_VISIBLE_DEVICES": "0,1,2,3", "HOME": "/home/x",
    }  # fmt: skip
    on_cpu = supervisor.environment(Ranks(2), outer)
    assert "secret" not in on_cpu.values()
    assert not on_cpu.keys() & {"PYTHONSTARTUP", "LD_PRELOAD", "HOME"}
    assert (on_cpu["PATH"], on_cpu["NCCL_DEBUG"]) == ("/bin", "WARN")
    assert on_cpu["CUDA_VISIBLE_DEVICES"] == ""  # what was not leased is not seen
    leased = supervisor.environment(Ranks(2, (1, 3)), outer)
    assert leased["CUDA_VISIBLE_DEVICES"] == "1,3"


def test_the_command_line_names_nothing_of_the_job() -> None:
    said = supervisor.command(Ranks(3))
    assert said[1:3] == ["-m", "torch.distributed.run"]
    assert said[said.index("--nproc-per-node") + 1] == "3"
    assert said[said.index("--max-restarts") + 1] == "0"
    assert said[-2:] == ["-m", "training.distributed.rank"]


def test_in_a_thread_signals_are_left_alone(lie: Callable[..., Caller]) -> None:
    codes: list[str] = []

    def supervise() -> None:
        try:
            lie("dies")
        except EngineError as error:
            codes.append(error.stable_code)

    thread = threading.Thread(target=supervise)
    thread.start()
    thread.join(60)
    assert codes == ["engine.rank_lost"]
