"""Delimited text: RFC 4180, with the delimiters that spreadsheets in use really write.

A record may hold quoted line breaks; lines end in LF, CR LF or CR, mixed if need be. All else is
strict: a row of another width, a quote that never closes or text after a closing quote is refused
with its row number. A wholly blank line is no row; an empty cell has no value (None).
"""

import csv
import io
from collections.abc import Iterator
from typing import Final

from governance.errors import TableError
from governance.tables import faults, header
from governance.tables.encoding import BrokenTextError, Encoding, Lines, resolve
from governance.tables.limits import Limits
from governance.tables.source import Source
from governance.tables.table import Chunk, Format, TableReader

DELIMITERS: Final = (",", ";", "\t", "|")

_SNIFFED_ROWS: Final = 200
_FEWEST_ROWS: Final = 2
_AGREEING: Final = 0.9


def open_delimited(source: Source, encoding: str | None, limits: Limits) -> TableReader:
    """Open delimited text; the delimiter is the one under which most rows agree with the header.

    Raises:
        TableError: the header is at fault, or the encoding is.
    """
    # The csv module's own bound is one number for the process, 128 Ki characters by default.
    if csv.field_size_limit() < limits.line_characters:
        csv.field_size_limit(limits.line_characters)
    found = resolve(source, encoding, limits)
    delimiter = _sniff(source, found, limits)
    rows = _rows(source, found, delimiter, limits)
    names = next((row for row, _ in rows), None)
    if names is None:
        raise faults.empty()
    columns = header.checked(names, limits)

    def read(size: int) -> Iterator[Chunk]:
        return _chunks(source, found, delimiter, columns, limits, size)

    return TableReader(Format.CSV, found, columns, dict.fromkeys(columns), read)


def _rows(
    source: Source, encoding: Encoding, delimiter: str, limits: Limits
) -> Iterator[tuple[list[str], int]]:
    """Every record that is not a blank line, with the characters of text handed out so far."""
    lines = Lines(source, encoding, limits)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    number = 0
    try:
        for row in reader:
            if row:
                yield row, lines.characters
                number += 1
    except BrokenTextError as error:
        raise error.at(number, encoding, limits) from None
    except csv.Error:
        # Its text may quote the cell. Only quotes (and a field past the bound, which an unclosed
        # quote is the cause of, since every line is within it) get here.
        raise faults.unbalanced_quotes(number) from None


def _chunks(
    source: Source,
    encoding: Encoding,
    delimiter: str,
    columns: list[str],
    limits: Limits,
    size: int,
) -> Iterator[Chunk]:
    width = len(columns)
    rows: list[list[str]] = []
    first, began = 1, 0
    table = _rows(source, encoding, delimiter, limits)
    next(table)  # the header
    for row, characters in table:
        if len(row) != width:
            raise faults.ragged_row(first + len(rows), len(row), width)
        rows.append(row)
        if len(rows) >= size or characters - began > limits.chunk_characters:
            yield _chunk(first, columns, rows)
            first, began = first + len(rows), characters
            rows = []
    if rows:
        yield _chunk(first, columns, rows)


def _chunk(first: int, columns: list[str], rows: list[list[str]]) -> Chunk:
    turned = zip(*rows, strict=True)
    return Chunk(
        first,
        {
            name: [value or None for value in values]
            for name, values in zip(columns, turned, strict=True)
        },
    )


def _sniff(source: Source, encoding: Encoding, limits: Limits) -> str:
    """The delimiter whose header has several columns and whose rows agree with it most."""
    text = _sample(source, encoding, limits)
    best, best_score = DELIMITERS[0], (0.0, 0)
    for delimiter in DELIMITERS:
        rows = _sampled_rows(text, delimiter)
        score = _agreement(rows)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def is_delimited(source: Source, encoding: Encoding, limits: Limits) -> bool:
    """Whether text of unstated kind is a table with a header rather than free text.

    It is when no line between two others is blank, nine rows in ten have as many cells as the
    first, the first could be a header (`header.checked`), and, since prose has commas too, with a
    delimiter other than the tab there are at least three rows and no name begins with a blank. When
    in doubt it is free text: a table read as text is treated whole, but prose read as a table would
    show its first line as names of columns.
    """
    text = _sample(source, encoding, limits)
    lines = text.strip().splitlines()
    if not all(line.strip() for line in lines):
        return False
    for delimiter in DELIMITERS:
        rows = _sampled_rows(text, delimiter)
        share, width = _agreement(rows)
        fewest = _FEWEST_ROWS if delimiter == "\t" else _FEWEST_ROWS + 1
        if width < 2 or share < _AGREEING or len(rows) < fewest:  # noqa: PLR2004 - a table of one column looks like lines
            continue
        if delimiter != "\t" and any(name[:1].isspace() for name in rows[0]):
            continue
        try:
            header.checked(rows[0], limits)
        except TableError:
            continue
        return True
    return False


def _sample(source: Source, encoding: Encoding, limits: Limits) -> str:
    """The first whole lines."""
    head = source.head(limits.sample_bytes)[encoding.mark :]
    text = head.decode(encoding.name, "ignore")
    return text if len(head) < limits.sample_bytes else text[: text.rfind("\n") + 1] or text


def _sampled_rows(text: str, delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) >= _SNIFFED_ROWS:
                break
    except csv.Error:  # a field past the bound: the row is reported when it is read
        pass
    return rows


def _agreement(rows: list[list[str]]) -> tuple[float, int]:
    """The share of rows as wide as the first, and that width; nothing for one column."""
    if not rows or len(rows[0]) == 1:
        return 0.0, 0
    width = len(rows[0])
    return sum(len(row) == width for row in rows) / len(rows), width
