"""The process that starts the ranks, pays for their blocks, and ends them.

It has the database, the lease and the ledger; the ranks have the records and each other. It never
initializes CUDA. For the caller it is `training.dpsgd.train` in other processes: the same calls
come, in the same order, in this one.

    a rank dies                 its end of the channel closes: all are ended, `engine.rank_lost`
    a rank fails                it says so before it ends: all are ended, its code
    this process dies           the ranks see their end of the channel close, and leave
    this process is terminated  the same, after it has ended them (SIGTERM, where nobody handles it)
    the lease is lost           noticed every few seconds, also in the middle of a block
    somebody cancels            answered to the next block; who does not ask for one is ended

torchrun starts every rank in a session of its own, out of reach of a signal to its process group,
so the ranks are ended one by one, by descriptors of the processes at the channels' other ends.
"""

import contextlib
import hmac
import logging
import os
import re
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

from training.distributed import jobs
from training.distributed.channel import CHANNEL, TOKEN, Channel, Listener, Message, broken
from training.dpsgd import Progress, Snapshot, Trained, stalled
from training.errors import EngineError

TICK: Final = 5.0  # seconds between looks at the lease
START: Final = 300.0  # seconds until all ranks must have come in
GRACE: Final = 60.0  # seconds that a cancelled block may still take
LEAVE: Final = 10.0  # seconds until whoever was told to leave is killed
_CODE: Final = re.compile(r"[a-z]+\.[a-z_]+")
_INHERITED: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")
_PREFIXES: Final = ("NCCL_", "NVIDIA_")
_ROOT: Final = Path(__file__).parents[2]
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calls:
    """What the caller of `training.dpsgd.train` passes to it, and the supervisor calls.

    Attributes:
        on_block, on_kept, on_progress: see `train`.
        cancelled: see `train`; also asked every few seconds. What it raises ends the ranks.
    """

    on_block: Callable[[int], None]
    on_kept: Callable[[Callable[[], Snapshot]], None]
    on_progress: Callable[[Progress], None]
    cancelled: Callable[[], bool]


@dataclass(frozen=True)
class Ranks:
    """Which processes train.

    Attributes:
        processes: how many.
        devices: the GPU of each; empty for the CPU.
    """

    processes: int
    devices: tuple[int, ...] = ()


def train_in_ranks(job: jobs.Job, ranks: Ranks, calls: Calls) -> Trained:
    """Train a job in processes of their own.

    Args:
        job: with all records.
        ranks: how many processes, and where.
        calls: who pays, keeps, shows and cancels.

    Raises:
        EngineError: `engine.rank_lost`, a rank died or fell silent; `engine.protocol`, it said what
            makes no sense; or the code with which it failed.
        OSError: there is not memory enough for the job, or no process to be had.
    """
    with _Supervision(job, ranks, calls) as supervision:
        return supervision.carry_out()


