"""Messages between the supervisor and its ranks, over a Unix socket of this machine.

A message is its header's length (4 bytes) and its payload's (8 bytes), both big-endian, the header
as a JSON object with a `kind`, and the payload. A rank asks, the supervisor answers:

    rank r → hello {token, rank}      answered by the job's memory file, as a descriptor
    rank 0 → next {}                  go | stop, before each block
    rank 0 → pay {steps}              go, once the ledger has them
    rank 0 → block {step, and its figures}     snapshot, if one is wanted, and then go
    rank 0 → snapshot + payload
    rank 0 → trained + payload        go
    rank r → over {}                  no answer: this rank may leave
    rank r → failed {code, place}     no answer: the supervisor ends the others

The name is in Linux' abstract namespace: nothing is left in a folder when a process is killed. Such
names have no mode, so both sides look at the other's user id, and a rank brings the token that it
was started with. Reading a message runs no code.
"""

import array
import contextlib
import json
import math
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from training.errors import EngineError

# What a rank's environment says: where to ask, and that it may.
CHANNEL: Final = "PORTCULLIS_CHANNEL"
TOKEN: Final = "PORTCULLIS_TOKEN"  # noqa: S105  # a variable's name
_LENGTHS: Final = struct.Struct("!IQ")
_PEER: Final = struct.Struct("3i")  # struct ucred: process, user, group
MOST_HEADER: Final = 1 << 16  # bytes
MOST_PAYLOAD: Final = 1 << 36
ANSWER: Final = 60.0  # seconds: within a message, between its first byte and its last


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        kind: what it is.
        fields: what it says.
        payload: bytes that go with it.
    """

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""

    def integer(self, name: str, low: int, high: int) -> int:
        """A field between two limits.

        Raises:
            EngineError: `engine.protocol`.
        """
        value = self.fields.get(name)
        if type(value) is not int or not low <= value <= high:
            raise broken(f"{self.kind}.{name} is not a number that fits here")
        return value

    def number(self, name: str) -> float:
        """A finite float: records whose loss is not finite are in no sum.

        Raises:
            EngineError: `engine.protocol`.
        """
        value = self.fields.get(name)
        if type(value) is not float or not math.isfinite(value):
            raise broken(f"{self.kind}.{name} is not a number")
        return value

    def text(self, name: str) -> str:
        """A short text.

        Raises:
            EngineError: `engine.protocol`.
        """
        value = self.fields.get(name)
        if type(value) is not str:
            raise broken(f"{self.kind}.{name} is not a text")
        return value


def broken(why: str) -> EngineError:
    """What is raised for a message that does not belong here."""
    return EngineError(why, code="engine.protocol")


class Channel:
    """One end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    @classmethod
    def to(cls, name: str) -> Self:
        """Connect to a supervisor.

        Raises:
            OSError: nobody listens there.
            EngineError: `engine.protocol`, whoever listens there is another user.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(b"\0" + name.encode())
        found = cls(connection)
        if not found.same_user():
            found.close()
            raise broken("another user answers in the supervisor's place")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the other side reads its end."""
        self.connection.close()

    def peer(self) -> int:
        """The process at the other end, as the kernel says."""
        return self._credentials()[0]

    def same_user(self) -> bool:
        """Whether the other end runs as this process does."""
        return self._credentials()[1] == os.geteuid()

    def _credentials(self) -> tuple[int, int, int]:
        raw = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        process, user, group = _PEER.unpack(raw)
        return process, user, group

    def send(self, kind: str, payload: bytes = b"", /, **fields: Any) -> None:
        """Send one message.

        Raises:
            OSError: the other end is gone.
        """
        header = json.dumps({"kind": kind, **fields}).encode()
        self.connection.sendall(_LENGTHS.pack(len(header), len(payload)) + header)
        if payload:  # to send nothing fails, too, where the other end has heard all and left
            self.connection.sendall(payload)

    def receive(self) -> Message | None:
        """The next message; None where the other end is gone.

        Raises:
            EngineError: `engine.protocol`, these bytes are no message.
        """
        lengths = self._exactly(_LENGTHS.size)
        if lengths is None:
            return None
        of_header, of_payload = _LENGTHS.unpack(lengths)
        if of_header > MOST_HEADER or of_payload > MOST_PAYLOAD:
            raise broken("a message is larger than any that is sent")
        header, payload = self._exactly(of_header), self._exactly(of_payload)
        if header is None or payload is None:
            return None
        try:
            fields = json.loads(header)
            kind = fields.pop("kind")
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            kind = None
        if type(kind) is not str:
            raise broken("a message cannot be read")
        return Message(kind, fields, bytes(payload))

    def _exactly(self, length: int) -> bytearray | None:
        """So many bytes; None where the connection ends or stands still before."""
        data = bytearray(length)
        view = memoryview(data)
        while view:
            try:
                got = self.connection.recv_into(view)
            except OSError:  # reset, or over its time
                got = 0
            if not got:
                return None
            view = view[got:]
        return data

    def hand_over(self, descriptor: int) -> None:
        """Give the other process a descriptor of one's own."""
        rights = array.array("i", [descriptor])
        self.connection.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    def take_over(self) -> int:
        """Take a descriptor that the other process hands over.

        Raises:
            EngineError: `engine.protocol`, none came.
        """
        try:
            _, taken, _, _ = socket.recv_fds(self.connection, 1, 1)
        except OSError:
            taken = []
        if len(taken) != 1:
            raise broken("no memory file was handed over")
        return int(taken[0])


class Listener:
    """Where the ranks of one supervisor come in."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(b"\0" + name.encode())
        self.socket.listen()
        self.socket.setblocking(False)  # who knocked may be gone again

    def accept(self) -> Channel | None:
        """Somebody who knocked, if it is this user's process; a stranger is sent away."""
        with contextlib.suppress(OSError):
            connection, _ = self.socket.accept()
            connection.settimeout(ANSWER)
            channel = Channel(connection)
            if channel.same_user():
                return channel
            channel.close()
        return None

    def close(self) -> None:
        """Nobody comes in any more."""
        self.socket.close()
