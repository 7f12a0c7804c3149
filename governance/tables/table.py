"""What every reader hands out: a table's columns, what is known of them, and its rows in chunks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from governance.tables.encoding import Encoding

CHUNK_ROWS: Final = 4096


class Format(StrEnum):
    """The formats that are read; all but XLSX and TEXT are written too."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    XLSX = "xlsx"
    TEXT = "text"


class ColumnKind(StrEnum):
    """What a column's values are; None stands for "the format does not say"."""

    INTEGER = "integer"
    REAL = "real"
    BOOLEAN = "boolean"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Up to `rows` rows, by column.

    Attributes:
        first_row: number of the first row here; 1 is the first row under the header.
        columns: name -> values as written, None where there is none; all of one length.
    """

    first_row: int
    columns: dict[str, list[str | None]]

    @property
    def rows(self) -> int:
        """How many rows this chunk holds."""
        return len(next(iter(self.columns.values()), []))


@dataclass(frozen=True, slots=True)
class TableReader:
    """An opened table. `chunks` may be called again: each call reads from the start.

    Attributes:
        format: the format, found by content.
        encoding: of the text formats, with how sure it is; None where the format fixes it.
        columns: names in order, unique, without surrounding blanks.
        kinds: name -> what the format itself says of the column.
        notes: sentences for the person who hands the file in (sheets not read, formulas).
    """

    format: Format
    encoding: Encoding | None
    columns: list[str]
    kinds: dict[str, ColumnKind | None]
    read: Callable[[int], Iterator[Chunk]] = field(repr=False)
    notes: tuple[str, ...] = ()

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
        """Yield the table in chunks of at most `rows` rows, first to last.

        Raises:
            TableError: a row breaks the format; the detail names the row.
        """
        return self.read(rows)
