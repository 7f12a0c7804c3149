"""The file under a reader: borrowed, read in full pieces, and blamed for its own failures only."""

import errno
import io
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER: Final = 1024 * 1024


class SeekableBytes(Protocol):
    """What a reader needs of a file: raw and buffered files and decrypting readers all have it."""

    def read(self, size: int = -1, /) -> bytes | None:
        """Up to `size` bytes; none at the end."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go there; return the position."""
        ...


class _Borrowed(io.RawIOBase):
    """Reads through to a seekable file that someone else closes, at a position of its own."""

    def __init__(self, file: SeekableBytes) -> None:
        super().__init__()
        self._file = file
        self._at = 0
        self.failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer)
        try:
            self._file.seek(self._at)
            piece = self._file.read(len(view)) or b""
        except BaseException as error:
            self.failure = error
            raise
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_END:  # a compressed file is read to its end for this
            start = self._file.seek(0, io.SEEK_END)
        else:
            start = self._at if whence == io.SEEK_CUR else 0
        if start + offset < 0:
            raise OSError(errno.EINVAL, "a position before the start")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at


class Source(io.BufferedReader):
    """A borrowed file whose `read(n)` returns n bytes unless the file ends; never closes it.

    The file is a decrypting reader as a rule, whose `read` may fail on its own account. A parser
    that stumbles calls `blame` first, so that such a failure is not reported as a malformed table.
    """

    def __init__(self, file: SeekableBytes) -> None:
        self._borrowed = _Borrowed(file)
        super().__init__(self._borrowed, _BUFFER)

    def blame(self) -> None:
        """Raise again what the file below raised, if it did."""
        if self._borrowed.failure is not None:
            raise self._borrowed.failure from None

    def head(self, size: int) -> bytes:
        """The first `size` bytes, leaving the position at the start."""
        self.seek(0)
        head = self.read(size)
        self.seek(0)
        return head

    def tail(self, size: int) -> bytes:
        """The last `size` bytes or fewer, leaving the position at the start."""
        end = self.seek(0, io.SEEK_END)
        self.seek(max(0, end - size))
        tail = self.read(size)
        self.seek(0)
        return tail
