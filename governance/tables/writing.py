"""The doors out: anonymized chunks as CSV, JSON Lines or Parquet; a dataset version read back.

Every writer takes a binary writer that need not seek (an encrypting one as a rule) and does not
close it. A dataset version is Parquet with zstd: columns of kind INTEGER are int64, REAL are
double, BOOLEAN are bool, all others strings. `ParquetChunkWriter` is told the kinds beforehand
(`kinds.KindsSeen` finds them) and refuses a value that is not of its column's kind.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any, Final, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from governance.tables import faults
from governance.tables.limits import MIB
from governance.tables.nesting import is_list, steps
from governance.tables.parquet import open_batches
from governance.tables.rebuilding import Rebuilder
from governance.tables.source import SeekableBytes, Source
from governance.tables.table import ColumnKind, Format

ROW_GROUP_ROWS: Final = 65_536
ROW_GROUP_BYTES: Final = 64 * MIB

Columns = Mapping[str, Sequence[str | None]]

# What a spreadsheet takes for a formula (OWASP, "CSV Injection"), full-width forms included.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# Blanks and invisible characters that a spreadsheet may drop before it looks.
_UNSEEN: Final = " \u00a0\u3000\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_NUMERIC: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)

_TYPES: Final[Mapping[ColumnKind, pa.DataType]] = {
    ColumnKind.INTEGER: pa.int64(),
    ColumnKind.REAL: pa.float64(),
    ColumnKind.BOOLEAN: pa.bool_(),
    ColumnKind.TEXT: pa.string(),
}


class ByteWriter(Protocol):
    """The one method a writer needs of the file below it."""

    def write(self, data: bytes, /) -> int | None:
        """Take the bytes, all of them."""
        ...


class ChunkWriter(Protocol):
    """What every writer here is."""

    def write(self, columns: Columns) -> None:
        """Append a chunk: all columns of the table, of one length."""
        ...

    def close(self) -> None:
        """Write what is still held. The file below stays open."""
        ...

    def abandon(self) -> None:
        """Let go of a file that will be thrown away; nothing more is written."""
        ...


def chunk_writer(
    file: ByteWriter,
    format: Format,  # noqa: A002 - the word of the command line and the API
    columns: Sequence[str],
    kinds: Mapping[str, ColumnKind | None] | None = None,
    *,
    nested: bool = True,
) -> ChunkWriter:
    """The writer of a format.

    Args:
        file: what takes the bytes.
        format: CSV, JSON Lines or Parquet.
        columns: names in order.
        kinds: of the columns; they matter to JSON Lines and Parquet.
        nested: whether JSON Lines takes names for paths and rebuilds nested objects. CSV and
            Parquet keep path columns as they are.

    Raises:
        TableError: `table.format_unknown` for a format that is only read;
            `table.nesting_conflict`.
    """
    match format:
        case Format.CSV:
            return CsvChunkWriter(file, columns, mark=True)
        case Format.JSONL:
            return JsonlChunkWriter(file, columns, kinds, nested=nested)
        case Format.PARQUET:
            return ParquetChunkWriter(file, columns, kinds)
        case _:
            raise faults.format_unknown([Format.CSV, Format.JSONL, Format.PARQUET])


def defused(cell: str) -> str:
    """The cell, with an apostrophe before what a spreadsheet would run; numbers stay bare.

    A cell that is a number by RFC 8259, leading sign and all, is never touched, so `-3` and
    `+8613800138000` come back as they were. Who reads the file with a program takes one apostrophe
    off where the rest begins with one of the characters above.
    """
    start = cell if cell[:1].isalnum() else cell.lstrip(_UNSEEN)
    if start.startswith(_FORMULA) and not _NUMERIC.fullmatch(start):
        return "'" + cell
    return cell


class CsvChunkWriter:
    """RFC 4180 with CR LF, UTF-8; `mark` puts the byte order mark that Excel needs for Chinese."""

    def __init__(self, file: ByteWriter, columns: Sequence[str], *, mark: bool = False) -> None:
        self._file = file
        self._columns = list(columns)
        if mark:
            file.write("\ufeff".encode())
        self._put([[defused(name) for name in columns]])

    def write(self, columns: Columns) -> None:
        """Append a chunk."""
        ordered = _ordered(self._columns, columns)
        cells = [["" if cell is None else defused(cell) for cell in column] for column in ordered]
        self._put(zip(*cells, strict=True))

    def abandon(self) -> None:
        """Let go: what was handed in is written already or nowhere."""

    def close(self) -> None:
        """Nothing is held."""

    def _put(self, rows: Any) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._file.write(text.getvalue().encode())


class JsonlChunkWriter:
    """One object a line; integers, reals and booleans bare where the kinds say so.

    Columns whose names are paths become nested objects and lists (`rebuilding`), unless the table
    was flat and the names are to be taken whole.

    Raises:
        TableError: `table.nesting_conflict`.
    """

    def __init__(
        self,
        file: ByteWriter,
        columns: Sequence[str],
        kinds: Mapping[str, ColumnKind | None] | None = None,
        *,
        nested: bool = True,
    ) -> None:
        self._file = file
        self._columns = list(columns)
        self._kinds = _kinds(columns, kinds)
        self._members = self._columns
        self._rebuilder: Rebuilder | None = None
        if nested:
            paths = [steps(name) for name in columns]
            if any(len(path) > 1 for path in paths) or len({*paths}) < len(paths):
                self._rebuilder = Rebuilder(self._columns)
            else:
                self._members = [str(path[0]) for path in paths]

    def write(self, columns: Columns) -> None:
        """Append a chunk.

        Raises:
            TableError: `table.kind_mismatch`, `table.nesting_conflict`.
        """
        ordered = _ordered(self._columns, columns)
        typed: list[Sequence[Any]] = [
            column if kind is ColumnKind.TEXT else _finite(_typed(column, kind, number))
            for number, (column, kind) in enumerate(zip(ordered, self._kinds, strict=True), start=1)
        ]
        encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
        if self._rebuilder is None:
            lines = [
                encode(dict(zip(self._members, row, strict=True)))
                for row in zip(*typed, strict=True)
            ]
        else:
            lines = self._rebuilder.objects(
                [
                    values
                    if is_list(name)
                    else [
                        encode_basestring(value)
                        if type(value) is str
                        else None
                        if value is None
                        else encode(value)
                        for value in values
                    ]
                    for name, values in zip(self._columns, typed, strict=True)
                ]
            )
        if lines:
            self._file.write(("\n".join(lines) + "\n").encode())

    def abandon(self) -> None:
        """Let go: what was handed in is written already or nowhere."""

    def close(self) -> None:
        """Nothing is held."""


class ParquetChunkWriter:
    """Parquet with zstd, in row groups of up to 65,536 rows or 64 MiB of text."""

    def __init__(
        self,
        file: ByteWriter,
        columns: Sequence[str],
        kinds: Mapping[str, ColumnKind | None] | None = None,
    ) -> None:
        self._columns = list(columns)
        self._kinds = _kinds(columns, kinds)
        self._schema = pa.schema(
            [(name, _TYPES[kind]) for name, kind in zip(columns, self._kinds, strict=True)]
        )
        self._sink = _Sink(file)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"), self._schema, compression="zstd"
        )
        self._held: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, columns: Columns) -> None:
        """Append a chunk.

        Raises:
            TableError: `table.kind_mismatch`, `table.columns_differ`.
        """
        arrays = [
            _typed(column, kind, number)
            for number, (column, kind) in enumerate(
                zip(_ordered(self._columns, columns), self._kinds, strict=True), start=1
            )
        ]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._held.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= ROW_GROUP_ROWS or self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write the last row group and the footer. The file below stays open."""
        self._flush()
        self._writer.close()

    def abandon(self) -> None:
        """Let go of a file that will be thrown away: pyarrow would else complain when collected."""
        self._held = []
        self._rows = self._bytes = 0
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_batches(self._held, self._schema)
            self._writer.write_table(table, row_group_size=max(ROW_GROUP_ROWS, self._rows))
        self._held = []
        self._rows = self._bytes = 0


