"""Parquet, batch by batch, over a file object: flat columns of types that have one text form.

Integers, decimals, dates and times print as Arrow casts them, floats as Python's shortest
round-trip form. Lists, structs, maps and bare bytes are refused at opening.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from governance.tables import faults, header, pages
from governance.tables.limits import Limits
from governance.tables.source import Source
from governance.tables.table import Chunk, ColumnKind, Format, TableReader


def open_parquet(source: Source, limits: Limits) -> TableReader:
    """Open a Parquet file.

    Raises:
        TableError: `table.not_parquet` (damaged, encrypted, cut short), `table.nested`,
            `table.unsupported_type`, `table.bomb`, or the header's faults.
    """
    deltas = pages.inspect(source, limits)
    schema = _open(source).schema_arrow
    columns = header.checked(schema.names, limits)
    kinds: dict[str, ColumnKind | None] = {
        name: _kind(field.type, column)
        for column, (name, field) in enumerate(zip(columns, schema, strict=True), start=1)
    }
    # One text of 16 MiB in the dictionary can stand in every row: texts stay encoded until the rows
    # of a chunk are known to fit. Where Arrow cannot leave them so, the rows at a time are bounded
    # by what they could at worst unpack to.
    texts = [place for place, field in enumerate(schema) if _is_text(field.type)]
    encoded = [schema.names[place] for place in texts if place not in deltas]
    worst = sum(deltas[place] for place in texts if place in deltas)
    most = max(1, limits.parquet_bytes // worst) if worst else None

    def read(size: int) -> Iterator[Chunk]:
        rows = size if most is None else min(size, most)
        return _chunks(source, columns, encoded, limits, rows)

    return TableReader(Format.PARQUET, None, columns, kinds, read)


@contextlib.contextmanager
def _damage_told(source: Source) -> Iterator[None]:
    """Turn whatever Arrow makes of damage into one fault, unless the file below failed.

    A dictionary index out of range, for one, shows only when the value is looked up.
    """
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError):
        source.blame()
        raise faults.not_parquet() from None


def _open(source: Source, encoded: Sequence[str] = ()) -> pq.ParquetFile:
    source.seek(0)
    with _damage_told(source):
        # pre_buffer would hold whole row groups; buffer_size makes column reads small.
        return pq.ParquetFile(
            pa.PythonFile(source, mode="r"),
            read_dictionary=list(encoded),
            pre_buffer=False,
            buffer_size=1024 * 1024,
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
    if _is_text(kind):
        return ColumnKind.TEXT
    if pa.types.is_temporal(kind) and not (
        pa.types.is_duration(kind) or pa.types.is_interval(kind)
    ):
        return ColumnKind.TEXT
    if pa.types.is_null(kind):
        return ColumnKind.TEXT
    raise faults.unsupported_type(column, str(kind))


def open_batches(
    source: Source, size: int, encoded: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """The file's batches of at most `size` rows; columns named in `encoded` as dictionary arrays.

    Raises:
        TableError: `table.not_parquet`.
    """
    batches = _open(source, encoded).iter_batches(batch_size=size, use_threads=False)
    while True:
        with _damage_told(source):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _chunks(
    source: Source, columns: list[str], encoded: list[str], limits: Limits, size: int
) -> Iterator[Chunk]:
    first = 1
    for batch in open_batches(source, size, encoded):
        start = 0
        while start < batch.num_rows:
            with _damage_told(source):
                rows = min(batch.num_rows - start, _fitting(batch, start, limits))
                parts = [column.slice(start, rows) for column in batch.columns]
                values = [_texts(part, first, limits) for part in parts]
            yield Chunk(first, dict(zip(columns, values, strict=True)))
            first += rows
            start += rows


def _fitting(batch: pa.RecordBatch, start: int, limits: Limits) -> int:
    """How many rows from `start` on stay within the bound of a chunk; at least one."""
    total = np.zeros(batch.num_rows - start, np.int64)
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and _is_text(column.type.value_type):
            total += _lengths(column, start)
    over = int(np.searchsorted(np.cumsum(total), limits.chunk_characters, side="right"))
    return max(1, over)


def _lengths(column: Any, start: int) -> npt.NDArray[np.int64]:
    """Bytes of each text from `start` on, without unpacking one; shape (rows - start,)."""
    lengths = np.append(pc.binary_length(column.dictionary).to_numpy(zero_copy_only=False), 0)
    places = pc.fill_null(column.indices.slice(start).cast(pa.int64()), len(lengths) - 1)
    known: npt.NDArray[np.int64] = np.nan_to_num(lengths[places.to_numpy()]).astype(np.int64)
    return known


def _texts(column: Any, first: int, limits: Limits) -> list[str | None]:
    """The values of one column as text; `first` is the number of its first row."""
    if _is_text(column.type):
        column = column.cast(pa.large_string()).dictionary_encode()
    if pa.types.is_dictionary(column.type):
        # The dictionary is that of a whole row group; only what stands in these rows is decoded.
        used = column.indices.drop_null().unique()
        values = column.dictionary.take(used)
        texts = _checked(values, used, column, first, limits)
        known: dict[int | None, str | None] = {None: None}
        known.update(zip(used.to_pylist(), texts, strict=True))
        return [known[place] for place in column.indices.to_pylist()]
    if pa.types.is_floating(column.type):
        return [None if value is None else repr(value) for value in column.to_pylist()]
    written: list[str | None] = column.cast(pa.string()).to_pylist()
    return written


def _checked(values: Any, used: Any, column: Any, first: int, limits: Limits) -> list[str | None]:
    """The texts of the dictionary values in use.

    Raises:
        TableError: `table.cell_too_long`, `table.undecodable`, `table.nul_byte`, with the first row
            that holds the value.
    """
    if not _is_text(values.type):
        return _texts(values, first, limits)

    def row(wrong: int) -> int:
        return first + int(pc.index(column.indices, used[wrong]).as_py())

    too_long = pc.greater(pc.binary_length(values), pa.scalar(limits.line_characters))
    long = pc.index(too_long, True).as_py()
    if long >= 0:
        raise faults.cell_too_long(row(long), limits.line_characters)
    nul = pc.index(pc.match_substring(values, "\0"), True).as_py()
    if nul >= 0:
        raise faults.nul_byte(row(nul))
    texts: list[str | None] = []
    try:
        texts.extend(value.as_py() for value in values)
    except UnicodeDecodeError:
        raise faults.undecodable(row(len(texts)), "UTF-8") from None
    return texts


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
