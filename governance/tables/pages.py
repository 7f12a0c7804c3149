"""What a Parquet file will take to read, from its footer and page headers alone.

Arrow allocates what a page header says the page unpacks to, up to 2 GiB for a few bytes of input,
and its metadata accessors abort the process on a footer that contradicts itself. So before Arrow
sees the file, the same structures are read here: the Thrift compact protocol (thrift.apache.org,
"Thrift Compact protocol encoding") and the fields of parquet.thrift that say sizes and places.
"""

from typing import Any, Final

from governance.tables import faults
from governance.tables.limits import Limits
from governance.tables.source import Source

MAGIC: Final = b"PAR1"

_DEPTH: Final = 16  # parquet.thrift nests less deep
_HEADER_BYTES: Final = (4096, 1024 * 1024)  # a page header with long statistics is read again

# Field numbers of parquet.thrift.
_ROW_GROUPS: Final = 4  # of FileMetaData
_COLUMNS: Final = 1  # of RowGroup
_ROWS: Final = 3
_META_DATA: Final = 3  # of ColumnChunk
_COMPRESSED: Final = 7  # of ColumnMetaData: bytes of all its pages, headers included
_DATA_OFFSET: Final = 9
_DICTIONARY_OFFSET: Final = 11
_PAGE_UNPACKED: Final = 2  # of PageHeader
_PAGE_PACKED: Final = 3
_DATA_PAGE: Final = 5
_VALUES: Final = 1  # of DataPageHeader and DataPageHeaderV2
_DATA_PAGE_ENCODING: Final = 2  # of DataPageHeader
_DATA_PAGE_V2: Final = 8
_DATA_PAGE_V2_ENCODING: Final = 4  # of DataPageHeaderV2

_DELTA_LENGTH, _DELTA = 6, 7  # DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY

Struct = dict[int, Any]


def inspect(source: Source, limits: Limits) -> dict[int, int]:
    """Refuse a file that is cut short, contradicts itself, or unpacks to too much at a time.

    Returns:
        For each column (by position, from 0) with a delta encoding, what its largest page unpacks
        to. Arrow cannot read texts of these encodings without copying them out, and one of them
        lets each value repeat most of the one before.

    Raises:
        TableError: `table.not_parquet`, `table.bomb`.
    """
    deltas: dict[int, int] = {}
    try:
        footer = _footer(source, limits)
        for number, group in enumerate(footer.get(_ROW_GROUPS, []), start=1):
            held = values = 0
            for column, chunk in enumerate(group[_COLUMNS]):
                found = _Pages(source, chunk)
                # A column under a list has more values than rows, and one row may hold them all.
                in_list = found.values > group[_ROWS]
                held += found.total if in_list else found.largest
                values += found.values if in_list else 0
                if found.delta:
                    deltas[column] = max(found.largest, deltas.get(column, 0))
                if in_list and found.repeating:
                    raise faults.bomb(
                        f"the values of column {column + 1} under a list are delta-encoded "
                        "and may repeat without end"
                    )
            _refuse_bomb(number, held, values, limits)
    except (LookupError, TypeError, AttributeError, ValueError, OSError):
        # A field is missing, of another type, or points out of the file.
        source.blame()
        raise faults.not_parquet() from None
    return deltas


def _refuse_bomb(group: int, held: int, values: int, limits: Limits) -> None:
    if held > limits.parquet_bytes:
        raise faults.bomb(
            f"the pages of row group {group} unpack to more than "
            f"{limits.parquet_bytes} bytes at a time"
        )
    if values > limits.parquet_values:
        raise faults.bomb(
            f"row group {group} holds more than {limits.parquet_values} values under lists"
        )


