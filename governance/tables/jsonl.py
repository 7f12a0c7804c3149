"""JSON Lines: one object a line (RFC 8259), numbers kept as they are written.

The columns are all places that hold a value in any line, in order of first appearance, so the file
is parsed once before it is read: a bad line is found before anything was made of the good ones.
What is nested has columns by path (`nesting`).
"""

import json
import re
from collections.abc import Iterator
from json.scanner import make_scanner
from typing import Any, Final, NoReturn

from governance.tables import faults, header
from governance.tables.encoding import BrokenTextError, Encoding, Lines, resolve
from governance.tables.limits import Limits
from governance.tables.nesting import is_text
from governance.tables.shapes import SCALARS, Shape, TooManyValuesError
from governance.tables.source import Source
from governance.tables.table import Chunk, Format, TableReader

# json.loads accepts the escape of a NUL and of half a surrogate pair; neither is text.
_ESCAPE: Final = re.compile(r"\\u(?:0000|[dD][89abAB])")
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)

# What json.JSONDecoder itself runs, without the search for blanks around it.
_scanner: Any = make_scanner

_Types = tuple[tuple[str, ...], tuple[type, ...]]
_SHAPES: Final = 4096


def open_jsonl(source: Source, encoding: str | None, limits: Limits) -> TableReader:
    """Open JSON Lines.

    Raises:
        TableError: `table.bad_json`, `table.nul_byte`, `table.too_deep`, `table.too_many_values`
            with the row; the encoding's and the header's faults.
    """
    found = resolve(source, encoding, limits)
    shape, nested = _learned(source, found, limits)
    if not shape.columns:
        raise faults.empty()
    names = header.checked(shape.columns, limits)

    def read(size: int) -> Iterator[Chunk]:
        return _chunks(source, found, shape, names, limits, size, nested=nested)

    kinds = dict(zip(names, shape.kinds, strict=True))
    return TableReader(Format.JSONL, found, names, kinds, read)


def _learned(source: Source, encoding: Encoding, limits: Limits) -> tuple[Shape, bool]:
    """The shape of all records, every one of which is sound; whether any is nested."""
    shape = Shape(limits)
    flat: set[_Types] = set()
    nested = False
    scan = _scanner(json.JSONDecoder(parse_constant=_refuse_constant))
    for row, text in enumerate(_lines(source, encoding, limits), start=1):
        if text.count(",") > limits.record_values:
            _refuse_values(text, row, limits)
        record = _record(scan, text, row)
        types = tuple(record), tuple(map(type, record.values()))
        # Most flat rows are of a few shapes; the rest is looked at once and forgotten.
        if types in flat:
            members = len(record)
        else:
            members = shape.learn(record, row)
            if not SCALARS.issuperset(types[1]):
                nested = True
            elif len(flat) < _SHAPES:
                flat.add(types)
        if text.count('":') != members or " :" in text or "\t:" in text:
            _refuse_twice(text, row)
        if "\\u" in text and _ESCAPE.search(text):
            _check_text(record, row)
    shape.name()
    return shape, nested


def _chunks(
    source: Source,
    encoding: Encoding,
    shape: Shape,
    names: list[str],
    limits: Limits,
    size: int,
    *,
    nested: bool,
) -> Iterator[Chunk]:
    # Flat cells are texts whatever they are; in a list a number must be told from a text.
    number: Any = str.encode if nested else str
    scan = _scanner(
        json.JSONDecoder(parse_int=number, parse_float=number, parse_constant=_refuse_constant)
    )
    rows: list[dict[str, Any]] = []
    first, held, values = 1, 0, 0
    for text in _lines(source, encoding, limits):
        rows.append(_record(scan, text, first + len(rows)))
        held += len(text)
        values += text.count(",")  # at least as many as it has values, but for one
        if len(rows) >= size or held > limits.chunk_characters or values > limits.record_values:
            yield from _cut(first, shape, names, rows, limits)
            first, held, values = first + len(rows), 0, 0
            rows = []
    if rows:
        yield from _cut(first, shape, names, rows, limits)


def _cut(
    first: int, shape: Shape, names: list[str], rows: list[dict[str, Any]], limits: Limits
) -> Iterator[Chunk]:
    """The rows as one chunk, or as several where their lists fill more columns than fit."""
    try:
        columns = shape.spread(rows)
    except TooManyValuesError:
        if len(rows) == 1:
            raise faults.too_many_values(first, limits.record_values) from None
        half = len(rows) // 2
        yield from _cut(first, shape, names, rows[:half], limits)
        yield from _cut(first + half, shape, names, rows[half:], limits)
    else:
        yield Chunk(first, dict(zip(names, columns, strict=True)))


def _lines(source: Source, encoding: Encoding, limits: Limits) -> Iterator[str]:
    """Every line that is not blank."""
    row = 0
    try:
        for line in Lines(source, encoding, limits):
            text = line.strip(" \t\r\n")
            if text:
                yield text
                row += 1
    except BrokenTextError as error:
        raise error.at(row + 1, encoding, limits) from None


def _record(scan: Any, text: str, row: int) -> dict[str, Any]:
    """The object that a line is; `scan` tells where it ends."""
    try:
        record, end = scan(text, 0)
    except (ValueError, RecursionError, StopIteration):
        # The decoder's error holds the whole line.
        raise faults.bad_json(row) from None
    if type(record) is not dict or end != len(text):
        raise faults.bad_json(row)
    return record


class _TwiceError(Exception):
    """An object names a member twice."""


def _refuse_twice(text: str, row: int) -> None:
    """Refuse a line where an object names a member twice.

    Python's decoder keeps the last of the two. It is asked only where the text may have more
    members than came out of it: texts that hold a quote and a colon, blanks before colons.
    """
    try:
        json.loads(text, object_pairs_hook=_once)
    except _TwiceError:
        raise faults.bad_json(row, "names a field twice") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _TwiceError
    return members


def _refuse_values(text: str, row: int, limits: Limits) -> None:
    """Refuse a line that would take a hundred times its length in memory; prose has commas too."""
    if _STRING.sub("", text).count(",") > limits.record_values:
        raise faults.too_many_values(row, limits.record_values)


def _check_text(value: Any, row: int) -> None:
    """Refuse what is no text; the value is no deeper than what `Shape.learn` takes."""
    match value:
        case dict():
            for name, item in value.items():
                _check_text(name, row)
                _check_text(item, row)
        case list():
            for item in value:
                _check_text(item, row)
        case str() if "\0" in value:
            raise faults.nul_byte(row)
        case str() if not is_text(value):
            raise faults.bad_json(row, "holds half of a surrogate pair")


def _refuse_constant(_: str) -> NoReturn:
    """NaN and Infinity are not JSON."""
    msg = "not JSON"
    raise ValueError(msg)
