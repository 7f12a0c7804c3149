"""Gzip (RFC 1952) around a text format: decompressed as it is read, never on disk, bounded.

A file may hold several members one after the other, as parallel compressors and appending programs
write it, and zeros after the last, as tapes do. It must end where its last member does, and every
member must keep its checksum: a file cut short is no shorter table.
"""

import io
import zlib
from typing import TYPE_CHECKING, Final

from governance.tables import faults
from governance.tables.limits import MIB, Limits
from governance.tables.source import SeekableBytes

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAGIC: Final = b"\x1f\x8b"

_PIECE: Final = 64 * 1024
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS  # what zlib calls a gzip header and trailer
_SLACK: Final = 64 * MIB  # so much may come of a few bytes: a table of zeros is no attack


class Inflated(io.RawIOBase):
    """The decompressed bytes of a gzip file that someone else closes.

    Seeking backward starts again from the first byte, so each pass over a table is one pass over
    the file. Memory is one compressed piece and what is asked for.
    """

    def __init__(self, file: SeekableBytes, limits: Limits) -> None:
        super().__init__()
        self._file = file
        self._limits = limits
        self._restart()

    def _restart(self) -> None:
        self._packed = b""  # compressed bytes that are not decompressed yet
        self._taken = 0  # compressed bytes that have been read
        self._at = 0  # decompressed bytes that have been handed out
        self._member = zlib.decompressobj(_GZIP_BITS)
        self._ended = False

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Forward by reading, backward from the start."""
        return True

    def tell(self) -> int:
        """The position in the decompressed bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go there, or to the end where there is less.

        Raises:
            TableError: `table.not_gzip`, `table.bomb`.
        """
        if whence == io.SEEK_END:
            while self.read(MIB):
                pass
            offset += self._at
        elif whence == io.SEEK_CUR:
            offset += self._at
        if offset < self._at:
            self._restart()
        while self._at < offset and self.read(min(MIB, offset - self._at)):
            pass
        return self._at

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """As `io.RawIOBase`; zero at the end.

        Raises:
            TableError: `table.not_gzip`, `table.bomb`.
        """
        view = memoryview(buffer).cast("B")
        piece = b""
        while not piece and not self._ended:
            piece = self._inflated(len(view))
        view[: len(piece)] = piece
        self._at += len(piece)
        self._refuse_bomb()
        return len(piece)

    def _inflated(self, size: int) -> bytes:
        """Up to `size` decompressed bytes; none where a member ends or more input is needed."""
        if self._member.eof and not self._next_member():
            self._ended = True
            return b""
        packed = self._packed or self._more()
        try:
            piece = self._member.decompress(packed, size)
        except zlib.error:
            raise faults.not_gzip() from None
        if not packed and not piece and not self._member.eof:
            raise faults.not_gzip()
        self._packed = self._member.unused_data or self._member.unconsumed_tail
        return piece

    def _next_member(self) -> bool:
        """Begin the next member; False at the end of the file."""
        self._packed = self._packed or self._more()
        if self._packed.startswith(MAGIC[:1]):
            self._member = zlib.decompressobj(_GZIP_BITS)
            return True
        while self._packed:
            if self._packed.strip(b"\0"):
                raise faults.not_gzip()
            self._packed = self._more()
        return False

    def _more(self) -> bytes:
        # The file may be read by others between two calls.
        self._file.seek(self._taken)
        piece = self._file.read(_PIECE) or b""
        self._taken += len(piece)
        return piece

    def _refuse_bomb(self) -> None:
        if self._at > self._limits.gzip_bytes:
            raise faults.bomb(f"it unpacks to more than {self._limits.gzip_bytes} bytes")
        used = self._taken - len(self._packed)
        if self._at > _SLACK and self._at > self._limits.gzip_ratio * used:
            raise faults.bomb(f"it unpacks to over {self._limits.gzip_ratio} times its size")
