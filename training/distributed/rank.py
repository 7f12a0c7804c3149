"""One rank: `python -m torch.distributed.run … -m training.distributed.rank`.

Started by the supervisor, it knows nothing but where to ask. It takes its share of the job out of
the memory file that the supervisor hands over, trains with the others, and tells how that went;
rank 0 asks before each block and is answered once the ledger has it. No Django here, no database,
no vault: a rank can read its records and make its weights.

A rank ends when its supervisor does: its end of the channel is then closed, whatever killed it.
"""

import contextlib
import os
import select
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
import torch.distributed as dist

from training.distributed import jobs
from training.distributed.channel import CHANNEL, TOKEN, Channel, broken
from training.distributed.group import PATIENCE, Connected
from training.dpsgd import Progress, Snapshot, Trained, train
from training.errors import TrainingError
from training.inputs import network_of

_LEFT_ALONE: Final = 70  # exit code


def main() -> int:
    """Take part in one training; 0 where it ended as it should."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with Channel.to(os.environ.pop(CHANNEL)) as channel:
        channel.send("hello", token=os.environ.pop(TOKEN), rank=rank)
        descriptor = channel.take_over()
        _leave_with(channel)
        try:
            job = jobs.take(descriptor, rank, size)
            os.close(descriptor)
            take_part(channel, job)
        except TrainingError as error:
            return _failed(channel, error.stable_code)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others wait for this rank
            # Type and place alone: a message may quote what it choked on.
            return _failed(channel, "engine.rank_lost", _place(error))
    return 0


def _failed(channel: Channel, code: str, place: str = "") -> int:
    with contextlib.suppress(OSError):
        channel.send("failed", code=code, place=place)
    return 1


def take_part(channel: Channel, job: jobs.Job) -> None:
    """Train a share of a job with the other ranks that torchrun started.

    Raises:
        TrainingError: what `train` raises; or the ranks' weights differ.
        RuntimeError: another rank is gone.
    """
    device = _device()
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        group = Connected(device)
        trained = train_share(channel, job, group, device)
        if group.rank == 0:
            channel.send("trained", jobs.trained_bytes(trained))
            _answered(channel)
        else:
            channel.send("over")
    finally:
        dist.destroy_process_group()


def train_share(channel: Channel, job: jobs.Job, group: Connected, device: torch.device) -> Trained:
    """The loop, as every rank runs it; only rank 0 speaks."""
    first = group.rank == 0
    kept: list[Callable[[], Snapshot]] = []

    def go_on() -> bool:
        return group.told(_asked(channel, "next") if first else False)

    def on_block(steps: int) -> None:
        if not group.told(_asked(channel, "pay", steps=steps) if first else False):
            raise broken("a block that was not paid for")

    def on_progress(progress: Progress) -> None:
        if first:
            _tell(channel, progress, kept.pop())

    trained = train(
        network_of(job.config, job.spec).to(device),
        job.features,
        job.labels,
        plan=job.plan,
        config=job.config,
        secret=job.secret,
        on_block=on_block,
        on_kept=kept.append if first else lambda _: None,
        on_progress=on_progress,
        cancelled=lambda: not go_on(),
        block=job.block,
        after=job.after,
        paid=job.paid,
        units=job.units,
        group=group,
    )
    group.check_same(trained.state)
    return trained


def _asked(channel: Channel, kind: str, **fields: int) -> bool:
    channel.send(kind, **fields)
    return _answered(channel)


def _answered(channel: Channel) -> bool:
    """Whether the supervisor says to go on."""
    said = channel.receive()
    if said is None or said.kind not in {"go", "stop"}:
        raise broken("the supervisor's answer is not one")
    return said.kind == "go"


def _tell(channel: Channel, progress: Progress, take: Callable[[], Snapshot]) -> None:
    """Report a block, with a snapshot if the supervisor wants one; it is known to nobody before."""
    figures = {name: getattr(progress, name) for name in jobs.FIGURES}
    channel.send("block", step=progress.step, **figures)
    said = channel.receive()
    if said is not None and said.kind == "snapshot":
        channel.send("snapshot", jobs.snapshot_bytes(take()))
        said = channel.receive()
    if said is None or said.kind != "go":
        raise broken("the supervisor's answer is not one")


def _device() -> torch.device:
    """The GPU that was leased for this rank, or the CPU where none was."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    # TF32 rounds products to 10 bits, and norms with them: a clipped vector would exceed C. And a
    # step that was lost with a worker must come out again as it was.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(mode=True)
    return device


def _leave_with(channel: Channel) -> None:
    """End this process when the supervisor's end of the channel is closed."""

    def watch() -> None:
        poll = select.poll()
        poll.register(channel.connection, select.POLLRDHUP)
        poll.poll()
        os._exit(_LEFT_ALONE)

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()


def _place(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"


if __name__ == "__main__":
    sys.exit(main())