class _Supervision:
    """One training's processes, channels and state."""

    def __init__(self, job: jobs.Job, ranks: Ranks, calls: Calls) -> None:
        self._job, self._ranks, self._calls = job, ranks, calls
        self._done = 0 if job.after is None else job.after.step
        self._paid = max(self._done, job.paid)
        self._curve = () if job.after is None else job.after.curve
        self._token = secrets.token_hex(32)
        self._channels: dict[int, Channel] = {}  # by rank
        self._over: set[int] = set()
        self._ended: Trained | None = None
        self._abandoned = False
        self._cancelled_at: float | None = None
        self._selector = selectors.DefaultSelector()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_terminable())
            stack.callback(self._selector.close)
            self._memory: int | None = jobs.share(self._job)
            stack.callback(self._forget_memory)
            self._listener = Listener(f"portcullis-{secrets.token_hex(16)}")
            stack.callback(self._listener.close)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="portcullis-ranks-"))
            self._processes = stack.enter_context(
                _Processes(command(self._ranks), self._environment(folder))
            )
            stack.callback(self._hang_up)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def _environment(self, folder: str) -> dict[str, str]:
        said = {CHANNEL: self._listener.name, TOKEN: self._token, "TMPDIR": folder}
        return environment(self._ranks, os.environ) | said

    def _forget_memory(self) -> None:
        """Every rank has the job: what they do not hold themselves need not stay in memory."""
        if self._memory is not None:
            os.close(self._memory)
            self._memory = None

    def _hang_up(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def carry_out(self) -> Trained:
        """Listen until rank 0 has delivered."""
        self._watch(self._listener.socket, self._come_in)
        self._watch(self._processes.agent, self._agent_ended)
        start, looked_at = time.monotonic(), time.monotonic()
        while self._ended is None:
            ready = self._selector.select(TICK)
            # Who fails says so before torchrun ends: last words first.
            for key, _ in sorted(ready, key=lambda item: item[0].fd == self._processes.agent):
                key.data()
            now = time.monotonic()
            if len(self._channels) < self._ranks.processes and now - start > START:
                raise _lost("a rank did not come in")
            if now - looked_at >= TICK:
                looked_at = now
                self._look(now)
        if not self._abandoned:
            self._processes.leave()
        return self._ended

    def _watch(self, what: Any, call: Callable[[], None]) -> None:
        self._selector.register(what, selectors.EVENT_READ, call)

    def _look(self, now: float) -> None:
        """Keep the lease, and end what was cancelled and does not come to its next block."""
        if self._cancelled_at is None:
            self._cancelled_at = now if self._calls.cancelled() else None
        elif now - self._cancelled_at > GRACE:
            self._abandoned = True
            self._ended = Trained({}, self._done, stopped=True, curve=self._curve)

    def _come_in(self) -> None:
        """A process knocks: a rank, if it knows the token and its place is free."""
        channel = self._listener.accept()
        if channel is None:
            return
        try:
            said = channel.receive()
            if said is None or said.kind != "hello":
                raise broken("a rank says hello first")
            token = said.text("token").encode(errors="surrogatepass")
            if not hmac.compare_digest(token, self._token.encode()):
                raise broken("this is nobody's token")
            rank = said.integer("rank", 0, self._ranks.processes - 1)
            if rank in self._channels:
                raise broken("this rank is there already")
            self._processes.holds(channel.peer())
            if self._memory is not None:
                channel.hand_over(self._memory)
        except (EngineError, OSError):
            # Another process of this user: it must not be able to end a run, so it is sent away.
            _log.warning("a process that is no rank was sent away")
            channel.close()
            return
        self._channels[rank] = channel
        self._watch(channel.connection, lambda: self._hear(rank))
        if len(self._channels) == self._ranks.processes:
            self._forget_memory()

    def _agent_ended(self) -> None:
        raise _lost("the ranks ended before they were done")

    def _hear(self, rank: int) -> None:
        """One message of a rank, or its end."""
        channel = self._channels[rank]
        said = channel.receive()
        if said is None:
            if rank not in self._over:
                raise _lost(f"rank {rank} is gone")
            self._selector.unregister(channel.connection)
        elif said.kind == "failed":
            raise self._failure(rank, said)
        elif rank == 0:
            self._answer(channel, said)
        elif said.kind == "over":
            self._over.add(rank)
        else:
            raise broken("only rank 0 speaks")

    @staticmethod
    def _failure(rank: int, said: Message) -> EngineError:
        code, place = said.text("code"), said.text("place")
        if not _CODE.fullmatch(code):
            raise broken("a rank failed without a code")
        _log.error("rank %d failed: %s %s", rank, code, place)
        return EngineError("a rank failed", code=code)

    def _answer(self, channel: Channel, said: Message) -> None:
        match said.kind:
            case "next":
                stop = self._cancelled_at is not None or self._calls.cancelled()
                _say(channel, "stop" if stop else "go")
            case "pay":
                steps = said.integer("steps", 1, self._job.plan.steps - self._paid)
                self._calls.on_block(steps)
                self._paid += steps
                _say(channel, "go")
            case "block":
                self._keep(channel, said)
                _say(channel, "go")
            case "trained":
                self._deliver(jobs.trained_of(said.payload))
                _say(channel, "go")
            case _:
                raise broken("a rank said what it was not asked")

    def _keep(self, channel: Channel, said: Message) -> None:
        """A block has run: kept first, shown after that."""
        # A step that the ledger does not hold may not have run.
        step = said.integer("step", self._done + 1, self._paid)
        figures = [said.number(name) for name in jobs.FIGURES]
        progress = Progress(step, self._job.plan.steps, *figures)
        curve = (*self._curve, progress)

        def take() -> Snapshot:
            _say(channel, "snapshot")
            sent = channel.receive()
            if sent is None:
                raise _lost("rank 0 is gone")
            if sent.kind != "snapshot":
                raise broken("no snapshot came")
            snapshot = jobs.snapshot_of(sent.payload)
            if snapshot.curve != curve:
                raise broken("this snapshot is of another step")
            return snapshot

        self._calls.on_kept(take)
        self._done, self._curve = step, curve
        self._calls.on_progress(progress)

    def _deliver(self, trained: Trained) -> None:
        whole = self._done == self._job.plan.steps
        ended = whole or stalled(self._curve, self._job.config.patience)
        if (trained.executed, trained.curve) != (self._done, self._curve) or (
            trained.stopped is ended
        ):
            raise broken("what was trained is not what was reported")
        self._ended = trained


def _say(channel: Channel, kind: str) -> None:
    """Answer a rank; that it is gone is heard when it is listened to."""
    with contextlib.suppress(OSError):
        channel.send(kind)


def _lost(why: str) -> EngineError:
    return EngineError(why, code="engine.rank_lost")


def command(ranks: Ranks) -> list[str]:
    """What starts the ranks; it names nothing of the job."""
    return [
        sys.executable,
        *("-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"),
        *("--nproc-per-node", str(ranks.processes), "--max-restarts", "0"),
        *("-m", "training.distributed.rank"),
    ]


def environment(ranks: Ranks, outer: Mapping[str, str]) -> dict[str, str]:
    """What the ranks may know of this process's environment: nothing that opens a door."""
    kept = {
        name: value
        for name, value in outer.items()
        if name in _INHERITED or name.startswith(_PREFIXES)
    }
    cores = len(os.sched_getaffinity(0))
    return kept | {
        "PYTHONPATH": str(_ROOT),
        "OMP_NUM_THREADS": str(max(1, cores // ranks.processes)),
        # Without devices none is visible: what was not leased is not used.
        "CUDA_VISIBLE_DEVICES": ",".join(str(device) for device in ranks.devices),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS computes alike each time
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
    }


class _Processes:
    """torchrun and its ranks, and a descriptor of each: a number alone may be another's by now."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        # What libraries print may quote data; ranks say over the channel how they failed.
        self._process = subprocess.Popen(  # noqa: S603 - a command of ours
            command,
            env=environment,
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.agent = os.pidfd_open(self._process.pid)
        self._ranks: list[int] = []

    def holds(self, process: int) -> None:
        """Know a rank's process from now on."""
        self._ranks.append(os.pidfd_open(process))

    def leave(self) -> None:
        """Wait until all have left by themselves, for a while."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        for rank in self._ranks:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(rank, signal.SIGKILL)
            os.close(rank)
        if self._process.poll() is None:
            for how in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, how)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(LEAVE)
                    break
        os.close(self.agent)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind this process where it would end it on the spot, ranks and all."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
