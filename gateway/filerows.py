"""A sealed file read as rows, part by part. Imports pyarrow: workers reach it, doors do not."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from gateway import callfiles
from gateway.errors import CallFileError
from gateway.models import CallFile
from governance.vault import open_object


def parts(file: CallFile) -> Iterator[list[dict[str, Any]]]:
    """The rows of a file, `callfiles.PART` at a time; the plaintext is in memory alone.

    Raises:
        CallFileError: `callfile.unreadable`, `callfile.rows_too_many`, `callfile.empty`.
    """
    if file.stored is None:
        raise CallFileError("the rows of this file are gone", code="callfile.ended")
    count = 0
    with open_object(file.stored) as plain:
        for part in _read(plain, file.form):
            count += len(part)
            if count > callfiles.MOST_ROWS:
                raise CallFileError(
                    f"a file has at most {callfiles.MOST_ROWS} rows", code="callfile.rows_too_many"
                )
            yield part
    if not count:
        raise CallFileError("the file has no rows", code="callfile.empty")


def _read(plain: BinaryIO, form: str) -> Iterator[list[dict[str, Any]]]:
    try:
        yield from _csv(plain) if form == "csv" else _parquet(plain)
    except (UnicodeDecodeError, csv.Error, pa.ArrowException, OSError, MemoryError):
        # Without the cause: its text quotes the file.
        raise CallFileError("the file cannot be read as what it is said to be") from None


def _csv(plain: BinaryIO) -> Iterator[list[dict[str, Any]]]:
    """RFC 4180 in UTF-8, with a header; an empty cell is an unknown value."""
    lines = csv.reader(io.TextIOWrapper(plain, encoding="utf-8-sig", newline=""), strict=True)
    header = next(lines, None)
    if header is None or len(set(header)) != len(header):
        raise CallFileError("the first line names each column once")
    part: list[dict[str, Any]] = []
    for cells in lines:
        if len(cells) != len(header):
            raise CallFileError("a line has more or fewer cells than the first")
        part.append({name: cell or None for name, cell in zip(header, cells, strict=True)})
        if len(part) == callfiles.PART:
            yield part
            part = []
    if part:
        yield part


def _parquet(plain: BinaryIO) -> Iterator[list[dict[str, Any]]]:
    file = pq.ParquetFile(plain)
    names: Sequence[str] = file.schema_arrow.names
    if len(set(names)) != len(names):
        raise CallFileError("two columns have one name")
    held: list[dict[str, Any]] = []
    # A batch of these ends with its row group; parts do not, or two readings would cut differently.
    for batch in file.iter_batches(batch_size=callfiles.PART):
        held += batch.to_pylist()
        while len(held) >= callfiles.PART:
            yield held[: callfiles.PART]
            held = held[callfiles.PART :]
    if held:
        yield held
