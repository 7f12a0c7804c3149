"""The sketch of a table: what is known of its rows once they have passed, and no value of theirs.

Each group of treated rows is sketched where it is sealed, and the sketches are added up: for a
version, for a batch that was appended, for the comparison of two versions. In it are counts, keyed
hashes and buckets of numbers. Whoever lacks the tenant's key learns from a hash nothing but that
two cells of one column are equal.

Numbers are told to about four digits (`buckets`). That is meant: a kept numeric column's bounds and
quantiles are what a steward declares, what drift is measured on and what the profile is for. A
column whose numbers say who someone is is treated before it is sketched, and here are its tokens.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from governance.errors import InvalidError
from governance.quality.columns import ColumnSketch, detail_for, packed, unpacked
from governance.quality.hashing import Hashes, number_hashes, subkey, text_hashes

FORMAT: Final = 1
ROWS_DRAWN: Final = 4096  # distinct rows drawn: a share of duplicates p is off by √(p / 4096)
_BUFFERED_ROWS: Final = 16_384  # so many rows at a time: a call per small chunk would cost more
_BUFFERED_BYTES: Final = 16 * 1024 * 1024

Cells = Sequence[str | None]


class TableSketch:
    """What is counted of a table. Feed it chunks, merge it with others, store `as_dict`.

    `merge` gives what one sketch of all the rows would have given, exactly, whatever the order,
    but for the frequencies of columns with more values than are kept (`ColumnSketch.slack`).
    """

    def __init__(self, names: Sequence[str], *, key: bytes) -> None:
        """Make an empty sketch.

        Args:
            names: the columns, in order.
            key: what only the tenant has, the same for all versions of a dataset; sketches under
                different keys cannot be compared.
        """
        self._names = tuple(names)
        self._key = key
        self._keys = {name: subkey(key, f"column\x1f{name}") for name in names}
        self._row_key = subkey(key, "row")
        detail = detail_for(len(self._names))
        self._columns = {name: ColumnSketch(detail) for name in names}
        self._rows = 0
        self._drawn: Hashes = np.empty(0, np.uint64)
        self._times: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._held: list[pl.DataFrame] = []
        self._held_rows = self._held_bytes = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in order."""
        return self._names

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self._rows + self._held_rows

    def add(self, columns: Mapping[str, Cells | pl.Series]) -> None:
        """Take in the next rows.

        Args:
            columns: all columns of the table, of one length; others are passed over.

        Raises:
            InvalidError: `quality.column_missing`.
        """
        missing = self._columns.keys() - columns.keys()
        if missing:
            raise InvalidError("a chunk lacks a column", code="quality.column_missing")
        frame = pl.DataFrame({name: _strings(columns[name]) for name in self._names})
        self._held.append(frame)
        self._held_rows += frame.height
        self._held_bytes += int(frame.estimated_size())
        if self._held_rows >= _BUFFERED_ROWS or self._held_bytes >= _BUFFERED_BYTES:
            self._settle()

    def merge(self, other: Self) -> None:
        """Take in what another sketch of the same columns counted.

        Raises:
            InvalidError: `quality.sketch_mismatch`: other columns, or another key.
        """
        if self._names != other._names or self._row_key != other._row_key:
            raise InvalidError(
                "these sketches are of different tables", code="quality.sketch_mismatch"
            )
        self._settle()
        other._settle()
        self._rows += other._rows
        self._draw(other._drawn, other._times)
        for name, column in self._columns.items():
            column.merge(other._columns[name])

    def column(self, name: str) -> ColumnSketch:
        """What is counted of a column."""
        self._settle()
        return self._columns[name]

    def duplicates(self) -> float:
        """The share of rows that repeat an earlier one.

        Exact while there are fewer than `ROWS_DRAWN` distinct rows; else that of the rows drawn,
        which are uniform over the distinct ones.
        """
        self._settle()
        seen = int(self._times.sum())
        return 1 - len(self._drawn) / seen if seen else 0.0

    def hashes(self, name: str, values: Iterable[str]) -> list[int]:
        """Under which hashes a column's frequencies keep these values."""
        texts = pl.Series([value.strip() for value in values], dtype=pl.String)
        return [int(value) for value in text_hashes(texts, self._keys[name])]

    # As JSON

    def as_dict(self) -> dict[str, Any]:
        """The sketch as JSON: counts, bucket codes and keyed hashes."""
        self._settle()
        often = np.flatnonzero(self._times > 1)
        return {
            "format": FORMAT,
            "key": subkey(self._key, "mark").hex(),
            "rows": self._rows,
            "drawn": packed(self._drawn),
            "repeated": [[int(i), int(self._times[i])] for i in often],
            "columns": [
                {"name": name, **column.as_dict()} for name, column in self._columns.items()
            ],
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any], *, key: bytes) -> Self:
        """What `as_dict` told.

        Raises:
            InvalidError: `quality.sketch_mismatch`: of another format, or under another key.
        """
        if told.get("format") != FORMAT or told.get("key") != subkey(key, "mark").hex():
            raise InvalidError(
                "this sketch was made under another key or format", code="quality.sketch_mismatch"
            )
        made = cls([column["name"] for column in told["columns"]], key=key)
        made._rows = told["rows"]
        made._drawn = unpacked(told["drawn"])
        made._times = np.ones(len(made._drawn), np.int64)
        for place, times in told["repeated"]:
            made._times[place] = times
        detail = detail_for(len(made._names))
        made._columns = {
            column["name"]: ColumnSketch.from_dict(column, detail) for column in told["columns"]
        }
        return made

    # Counting

    def _settle(self) -> None:
        """Count what is held."""
        if not self._held:
            return
        frame = pl.concat(self._held)
        self._held, self._held_rows, self._held_bytes = [], 0, 0
        self._rows += frame.height
        whole = np.zeros(frame.height, np.uint64)
        for name, column in self._columns.items():
            # A row is the exclusive or of its cells (Zobrist 1970): each column has its own key.
            whole ^= column.add(frame[name], self._keys[name])
        drawn, times = np.unique(number_hashes(whole, self._row_key), return_counts=True)
        self._draw(drawn, times.astype(np.int64))

    def _draw(self, hashes: Hashes, times: npt.NDArray[np.int64]) -> None:
        """Keep the smallest hashes with how often they came.

        A row among the smallest of all is among the smallest of each part that has it, so no count
        is lost.
        """
        found, place = np.unique(np.concatenate([self._drawn, hashes]), return_inverse=True)
        summed = np.zeros(len(found), np.int64)
        np.add.at(summed, place, np.concatenate([self._times, times]))
        self._drawn, self._times = found[:ROWS_DRAWN], summed[:ROWS_DRAWN]


def _strings(cells: Cells | pl.Series) -> pl.Series:
    if isinstance(cells, pl.Series):
        return cells.cast(pl.String)
    return pl.Series(cells, dtype=pl.String)
