"""Excel workbooks (.xlsx): the first sheet, row by row, formulas as the values last saved in them.

An .xlsx is a zip of XML. Before anything is unpacked the zip's directory is held against the limits
(Python's zipfile hands out no more than the directory states), and every part's prolog is
read for a document type: entities are how XML bombs are built, and Office writes none.
The part with the shared strings is held in memory, as openpyxl does.
"""

import contextlib
import datetime as dt
import xml.parsers.expat
import zipfile
from collections.abc import Iterator
from typing import Any, Final

import openpyxl

from governance.errors import TableError
from governance.tables import faults, header
from governance.tables.limits import MIB, Limits
from governance.tables.source import Source
from governance.tables.table import Chunk, ColumnKind, Format, TableReader

_ENCRYPTED: Final = 0x1  # bit 0 of a zip entry's flags


def open_workbook(source: Source, limits: Limits) -> TableReader:
    """Open the first sheet of an .xlsx workbook.

    Raises:
        TableError: `table.not_workbook` (damaged, protected), `table.bomb`, `table.empty`, or the
            header's faults.
    """
    _inspect(source, limits)
    sheets = _sheets(source)
    if not sheets:
        raise faults.empty()
    names = next(_rows(sheets[0], source, limits), None)
    if names is None:
        raise faults.empty()
    while names and names[-1] is None:
        names.pop()
    columns = header.checked([name or "" for name in names], limits)
    others = len(sheets) - 1
    notes = (f"{others} further sheets were not read",) if others else ()

    def read(size: int) -> Iterator[Chunk]:
        return _chunks(_rows(sheets[0], source, limits), columns, limits, size)

    kinds: dict[str, ColumnKind | None] = dict.fromkeys(columns)
    return TableReader(Format.XLSX, None, columns, kinds, read, notes)


@contextlib.contextmanager
def _damage_told(source: Source) -> Iterator[None]:
    """Turn whatever damage raises into one fault, unless the file below failed.

    zipfile, zlib, expat and openpyxl each raise kinds of their own, some with cell text in them.
    """
    try:
        yield
    except TableError:
        raise
    except Exception:  # noqa: BLE001 - as the docstring says; re-raised as one fault
        source.blame()
        raise faults.not_workbook() from None


def _inspect(source: Source, limits: Limits) -> None:
    with _damage_told(source):
        source.seek(0)
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
            _refuse_bomb(entries, limits)
            for entry in entries:
                if entry.filename.endswith((".xml", ".rels")):
                    with archive.open(entry) as part:
                        _refuse_doctype(part)


def _refuse_bomb(entries: list[zipfile.ZipInfo], limits: Limits) -> None:
    if len(entries) > limits.workbook_entries:
        raise faults.bomb(f"its zip has more than {limits.workbook_entries} entries")
    if sum(entry.file_size for entry in entries) > limits.workbook_bytes:
        raise faults.bomb(f"its zip unpacks to more than {limits.workbook_bytes} bytes")
    for entry in entries:
        packed = max(1, entry.compress_size)
        if entry.file_size > MIB and entry.file_size > limits.workbook_ratio * packed:
            raise faults.bomb(f"its zip unpacks to over {limits.workbook_ratio} times its size")
        streamed = entry.filename.startswith(("xl/worksheets/", "xl/media/"))
        if entry.file_size > limits.workbook_part_bytes and not streamed:
            raise faults.bomb(f"a part of it is larger than {limits.workbook_part_bytes} bytes")
        if entry.flag_bits & _ENCRYPTED:
            raise faults.not_workbook()


class _RootSeen(Exception):  # noqa: N818 - stops the parser; nothing is wrong
    """The prolog is over."""


def _refuse_doctype(part: Any) -> None:
    def doctype(*_: Any) -> None:
        raise faults.bomb("its XML declares a document type")

    def root(*_: Any) -> None:
        raise _RootSeen

    parser = xml.parsers.expat.ParserCreate()
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler = root
    try:
        while piece := part.read(4096):
            parser.Parse(piece, False)
    except _RootSeen:
        return


def _sheets(source: Source) -> list[Any]:
    with _damage_told(source):
        source.seek(0)
        book = openpyxl.load_workbook(source, read_only=True, data_only=True, keep_links=False)
        sheets: list[Any] = book.worksheets
        return sheets


def _rows(sheet: Any, source: Source, limits: Limits) -> Iterator[list[str | None]]:
    """The rows of a sheet that are not blank, each cell as text."""
    # The dimension that the file states may be wrong, and openpyxl would cut to it.
    sheet.reset_dimensions()
    rows = sheet.iter_rows(values_only=True)
    number = 0
    for _ in range(limits.workbook_rows + 1):
        with _damage_told(source):
            cells = next(rows, None)
        if cells is None:
            return
        texts = [_text(cell) for cell in cells]
        for text in texts:
            if text is not None and len(text) > limits.line_characters:
                raise faults.cell_too_long(number, limits.line_characters)
            if text is not None and "\0" in text:
                raise faults.nul_byte(number)
        if any(text is not None for text in texts):
            yield texts
            number += 1
    raise faults.bomb(f"the sheet has more than {limits.workbook_rows} rows")


def _chunks(
    table: Iterator[list[str | None]], columns: list[str], limits: Limits, size: int
) -> Iterator[Chunk]:
    width = len(columns)
    rows: list[list[str | None]] = []
    first, held = 1, 0
    next(table)  # the header
    for cells in table:
        while len(cells) > width and cells[-1] is None:
            cells.pop()
        if len(cells) > width:
            raise faults.ragged_row(first + len(rows), len(cells), width)
        cells.extend([None] * (width - len(cells)))
        rows.append(cells)
        held += sum(len(cell) for cell in cells if cell)
        if len(rows) >= size or held > limits.chunk_characters:
            yield _chunk(first, columns, rows)
            first, held = first + len(rows), 0
            rows = []
    if rows:
        yield _chunk(first, columns, rows)


def _chunk(first: int, columns: list[str], rows: list[list[str | None]]) -> Chunk:
    turned = zip(*rows, strict=True)
    return Chunk(first, {name: list(cells) for name, cells in zip(columns, turned, strict=True)})


def _text(cell: Any) -> str | None:  # noqa: PLR0911 - one line a type
    """One cell as text: booleans in lower case, dates and times in ISO 8601."""
    match cell:
        case None | "":
            return None
        case str():
            return cell
        case bool():
            return "true" if cell else "false"
        case int():
            return str(cell)
        case float():
            return repr(cell)
        case dt.datetime() if cell.time() == dt.time():
            return cell.date().isoformat()
        case dt.datetime() | dt.date() | dt.time():
            return cell.isoformat()
        case _:  # a time span
            return str(cell)
