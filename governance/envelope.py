"""Sealed objects: bytes of any length in authenticated segments, readable from any place.

The STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár ("Online Authenticated-Encryption
and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015, §7), as Tink and age use it:

    object   = header ‖ segment 0 ‖ segment 1 ‖ … ‖ last segment
    header   = magic "PTCS" ‖ version (1 byte) ‖ suite id (1 byte) ‖ nonce prefix (7 random bytes)
    segment  = ciphertext of up to 1 MiB of plaintext ‖ tag (16 bytes); all but the last are full
    nonce    = nonce prefix ‖ segment number (4 bytes, big-endian) ‖ 1 if it is the last, else 0
    associated data of every segment = header ‖ the object's identity (tenant, kind, object id)

The number in the nonce makes reordered and repeated segments fail, the flag makes a shortened and
an extended object fail, the identity makes another object's bytes fail under the same key. The last
segment is full or short; it is empty in an empty object only, so that one plaintext length has one
sealed length. Each data key seals one object, so a segment's nonce is never used twice.
"""

import io
import os
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from cryptography.exceptions import InvalidTag
from typing_extensions import Buffer

from governance.errors import SealError, SuiteError
from governance.suites import TAG_LENGTH, Aead, Octets, Suite, joined, suite

MAGIC: Final = b"PTCS"
VERSION: Final = 1
SEGMENT: Final = 1 << 20  # bytes of plaintext
SEALED_SEGMENT: Final = SEGMENT + TAG_LENGTH
PREFIX_LENGTH: Final = 7
LARGEST_NUMBER: Final = (1 << 32) - 1  # of a segment, so an object holds at most 4 PiB

_HEADER: Final = struct.Struct(f">4sBB{PREFIX_LENGTH}s")
HEADER_LENGTH: Final = _HEADER.size
_KEPT: Final = 4  # decrypted segments a reader holds: a Parquet footer and a few column chunks


@dataclass(frozen=True, slots=True)
class Identity:
    """Which object this is. Bytes sealed as one object never open as another."""

    tenant: str
    kind: str
    object_id: str

    def encoded(self) -> bytes:
        """The identity's part of the associated data."""
        return joined(self.tenant, self.kind, self.object_id)


def sealed_size(size: int) -> int:
    """How many bytes an object of `size` plaintext bytes takes when it is sealed."""
    return HEADER_LENGTH + size + _segments(size) * TAG_LENGTH


def seal(chosen: Suite, key: bytes, identity: Identity, plaintext: Buffer) -> bytes:
    """Seal a small object in memory.

    Raises:
        SuiteError: the key's length is not the suite's.
    """
    view = memoryview(plaintext).cast("B")
    header = _new_header(chosen)
    cipher = _SegmentCipher(chosen.aead(key), header, identity)
    # BytesIO gives out the very buffer that it was given: the sealed bytes are not copied again.
    out = io.BytesIO(bytes(sealed_size(len(view))))
    with out.getbuffer() as buffer:
        buffer[:HEADER_LENGTH] = header
        cipher.seal_all(buffer[HEADER_LENGTH:], view)
    return out.getvalue()


def open_(key: bytes, identity: Identity, sealed: bytes) -> bytes:
    """Open what `seal` or a `SealingWriter` made.

    Raises:
        SealError: whatever is wrong.
    """
    with OpeningReader(io.BytesIO(sealed), key, identity) as reader:
        return reader.readall()


class SealingWriter:
    """Seals what is written to it into `sink`, holding back at most one segment.

    It writes only sealed bytes; an object without its `finish` does not open.
    """

    def __init__(self, sink: BinaryIO, chosen: Suite, key: bytes, identity: Identity) -> None:
        header = _new_header(chosen)
        self._sink = sink
        self._cipher = _SegmentCipher(chosen.aead(key), header, identity)
        self._held = memoryview(bytearray(SEGMENT))
        self._held_length = 0
        self._out = memoryview(bytearray(SEALED_SEGMENT))
        self._number = 0
        self._finished = False
        self.size = 0  # plaintext bytes so far
        sink.write(header)

    def write(self, data: Buffer) -> int:
        """Take the next plaintext bytes.

        A full segment is held back until another byte follows it: only then is it known not to be
        the last.

        Raises:
            ValueError: the object is finished.
        """
        if self._finished:
            raise ValueError("the object is finished")
        view = memoryview(data).cast("B")
        length = len(view)
        taken = 0
        while taken < length:
            if self._held_length == SEGMENT:
                self._put(self._held, last=False)
                self._held_length = 0
            if self._held_length == 0 and length - taken > SEGMENT:
                self._put(view[taken : taken + SEGMENT], last=False)  # from the caller's own bytes
                taken += SEGMENT
                continue
            piece = view[taken : taken + SEGMENT - self._held_length]
            self._held[self._held_length : self._held_length + len(piece)] = piece
            self._held_length += len(piece)
            taken += len(piece)
        self.size += length
        return length

    def finish(self) -> None:
        """Seal the last segment. The sink stays open: flushing and closing it are the caller's."""
        if self._finished:
            return
        self._put(self._held[: self._held_length], last=True)
        self.discard()

    def discard(self) -> None:
        """Wipe what is held back and take nothing more. An unfinished object never opens."""
        self._finished = True
        _wipe(self._held)

    def _put(self, piece: memoryview, *, last: bool) -> None:
        place = self._out[: len(piece) + TAG_LENGTH]
        self._cipher.seal_into(place, piece, self._number, last=last)
        self._number += 1
        self._sink.write(place)


