"""The one door in: what a file is, opened as a table; and a masked look at it.

The format is found by content; what the caller or the file's name says must agree with it. Free
text alone is never guessed: it is what a name ending in `.md` or a format of "text" says, and what
`.txt` and `.log` say unless the content is JSON Lines or clearly delimited
(`delimited.is_delimited`). Gzip around a text format is seen by content and need not be stated.
"""

import json
import zipfile
from dataclasses import dataclass
from typing import Any, Final

from governance.tables import faults
from governance.tables.compressed import MAGIC as GZIP
from governance.tables.compressed import Inflated
from governance.tables.delimited import is_delimited, open_delimited
from governance.tables.encoding import Encoding, resolve
from governance.tables.jsonl import open_jsonl
from governance.tables.limits import DEFAULT, Limits
from governance.tables.paragraphs import open_text
from governance.tables.source import SeekableBytes, Source
from governance.tables.table import Chunk, ColumnKind, Format, TableReader

__all__ = ["Chunk", "Preview", "TableReader", "format_of", "mask", "open_table", "preview"]

# What a file of this name may be; the first is what it is called.
_SUFFIXES: Final = {
    "csv": (Format.CSV,),
    "tsv": (Format.CSV,),
    "jsonl": (Format.JSONL,),
    "ndjson": (Format.JSONL,),
    "parquet": (Format.PARQUET,),
    "pq": (Format.PARQUET,),
    "xlsx": (Format.XLSX,),
    "txt": (Format.TEXT, Format.CSV, Format.JSONL),
    "log": (Format.TEXT, Format.CSV, Format.JSONL),
    "md": (Format.TEXT,),
    "text": (Format.TEXT,),
}
_GZIP_SUFFIXES: Final = ("gz", "gzip")
_SHOWN: Final = {
    Format.CSV: "delimited text",
    Format.JSONL: "JSON Lines",
    Format.PARQUET: "Parquet",
    Format.XLSX: "an .xlsx workbook",
    Format.TEXT: "free text",
}
# Beginnings of what people rename or upload by mistake.
_OTHERS: Final = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xd0\xcf\x11\xe0", "an old .xls workbook or a protected document"),
    (b"%PDF", "a PDF document"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"\x89PNG", "an image"),
)
_BINARY: Final = frozenset({Format.PARQUET, Format.XLSX})
_PREVIEW_CHARACTERS: Final = 40


def format_of(name: str) -> Format:
    """The format that a file name or a bare word ("csv", ".xlsx", "people.tsv") states.

    Raises:
        TableError: `table.format_unknown`; so is a compressed file, which is only read.
    """
    return _formats(name.rsplit(".", 1)[-1])[0]


def _formats(word: str) -> tuple[Format, ...]:
    found = _SUFFIXES.get(word.strip().lower())
    if found is None:
        raise faults.format_unknown([*sorted(_SUFFIXES), "and gzip (.gz) of a text format"])
    return found


def _stated(name: str | None) -> tuple[Format, ...] | None:
    """The formats that a name allows; None where it states none, as "gz" alone."""
    words = [] if name is None else name.lower().strip().lstrip(".").split(".")
    if words and words[-1] in _GZIP_SUFFIXES:
        words.pop()
        if not words or words[-1] not in _SUFFIXES:
            return None
    return _formats(words[-1]) if words else None


def open_table(
    file: SeekableBytes,
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line and the API
    encoding: str | None = None,
    limits: Limits = DEFAULT,
) -> TableReader:
    """Open a table for reading in chunks.

    Args:
        file: seekable, open for reading bytes, a decrypting reader as a rule. It is borrowed: never
            closed, never copied to a temporary file, and must stay open while chunks are read.
        format: a format, file suffix or file name ("csv", ".jsonl.gz", "notes.txt"); None to go
            by the content alone.
        encoding: of a text format; None to detect it.
        limits: bounds beyond which a file is refused.

    Raises:
        TableError: what `governance.tables.faults` lists; the first row is read to see that the
            table has one.
    """
    source = Source(file)
    stated = _stated(format)
    if source.head(2) == GZIP:
        _refuse_gzip(stated)
        source = Source(Inflated(file, limits))
        found = _detected(source, stated, encoding, limits, inside="a gzip archive of ")
    else:
        found = _detected(source, stated, encoding, limits)
    match found:
        case Format.CSV:
            reader = open_delimited(source, encoding, limits)
        case Format.JSONL:
            reader = open_jsonl(source, encoding, limits)
        case Format.TEXT:
            reader = open_text(source, encoding, limits)
        case Format.PARQUET:
            from governance.tables.parquet import open_parquet  # noqa: PLC0415 - pyarrow is slow

            reader = open_parquet(source, limits)
        case Format.XLSX:
            from governance.tables.workbook import open_workbook  # noqa: PLC0415 - as pyarrow

            reader = open_workbook(source, limits)
    if next(reader.chunks(1), None) is None:
        raise faults.no_rows()
    return reader