class _Sink(io.RawIOBase):
    """The file below as Arrow wants it: it asks for the position and closes what it is given."""

    def __init__(self, file: ByteWriter) -> None:
        super().__init__()
        self._file = file
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        piece = bytes(data)
        self._file.write(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position


def read_version(file: SeekableBytes, rows: int = ROW_GROUP_ROWS) -> Iterator[pl.DataFrame]:
    """The rows of a dataset version, as typed frames of at most `rows` rows.

    Args:
        file: seekable; a decrypting reader of what `ParquetChunkWriter` wrote. Not closed.
        rows: most rows in one frame.

    Raises:
        TableError: `table.not_parquet`.
    """
    for batch in open_batches(Source(file), rows):
        frame = pl.from_arrow(batch)
        if isinstance(frame, pl.DataFrame):
            yield frame


def _kinds(
    columns: Sequence[str], kinds: Mapping[str, ColumnKind | None] | None
) -> list[ColumnKind]:
    return [(kinds or {}).get(name) or ColumnKind.TEXT for name in columns]


def _ordered(names: list[str], columns: Columns) -> list[Sequence[str | None]]:
    """The chunk's columns in the table's order."""
    lengths = {len(values) for values in columns.values()}
    if columns.keys() != set(names) or len(lengths) > 1:
        raise faults.columns_differ()
    return [columns[name] for name in names]


def _finite(array: Any) -> list[Any]:
    """Python values; JSON has no NaN and no infinity."""
    return [
        None if isinstance(value, float) and not math.isfinite(value) else value
        for value in array.to_pylist()
    ]


def _typed(values: Sequence[str | None], kind: ColumnKind, number: int) -> Any:
    """An Arrow array of the kind's type; an empty string of a number is no value."""
    if kind is ColumnKind.TEXT:
        return pa.array(values, pa.string())
    try:
        return pa.array([value or None for value in values], pa.string()).cast(_TYPES[kind])
    except pa.ArrowInvalid:
        # Arrow's error quotes the value.
        raise faults.kind_mismatch(number, kind) from None
