"""Free text as a table: each paragraph a row, under the columns `paragraph` and `text`.

A paragraph is a block of lines between blank ones; its line breaks stay. One that is longer than
the bound is several rows of one number, cut in the later half of the bound where least can be
torn: after a sentence, else after a line, a clause or a word, and only in text without any of these
between two characters.
"""

import re
from collections.abc import Iterator
from typing import Final

from governance.tables import faults
from governance.tables.encoding import BrokenTextError, Encoding, Lines, resolve
from governance.tables.limits import Limits
from governance.tables.source import Source
from governance.tables.table import Chunk, ColumnKind, Format, TableReader

COLUMNS: Final = ("paragraph", "text")

# Behind what a long paragraph may be cut, best first.
_SENTENCES: Final = ("。", "！", "？", "!", "?", "…")
_LINES: Final = ("\n", "\r")
_CLAUSES: Final = ("，", "、", "；", "：", ", ", "; ", ": ")
_BLANKS: Final = (" ", "\t", "\u3000")
_BETWEEN_WORDS: Final = re.compile(r"(?s:.*)[^\w@.+-]")
_CLOSING: Final = "”’」』\"')）"
# A full stop after a shorter word may be a title's or an initial's.
_WORD: Final = 3


def open_text(source: Source, encoding: str | None, limits: Limits) -> TableReader:
    """Open free text.

    Raises:
        TableError: `table.empty`, or the encoding's faults.
    """
    found = resolve(source, encoding, limits)
    if next(_rows(source, found, limits), None) is None:
        raise faults.empty()

    def read(size: int) -> Iterator[Chunk]:
        return _chunks(source, found, limits, size)

    kinds: dict[str, ColumnKind | None] = dict(
        zip(COLUMNS, (ColumnKind.INTEGER, ColumnKind.TEXT), strict=True)
    )
    return TableReader(Format.TEXT, found, list(COLUMNS), kinds, read)


def _chunks(source: Source, encoding: Encoding, limits: Limits, size: int) -> Iterator[Chunk]:
    rows: list[tuple[str, str]] = []
    first, held = 1, 0
    for row in _rows(source, encoding, limits):
        rows.append(row)
        held += len(row[1])
        if len(rows) >= size or held > limits.chunk_characters:
            yield _chunk(first, rows)
            first, held = first + len(rows), 0
            rows = []
    if rows:
        yield _chunk(first, rows)


def _chunk(first: int, rows: list[tuple[str, str]]) -> Chunk:
    numbers, texts = zip(*rows, strict=True)
    return Chunk(first, dict(zip(COLUMNS, (list(numbers), list(texts)), strict=True)))


def _rows(source: Source, encoding: Encoding, limits: Limits) -> Iterator[tuple[str, str]]:
    """Paragraph number and text of every row."""
    paragraph, rows, held = 1, 0, ""
    try:
        for line in Lines(source, encoding, limits):
            if line.strip():
                *whole, held = _pieces(held + line, limits.paragraph_characters)
            else:
                whole, held = [held], ""
            for text in whole:
                if text := text.strip("\r\n"):
                    yield str(paragraph), text
                    rows += 1
            paragraph += not held and any(whole)
    except BrokenTextError as error:
        raise error.at(rows + 1, encoding, limits) from None
    if held := held.strip("\r\n"):
        yield str(paragraph), held


def _pieces(text: str, most: int) -> list[str]:
    """The text in pieces of at most `most` characters; the last may grow on."""
    pieces = []
    start = 0
    while len(text) - start > most:
        end = _cut(text, start + most // 2, start + most)
        pieces.append(text[start:end])
        start = end
    pieces.append(text[start:])
    return pieces


def _cut(text: str, least: int, most: int) -> int:
    """Where to cut: behind the last of the best kind of place between the two."""
    end = max(_behind(_SENTENCES, text, least, most), _full_stop(text, least, most))
    if end:
        while end < most and text[end] in _CLOSING:
            end += 1
        return end
    for marks in (_LINES, _CLAUSES, _BLANKS):
        if end := _behind(marks, text, least, most):
            return end
    found = _BETWEEN_WORDS.match(text, least, most)
    return found.end() if found else most


def _behind(marks: tuple[str, ...], text: str, least: int, most: int) -> int:
    """Behind the last of the marks; 0 where there is none."""
    return max(
        place + len(mark) if (place := text.rfind(mark, least, most)) >= 0 else 0 for mark in marks
    )


def _full_stop(text: str, least: int, most: int) -> int:
    """Behind the last full stop and blank that end a sentence; 0 where there is none."""
    place = text.rfind(". ", least, most)
    while place >= 0:
        word = text[max(0, place - _WORD) : place]
        if len(word) == _WORD and word.isalpha() and word.islower():
            return place + 2
        place = text.rfind(". ", least, place)
    return 0
