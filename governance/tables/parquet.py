"""Parquet, batch by batch, over a file object: nested or flat, of types that have one text form.

`columnar` says what the columns are and how their values print. Bare bytes, durations and the like
are refused at opening. A name at the top is taken as it stands, as a CSV header's is: a file of
path columns that was written here reads back as such.
"""

import contextlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from governance.tables import columnar, faults, header, pages
from governance.tables.limits import Limits
from governance.tables.source import Source
from governance.tables.table import Chunk, ColumnKind, Format, TableReader


def open_parquet(source: Source, limits: Limits) -> TableReader:
    """Open a Parquet file.

    Raises:
        TableError: `table.not_parquet` (damaged, encrypted, cut short), `table.too_deep`,
            `table.unsupported_type`, `table.bomb`, or the header's faults.
    """
    deltas = pages.inspect(source, limits)
    file = _open(source)
    leaves = columnar.leaves(file.schema_arrow, limits)
    columns = header.checked([leaf.path for leaf in leaves], limits)
    kinds: dict[str, ColumnKind | None] = {
        name: leaf.kind for name, leaf in zip(columns, leaves, strict=True)
    }
    # One text of 16 MiB in the dictionary can stand in every row: texts stay encoded until the rows
    # of a chunk are known to fit. Where Arrow cannot leave them so, the rows at a time are bounded
    # by what they could at worst unpack to.
    texts = [place for place, leaf in enumerate(leaves) if leaf.is_text]
    with _damage_told(source):
        stored = [file.schema.column(place).path for place in range(len(leaves))]
    encoded = [stored[place] for place in texts if place not in deltas]
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
                rows = min(batch.num_rows - start, columnar.fitting(batch, start, first, limits))
                values = [
                    cells
                    for column in batch.columns
                    for cells in columnar.columns(column.slice(start, rows), first, limits)
                ]
            yield Chunk(first, dict(zip(columns, values, strict=True)))
            first += rows
            start += rows