class Source(Protocol):
    """What sealed bytes are read from: any seekable binary file."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As `io.IOBase.seek`."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """As `io.RawIOBase.readinto`."""

    def close(self) -> None:
        """As `io.IOBase.close`."""


class OpeningReader(io.RawIOBase):
    """A sealed object as a read-only, seekable file of its plaintext.

    A segment is decrypted when it is first read, and no byte of it is given out before its tag
    holds. The reader owns `source` and closes it. One reader serves one thread at a time.

    The object is verified so:

    1. The header is ours: magic, version, a known suite, a key of that suite's length.
    2. The length is one that a sealed object can have.
    3. The last segment opens as the last, at the number that the length gives it: nothing was cut
       off and nothing added.
    4. Every other segment opens as itself when it is read.
    """

    def __init__(self, source: Source, key: bytes, identity: Identity) -> None:
        """Verify steps 1 to 3.

        Raises:
            SealError: whatever is wrong.
        """
        super().__init__()
        self._source = source
        self._position = 0
        self._sealed = memoryview(bytearray(SEALED_SEGMENT))
        self._segments: OrderedDict[int, bytearray] = OrderedDict()
        try:
            self._verify(key, identity)
        except BaseException:
            source.close()
            raise

    def _verify(self, key: bytes, identity: Identity) -> None:
        # 1. The header.
        total = self._source.seek(0, os.SEEK_END)
        self._source.seek(0)
        header = bytearray(HEADER_LENGTH)
        self._fill(memoryview(header))
        magic, version, suite_id, _ = _HEADER.unpack(header)
        if (magic, version) != (MAGIC, VERSION):
            raise SealError
        try:
            aead = suite(suite_id).aead(key)
        except SuiteError:
            raise SealError from None
        self._cipher = _SegmentCipher(aead, bytes(header), identity)
        # 2. The length.
        body = total - HEADER_LENGTH
        self._last = max(0, (body - 1) // SEALED_SEGMENT)
        self.size = body - (self._last + 1) * TAG_LENGTH  # plaintext bytes
        if self.size < 0 or _segments(self.size) != self._last + 1 or self._last > LARGEST_NUMBER:
            raise SealError
        # 3. The last segment.
        self._segment(self._last)

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read from any place."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a plaintext offset; past the end is allowed, as in any file.

        Raises:
            ValueError: the place is before the start, `whence` is none of the three, or the reader
                is closed.
        """
        self._check_open()
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}
        if whence not in starts:
            raise ValueError("whence is none of SEEK_SET, SEEK_CUR, SEEK_END")
        position = starts[whence] + offset
        if position < 0:
            raise ValueError("a place before the start")
        self._position = position
        return position

    def tell(self) -> int:
        """The plaintext offset of the next byte."""
        self._check_open()
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer` as far as the object goes; return how many bytes were given.

        Raises:
            SealError: a segment does not open; `buffer` holds nothing of it.
        """
        self._check_open()
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), max(0, self.size - self._position))
        given = 0
        while given < wanted:
            number, offset = divmod(self._position, SEGMENT)
            length = min(SEGMENT - offset, wanted - given)
            place = view[given : given + length]
            if length == self._length(number) and number not in self._segments:
                self._decrypt(number, place)  # a whole segment needs no stop on the way
            else:
                place[:] = memoryview(self._segment(number))[offset : offset + length]
            given += length
            self._position += length
        return given

    def read(self, size: int | None = -1, /) -> bytes:
        """The next `size` bytes, fewer only at the end; all that are left without a size.

        Raises:
            SealError: a segment does not open.
        """
        self._check_open()
        left = max(0, self.size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        number, offset = divmod(self._position, SEGMENT)
        if 0 < wanted < SEGMENT - offset:  # small reads inside one segment are the common ones
            self._position += wanted
            return bytes(memoryview(self._segment(number))[offset : offset + wanted])
        out = io.BytesIO(bytes(wanted))
        with out.getbuffer() as buffer:
            self.readinto(buffer)
        return out.getvalue()

    def readall(self) -> bytes:
        """Everything from here to the end; see `read`."""
        return self.read()

    def close(self) -> None:
        """Close the source and forget the decrypted segments."""
        if not self.closed:
            for segment in self._segments.values():
                _wipe(segment)
            self._segments.clear()
            self._source.close()
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the reader is closed")

    def _length(self, number: int) -> int:
        """Plaintext bytes of segment `number`."""
        return SEGMENT if number < self._last else self.size - self._last * SEGMENT

    def _segment(self, number: int) -> bytearray:
        """The plaintext of segment `number`, from memory where it was read lately."""
        kept = self._segments.get(number)
        if kept is None:
            kept = self._room(self._length(number))
            self._decrypt(number, memoryview(kept))
            self._segments[number] = kept
        else:
            self._segments.move_to_end(number)
        return kept

    def _fill(self, place: memoryview) -> None:
        """Read from the source until `place` is full."""
        filled = 0
        while filled < len(place):
            got = self._source.readinto(place[filled:])
            if not got:
                raise SealError
            filled += got

    def _room(self, length: int) -> bytearray:
        """A buffer of `length` bytes, where it can the one of the segment unread for longest."""
        if len(self._segments) == _KEPT:
            oldest = self._segments.popitem(last=False)[1]
            if len(oldest) == length:
                return oldest  # a fresh MiB costs as many page faults as decrypting it costs time
            _wipe(oldest)
        return bytearray(length)

    def _decrypt(self, number: int, place: memoryview) -> None:
        # 4. The segment.
        self._source.seek(HEADER_LENGTH + number * SEALED_SEGMENT)
        sealed = self._sealed[: len(place) + TAG_LENGTH]
        self._fill(sealed)
        self._cipher.open_into(place, sealed, number, last=number == self._last)


class _SegmentCipher:
    """What is the same for all segments of one object."""

    def __init__(self, aead: Aead, header: bytes, identity: Identity) -> None:
        self._aead = aead
        self._prefix = header[-PREFIX_LENGTH:]
        self._associated_data = header + identity.encoded()

    def seal_all(self, out: memoryview, plaintext: memoryview) -> None:
        last = _segments(len(plaintext)) - 1
        for number in range(last + 1):
            piece = plaintext[number * SEGMENT : (number + 1) * SEGMENT]
            start = number * SEALED_SEGMENT
            place = out[start : start + len(piece) + TAG_LENGTH]
            self.seal_into(place, piece, number, last=number == last)

    def seal_into(self, out: Octets, piece: Octets, number: int, *, last: bool) -> None:
        nonce = _nonce(self._prefix, number, last=last)
        _seal_segment(self._aead, nonce, self._associated_data, piece, out)

    def open_into(self, out: memoryview, sealed: Octets, number: int, *, last: bool) -> None:
        nonce = _nonce(self._prefix, number, last=last)
        _open_segment(self._aead, nonce, self._associated_data, sealed, out)


def _seal_segment(
    aead: Aead, nonce: bytes, associated_data: bytes, piece: Octets, out: Octets
) -> None:
    """The whole of sealing, without randomness or files: `out` is 16 bytes longer than `piece`."""
    aead.encrypt_into(nonce, piece, associated_data, out)


def _open_segment(
    aead: Aead, nonce: bytes, associated_data: bytes, sealed: Octets, out: memoryview
) -> None:
    """The whole of opening: `out` is as long as the plaintext, and wiped if not authentic."""
    try:
        aead.decrypt_into(nonce, sealed, associated_data, out)
    except InvalidTag:
        _wipe(out)  # OpenSSL decrypts before it compares the tag
        raise SealError from None


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    # Past 2**32 - 1 this raises OverflowError: a counter that came round would repeat a nonce.
    return prefix + number.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


def _new_header(chosen: Suite) -> bytes:
    return _HEADER.pack(MAGIC, VERSION, chosen.id, os.urandom(PREFIX_LENGTH))


def _segments(size: int) -> int:
    """How many segments `size` plaintext bytes make: at least one, which carries the flag."""
    return max(1, -(-size // SEGMENT))


def _wipe(buffer: bytearray | memoryview) -> None:
    buffer[:] = bytes(len(buffer))
