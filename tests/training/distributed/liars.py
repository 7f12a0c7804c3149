"""In the ranks' place: `liars.py SCENARIO` says to the supervisor what no rank of ours would.

Loads no torch: a scenario takes the time of an interpreter.
"""

import os
import signal
import socket
import struct
import sys
import time
from typing import Any

from training.distributed.channel import CHANNEL, TOKEN, Channel

BLOCK: dict[str, Any] = dict.fromkeys(
    (
        *("loss", "loss_error", "clip_fraction", "clip_fraction_error"),
        *("gradient_norm", "gradient_norm_error"),
    ),
    0.1,
)


def come_in(rank: object = 0, token: str | None = None) -> Channel:
    """Say hello as a rank does."""
    channel = Channel.to(os.environ[CHANNEL])
    channel.send("hello", token=os.environ[TOKEN] if token is None else token, rank=rank)
    return channel


def entered(rank: int = 0) -> Channel:
    """A rank that was let in."""
    channel = come_in(rank)
    os.close(channel.take_over())
    return channel


def paid(steps: int = 20) -> Channel:
    """Rank 0, which may run a block."""
    channel = entered()
    for kind, fields in (("next", {}), ("pay", {"steps": steps})):
        channel.send(kind, **fields)
        assert channel.receive() is not None
    return channel


def wait() -> None:
    """Until somebody ends this process."""
    time.sleep(120)


def main(scenario: str) -> None:  # noqa: C901, PLR0912, PLR0915 - a table of lies
    """Tell one lie and wait for what comes of it."""
    match scenario.split(":"):
        case ["unpaid"]:
            entered().send("block", step=20, **BLOCK)
        case ["more than paid"]:
            paid().send("block", step=40, **BLOCK)
        case ["backwards"]:
            paid().send("block", step=0, **BLOCK)
        case ["pay", said]:
            entered().send("pay", steps={"none": 0, "much": 51}[said])
        case ["block"]:
            channel = paid()
            channel.send("block", step=20, **BLOCK)
            wait()
            channel.close()
        case ["no loss"]:
            paid().send("block", step=20, **{**BLOCK, "loss": None})
        case ["unknown"]:
            entered().send("please")
        case ["hello again"]:
            entered().send("hello", token=os.environ[TOKEN], rank=0)
        case ["bytes"]:
            entered().connection.sendall(struct.pack("!IQ", 5, 0) + b"hello")
        case ["snapshot"]:
            channel = paid()
            channel.send("block", step=20, **BLOCK)
            channel.receive()
            channel.send("snapshot", b"\0" * 64)
        case ["no snapshot"]:
            channel = paid()
            channel.send("block", step=20, **BLOCK)
            channel.receive()
            channel.send("next")
        case ["trained"]:
            paid().send("trained", b"{}")
        case ["rank 1"]:
            entered(1).send("pay", steps=20)
        case ["failed", code]:
            entered().send("failed", code=code.replace("/", "."), place="ValueError at x.py:1")
        case ["dies"]:
            paid()
            os.kill(os.getpid(), signal.SIGKILL)
        case ["half a message"]:
            channel = paid()
            channel.connection.sendall(struct.pack("!IQ", 500, 0) + b"{")
            channel.connection.shutdown(socket.SHUT_WR)
        case ["leaves"]:
            return
        case ["stranger", said]:
            token, rank = {
                "token": ("0" * 64, 0),
                "rank": (None, 2),
                "text": (None, "0"),
                "none": (None, None),
                "surrogate": ("\ud800", 0),
            }[said]
            assert come_in(rank, token).receive() is None
            entered().send("failed", code="stranger.sent_away", place="")  # its place is still free
        case ["twice"]:
            first = entered()
            assert come_in(0).receive() is None
            first.send("failed", code="stranger.sent_away", place="")
        case ["silent"]:
            channel = paid()
            wait()
            channel.close()
    wait()


if __name__ == "__main__":
    main(sys.argv[1])
