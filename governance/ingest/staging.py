"""Raw row groups: cut while a batch is parsed, sealed as they are, opened by the jobs that treat.

A group is an Arrow IPC stream with zstd at level 1: one record batch a chunk, every cell text or
null. Of what Arrow writes it was the smallest at that speed (16,384 rows of 12 columns: 64 ms and
43 % of the text; lz4 43 ms and 78 %; Parquet 80 ms, as long again to read). Parsing is done once;
a second plan opens the same groups.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import polars as pl
import pyarrow as pa

from governance.actions.profiles import Staged
from governance.errors import SealError
from governance.models import StoredObject, Tenant
from governance.stages import STAGED
from governance.tables.limits import MIB
from governance.vault import ObjectWriter, discard, open_object

# A group is what a dead worker costs and what workers share: small tables are cut finely, and the
# groups of a large one grow, so that their number (and that of their jobs) stays small.
GROUP_ROWS: Final = 16_384
FIRST_ROWS: Final = 2048
_ALIKE: Final = 16  # groups of one size, before the size doubles
GROUP_BYTES: Final = 32 * MIB  # of text; a group ends with the chunk that passes it
_COMPRESSION: Final = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))

Columns = Mapping[str, Sequence[str | None]]


class Stager:
    """Cuts rows into sealed groups; what is not taken in by an action is removed at the end.

    with Stager(tenant, columns) as stager:
        stager.add(chunk)
        stager.finish()
        ...     # an action that saves `stager.groups` and their objects
    """

    def __init__(self, tenant: Tenant, columns: Sequence[str]) -> None:
        self._tenant = tenant
        self._schema = pa.schema([(name, pa.string()) for name in columns])
        self._open: _Group | None = None
        self._rows = 0
        self.groups: list[Staged] = []

    @property
    def rows(self) -> int:
        """Rows taken so far."""
        return self._rows

    def add(self, columns: Columns) -> None:
        """Take the next rows, all columns of the table."""
        arrays = [pa.array(columns[name], pa.string()) for name in self._schema.names]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        if self._open is None:
            self._open = _Group(self._tenant, self._schema, self._rows + 1)
        self._open.write(batch)
        self._rows += batch.num_rows
        if self._open.rows >= self._most() or self._open.size >= GROUP_BYTES:
            self._cut()

    def finish(self) -> None:
        """Seal the last group."""
        if self._open is not None:
            self._cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open is not None:
            self._open.abandon()
        if kind is not None:
            for group in self.groups:
                discard(group.stored)

    def _most(self) -> int:
        return min(GROUP_ROWS, FIRST_ROWS << (len(self.groups) // _ALIKE))

    def _cut(self) -> None:
        group = self._open
        if group is not None:
            self.groups.append(Staged(group.seal(), group.first_row, group.rows))
            self._open = None


class _Group:
    """One group while it grows: its chunks are sealed as they come."""

    def __init__(self, tenant: Tenant, schema: pa.Schema, first_row: int) -> None:
        self.first_row = first_row
        self.rows = 0
        self.size = 0
        self._writer = ObjectWriter(tenant, STAGED)
        self._stream = pa.ipc.new_stream(
            pa.PythonFile(self._writer, mode="w"), schema, options=_COMPRESSION
        )

    def write(self, batch: pa.RecordBatch) -> None:
        self._stream.write_batch(batch)
        self.rows += batch.num_rows
        self.size += batch.nbytes

    def seal(self) -> StoredObject:
        self._stream.close()
        with self._writer:
            return self._writer.finish()

    def abandon(self) -> None:
        self._stream.close()
        self._writer.abort()
        self._writer.close()


def chunks(stored: StoredObject, most: int) -> Iterator[dict[str, list[str | None]]]:
    """The rows of a staged group, as columns of at most `most` rows, in order.

    Raises:
        ObjectMissingError: the sealed bytes are not in storage.
        SealError: they are not what was sealed, or the scope is another tenant's.
    """
    with open_object(stored) as file:
        sealed = file.read()  # a group is bounded, and compressed
    try:
        for batch in pa.ipc.open_stream(sealed):
            for start in range(0, batch.num_rows, most):
                yield _columns(batch.slice(start, most))
    except pa.ArrowException:
        raise SealError from None


def _columns(batch: pa.RecordBatch) -> dict[str, list[str | None]]:
    frame: Any = pl.from_arrow(batch)
    return {name: frame[name].to_list() for name in frame.columns}