def _footer(source: Source, limits: Limits) -> Struct:
    tail = source.tail(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC:
        raise faults.not_parquet()
    if length > limits.parquet_footer_bytes:
        raise faults.bomb(f"its footer is larger than {limits.parquet_footer_bytes} bytes")
    return _Compact(source.tail(8 + length)[:-8]).struct()


class _Pages:
    """What the pages of a column unpack to.

    Attributes:
        largest: bytes of its dictionary and its largest page.
        total: bytes of all of them.
        values: how many there are, empty lists and nulls included.
        delta: whether a page is delta-coded; `repeating`: so that a value repeats the one before.
    """

    def __init__(self, source: Source, chunk: Struct) -> None:
        told = chunk[_META_DATA]
        start = told[_DATA_OFFSET]
        dictionary = told.get(_DICTIONARY_OFFSET) or 0
        if 0 < dictionary < start:
            start = dictionary
        self.total = self.values = largest = second = 0
        encodings: set[int] = set()
        place, end = start, start + told[_COMPRESSED]
        while place < end:
            header, length = _page_header(source, place)
            unpacked, packed = header[_PAGE_UNPACKED], header[_PAGE_PACKED]
            if unpacked < 0 or packed < 0:
                raise ValueError("a page of negative size")
            largest, second = sorted((largest, second, unpacked), reverse=True)[:2]
            self.total += unpacked
            data = header.get(_DATA_PAGE) or header.get(_DATA_PAGE_V2)
            if data is not None:
                self.values += max(0, data[_VALUES])
                v2 = _DATA_PAGE not in header
                encodings.add(data[_DATA_PAGE_V2_ENCODING if v2 else _DATA_PAGE_ENCODING])
            place += length + packed
        self.largest = largest + second
        self.delta = not encodings.isdisjoint({_DELTA_LENGTH, _DELTA})
        self.repeating = _DELTA in encodings


def _page_header(source: Source, place: int) -> tuple[Struct, int]:
    """The header at `place` and its length."""
    for size in _HEADER_BYTES:
        source.seek(place)
        reader = _Compact(source.read(size))
        try:
            return reader.struct(), reader.at
        except IndexError:
            continue
    raise ValueError("a page header without an end")


class _Compact:
    """Reads Thrift's compact protocol: structs as {field: value}; texts are skipped (None)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int = 0) -> Struct:
        """The struct that begins here.

        Raises:
            IndexError: it is cut short.
            ValueError: it is no struct, or nests too deep.
        """
        if depth > _DEPTH:
            raise ValueError("nested too deep")
        fields: Struct = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._signed()
            kind = head & 0x0F
            fields[field] = kind == _TRUE if kind in {_TRUE, _FALSE} else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._signed()
        if kind in _FIXED:
            return self._skip(_FIXED[kind])
        if kind == _BINARY:
            return self._skip(self._varint())
        if kind in _LISTS:
            head = self._byte()
            size = head >> 4 if head >> 4 != _LONG_LIST else self._varint()
            return [self._value(head & 0x0F, depth + 1) for _ in range(size)]
        if kind == _MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            for _ in range(size):
                self._value(kinds >> 4, depth + 1)
                self._value(kinds & 0x0F, depth + 1)
            return None
        if kind == _STRUCT:
            return self.struct(depth + 1)
        raise ValueError("no such type")

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit
                return value
            shift += 7
            if shift > 63:  # noqa: PLR2004 - ten bytes hold 64 bits
                raise ValueError("an endless number")

    def _signed(self) -> int:
        zigzag = self._varint()
        return (zigzag >> 1) ^ -(zigzag & 1)

    def _skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self._data):
            raise IndexError


_TRUE, _FALSE = 1, 2
_INTEGERS: Final = frozenset({4, 5, 6})  # i16, i32, i64
_FIXED: Final = {1: 1, 2: 1, 3: 1, 7: 8, 13: 16}  # booleans in lists, byte, double, uuid
_BINARY: Final = 8
_LISTS: Final = frozenset({9, 10})  # list, set
_LONG_LIST: Final = 15
_MAP: Final = 11
_STRUCT: Final = 12
