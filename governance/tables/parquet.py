"""Parquet, batch by batch, over a file object: flat columns of types that have one text form.

Integers, decimals, dates and times print as Arrow casts them, floats as Python's shortest
round-trip form. Lists, structs, maps and bare bytes are refused at opening.
"""

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from governance.tables import faults, header
from governance.tables.limits import Limits
from governance.tables.source import Source
from governance.tables.table import Chunk, ColumnKind, Format, TableReader

MAGIC: Final = b"PAR1"

# Thrift strings and containers of the footer; a header of 4,096 columns needs a fraction of it.
_FOOTER_BYTES: Final = 64 * 1024 * 1024
_FOOTER_ITEMS: Final = 1_000_000


def open_parquet(source: Source, limits: Limits) -> TableReader:
    """Open a Parquet file.

    Raises:
        TableError: `table.not_parquet` (damaged, encrypted, cut short), `table.nested`,
            `table.unsupported_type`, `table.bomb`, or the header's faults.
    """
    if source.tail(len(MAGIC)) != MAGIC:
        raise faults.not_parquet()
    file = _open(source)
    if file.metadata.num_columns > limits.columns:
        raise faults.too_many_columns(limits.columns)
    schema = file.schema_arrow
    columns = header.checked(schema.names, limits)
    kinds: dict[str, ColumnKind | None] = {
        name: _kind(field.type, column)
        for column, (name, field) in enumerate(zip(columns, schema, strict=True), start=1)
    }
    _refuse_bomb(file, limits)

    def read(size: int) -> Iterator[Chunk]:
        return _chunks(source, columns, limits, size)

    return TableReader(Format.PARQUET, None, columns, kinds, read)


def _open(source: Source) -> pq.ParquetFile:
    source.seek(0)
    try:
        # pre_buffer would hold whole row groups; buffer_size makes column reads small.
        return pq.ParquetFile(
            pa.PythonFile(source, mode="r"),
            pre_buffer=False,
            buffer_size=1024 * 1024,
            thrift_string_size_limit=_FOOTER_BYTES,
            thrift_container_size_limit=_FOOTER_ITEMS,
        )
    except (pa.ArrowException, OSError, ValueError):
        source.blame()
        raise faults.not_parquet() from None


def _refuse_bomb(file: pq.ParquetFile, limits: Limits) -> None:
    """Refuse a column of a row group that would not fit, as far as the footer tells the truth."""
    for group in range(file.metadata.num_row_groups):
        described = file.metadata.row_group(group)
        for column in range(described.num_columns):
            if described.column(column).total_uncompressed_size > limits.row_group_bytes:
                raise faults.bomb(
                    f"column {column + 1} of row group {group + 1} unpacks to more than "
                    f"{limits.row_group_bytes} bytes"
                )


def _kind(kind: pa.DataType, column: int) -> ColumnKind:  # noqa: PLR0911 - one line a type
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type, column)
    if pa.types.is_nested(kind):
        raise faults.nested(column)
    if pa.types.is_integer(kind):
        return ColumnKind.INTEGER
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return ColumnKind.REAL
    if pa.types.is_boolean(kind):
        return ColumnKind.BOOLEAN
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return ColumnKind.TEXT
    if pa.types.is_temporal(kind) and not (
        pa.types.is_duration(kind) or pa.types.is_interval(kind)
    ):
        return ColumnKind.TEXT
    if pa.types.is_null(kind):
        return ColumnKind.TEXT
    raise faults.unsupported_type(column, str(kind))


def open_batches(source: Source, size: int) -> Iterator[pa.RecordBatch]:
    """The file's batches of at most `size` rows.

    Raises:
        TableError: `table.not_parquet`.
    """
    batches = _open(source).iter_batches(batch_size=size, use_threads=False)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError, ValueError):
            source.blame()
            raise faults.not_parquet() from None
        if batch is None:
            return
        yield batch


def _chunks(source: Source, columns: list[str], limits: Limits, size: int) -> Iterator[Chunk]:
    first = 1
    for batch in open_batches(source, size):
        for part in _parts(batch, limits):
            values = [_texts(column, first, limits) for column in part.columns]
            yield Chunk(first, dict(zip(columns, values, strict=True)))
            first += part.num_rows


def _parts(batch: pa.RecordBatch, limits: Limits) -> Iterator[pa.RecordBatch]:
    """The batch in halves of halves until each is within the bound of a chunk (or one row)."""
    if batch.num_rows <= 1 or batch.get_total_buffer_size() <= 4 * limits.chunk_characters:
        if batch.num_rows:
            yield batch
        return
    # A slice keeps its parent's buffers; taking the rows copies just these.
    half = batch.num_rows // 2
    for start, length in ((0, half), (half, batch.num_rows - half)):
        rows = pa.array(range(start, start + length), pa.int64())
        yield from _parts(batch.take(rows), limits)


def _texts(column: Any, first: int, limits: Limits) -> list[str | None]:
    """The values of one column as text; `first` is the number of its first row."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    kind = column.type
    if pa.types.is_floating(kind):
        return [None if value is None else repr(value) for value in column.to_pylist()]
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        texts: list[str | None] = column.cast(pa.string()).to_pylist()
        return texts
    longest = pc.max(pc.binary_length(column)).as_py() or 0
    if longest > limits.line_characters:
        lengths = pc.binary_length(column).to_pylist()
        raise faults.cell_too_long(first + lengths.index(longest), limits.line_characters)
    try:
        written: list[str | None] = column.to_pylist()
    except UnicodeDecodeError:
        raise faults.undecodable(_undecodable_row(column, first), "UTF-8") from None
    nul = pc.index(pc.match_substring(column, "\0"), True).as_py()
    if nul >= 0:
        raise faults.nul_byte(first + nul)
    return written


def _undecodable_row(column: Any, first: int) -> int:
    for index, value in enumerate(column):
        try:
            value.as_py()
        except UnicodeDecodeError:
            return first + index
    return first
