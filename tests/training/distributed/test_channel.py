"""Messages arrive as they were sent, and descriptors with them; what is no message is refused."""

import math
import os
import socket
import struct
from collections.abc import Iterator

import pytest

from training.distributed.channel import Channel, Listener, Message
from training.errors import EngineError

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with Channel(one) as first, Channel(other) as second:
        yield first, second


def test_messages_arrive_in_order(pair: Pair) -> None:
    pair[0].send("pay", steps=20)
    pair[0].send("snapshot", b"\0\1" * 1_000)
    assert pair[1].receive() == Message("pay", {"steps": 20})
    assert pair[1].receive() == Message("snapshot", {}, b"\0\1" * 1_000)
    pair[0].close()
    assert pair[1].receive() is None


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack("!IQ", 2, 0) + b"{]",
        struct.pack("!IQ", 2, 0) + b"{}",
        struct.pack("!IQ", 2, 0) + b"[]",
        struct.pack("!IQ", 2, 0) + b"\xff\xff",
        struct.pack("!IQ", 4, 0) + b"null",
        struct.pack("!IQ", 10, 0) + b'{"kind":1}',
        struct.pack("!IQ", 60_000, 0) + b"[" * 60_000,
        struct.pack("!IQ", (1 << 16) + 1, 0),
        struct.pack("!IQ", 2, (1 << 36) + 1) + b"{}",
    ],
)
def test_what_is_no_message_is_refused(pair: Pair, sent: bytes) -> None:
    pair[0].connection.sendall(sent)
    with pytest.raises(EngineError) as caught:
        pair[1].receive()
    assert caught.value.stable_code == "engine.protocol"


@pytest.mark.parametrize("value", [True, "1", 1.0, None, -1, 11, [1]])
def test_a_number_that_does_not_fit_is_refused(value: object) -> None:
    with pytest.raises(EngineError) as caught:
        Message("pay", {"steps": value}).integer("steps", 0, 10)
    assert caught.value.stable_code == "engine.protocol"


@pytest.mark.parametrize("value", [1, "1", None, True, math.nan, math.inf])
def test_a_loss_is_a_finite_float(value: object) -> None:
    with pytest.raises(EngineError):
        Message("block", {"loss": value}).number("loss")


def test_who_stands_still_within_a_message_is_gone(pair: Pair) -> None:
    pair[1].connection.settimeout(0.01)
    pair[0].connection.sendall(struct.pack("!IQ", 20, 0))
    assert pair[1].receive() is None


def test_a_descriptor_is_handed_over(pair: Pair) -> None:
    read, write = os.pipe()
    pair[0].hand_over(read)
    os.close(read)
    taken = pair[1].take_over()
    os.write(write, b"x")
    assert os.read(taken, 1) == b"x"
    os.close(write)
    os.close(taken)


def test_no_descriptor_is_refused(pair: Pair) -> None:
    pair[0].connection.sendall(b"\0")
    with pytest.raises(EngineError) as caught:
        pair[1].take_over()
    assert caught.value.stable_code == "engine.protocol"


def test_the_kernel_says_who_is_there() -> None:
    listener = Listener(f"portcullis-test-{os.getpid()}")
    try:
        with Channel.to(listener.name) as ours:
            theirs = listener.accept()
            assert theirs is not None
            with theirs:
                assert theirs.peer() == os.getpid()
                assert ours.same_user()
            assert listener.accept() is None  # nobody else knocked
    finally:
        listener.close()