def _refuse_gzip(stated: tuple[Format, ...] | None) -> None:
    if stated is not None and stated[0] in _BINARY:
        raise faults.format_mismatch(_SHOWN[stated[0]], "a gzip archive")


def _detected(
    source: Source,
    stated: tuple[Format, ...] | None,
    encoding: str | None,
    limits: Limits,
    *,
    inside: str = "",
) -> Format:
    """The format by content; `inside` says what the content was packed in, which must be text.

    Raises:
        TableError: `table.empty`, or `table.format_mismatch` naming both.
    """
    head = source.head(64)
    if not head:
        raise faults.empty()
    found: Format | None = None
    other = ""
    if head.startswith(b"PAR1"):
        found = Format.PARQUET
    elif head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        # The directory of a zip is at its end, which only a file that is not packed has at hand.
        found, other = (None, "a zip archive") if inside else _zip_format(source, stated)
    else:
        other = next((name for magic, name in _OTHERS if head.startswith(magic)), "")
        if not other:
            found = _text_format(source, stated, encoding, limits)
    packed = bool(inside) and found in _BINARY
    if found is None or packed or (stated is not None and found not in stated):
        asked = None if stated is None else _SHOWN[stated[0]]
        raise faults.format_mismatch(asked, inside + (_SHOWN[found] if found else other))
    return found


def _zip_format(source: Source, stated: tuple[Format, ...] | None) -> tuple[Format | None, str]:
    """A workbook, or which other zip it is."""
    try:
        with zipfile.ZipFile(source) as archive:
            is_workbook = "xl/workbook.xml" in archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError):
        source.blame()
        # A workbook cut short is told so by its reader.
        return (Format.XLSX if stated == (Format.XLSX,) else None), "a damaged zip archive"
    return (Format.XLSX if is_workbook else None), "a zip archive"


def _text_format(
    source: Source, stated: tuple[Format, ...] | None, encoding: str | None, limits: Limits
) -> Format:
    """JSON Lines when the text begins as JSON does.

    Delimited text may begin with a bracket too, so a file given as CSV is contradicted only by a
    first line that is JSON; one given as JSON Lines or as free text is left to its reader.
    """
    if stated in {(Format.JSONL,), (Format.TEXT,)}:
        return stated[0]
    found = resolve(source, encoding, limits)
    sample = source.head(limits.sample_bytes)[found.mark :]
    text = sample.decode(found.name, "ignore").lstrip()
    if text.startswith(("{", "[")) and (stated is None or _is_json(text)):
        return Format.JSONL
    if stated is not None and Format.TEXT in stated:
        return Format.CSV if is_delimited(source, found, limits) else Format.TEXT
    return Format.CSV


def _is_json(text: str) -> bool:
    """Whether the first line is."""
    try:
        json.loads(text.split("\n", 1)[0])
    except (ValueError, RecursionError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Preview:
    """A look at a table that shows its shape and no value.

    Attributes:
        rows: the first rows, cells masked by `mask`, None where there is no value.
    """

    format: Format
    encoding: Encoding | None
    columns: list[str]
    kinds: dict[str, ColumnKind | None]
    notes: tuple[str, ...]
    rows: list[list[str | None]]


def preview(
    file: SeekableBytes,
    rows: int = 5,
    *,
    format: str | None = None,  # noqa: A002 - as in open_table
    encoding: str | None = None,
    limits: Limits = DEFAULT,
) -> Preview:
    """The first rows, masked, with the format and the encoding that were found.

    Raises:
        TableError: as `open_table`.
    """
    reader = open_table(file, format=format, encoding=encoding, limits=limits)
    chunk = next(reader.chunks(rows))
    cells = zip(*chunk.columns.values(), strict=True)
    masked = [[None if cell is None else mask(cell) for cell in row] for row in cells]
    return Preview(
        reader.format, reader.encoding, reader.columns, reader.kinds, reader.notes, masked
    )


def previewed(shown: Preview) -> dict[str, Any]:
    """A preview as JSON, for the doors that print one."""
    found = shown.encoding
    return {
        "format": shown.format.value,
        "encoding": None if found is None else found.name,
        "certainty": None if found is None else found.certainty.value,
        "columns": shown.columns,
        "rows": shown.rows,
    }


def mask(value: str) -> str:
    """The shape of a value: letters as x, ideographs as 〇, digits as 9.

    The first character stays if it is a letter of a longer value, so that a reader can see whether
    the encoding is right; long values are cut.
    """
    shape = "".join(_shape(character) for character in value[:_PREVIEW_CHARACTERS])
    if len(value) > 1 and value[0].isalpha():
        shape = value[0] + shape[1:]
    return shape + "…" if len(value) > _PREVIEW_CHARACTERS else shape


def _shape(character: str) -> str:
    if character.isdigit() or character.isnumeric():
        # Chinese numerals are numeric and ideographs; a name may hold one.
        return "〇" if character.isalpha() else "9"
    if not character.isalpha():
        return character
    return "x" if character < "\u2e80" else "〇"
