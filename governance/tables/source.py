"""The file under a reader: borrowed, read in full pieces, and blamed for its own failures only."""

import io
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

_BUFFER: Final = 1024 * 1024

T = TypeVar("T")


class _Borrowed(io.RawIOBase):
    """Reads through to a seekable file that someone else closes.

    The file is usually a decrypting reader: its `read` may fail with a `SealError`. The parsers
    above raise errors of their own kind for a malformed table; `failure` keeps the two apart.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self.failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer)
        piece = self._watch(lambda: self._file.read(len(view)))
        view[: len(piece)] = piece
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._watch(lambda: self._file.seek(offset, whence))

    def tell(self) -> int:
        return self._watch(self._file.tell)

    def _watch(self, call: "Callable[[], T]") -> T:
        try:
            return call()
        except BaseException as error:
            self.failure = error
            raise


class Source(io.BufferedReader):
    """A borrowed file whose `read(n)` returns n bytes unless the file ends; never closes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._borrowed = _Borrowed(file)
        super().__init__(self._borrowed, _BUFFER)

    @property
    def failure(self) -> BaseException | None:
        """What the file below raised, if it did: then the table is not to blame."""
        return self._borrowed.failure

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
