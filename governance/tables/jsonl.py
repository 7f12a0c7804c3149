"""JSON Lines: one flat object a line (RFC 8259), numbers kept as they are written.

The columns are all names that occur, in order of first appearance, so the file is parsed once
before it is read: a bad line is found before anything was made of the good ones.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from governance.tables import faults, header
from governance.tables.encoding import BrokenTextError, Encoding, Lines, resolve
from governance.tables.limits import Limits
from governance.tables.source import Source
from governance.tables.table import Chunk, ColumnKind, Format, TableReader

# json.loads accepts the escape of a NUL and of half a surrogate pair; neither is text.
_ESCAPE: Final = re.compile(r"\\u(?:0000|[dD][89abAB])")


class _Integer(str):
    """An integer as written."""

    __slots__ = ()


class _Real(str):
    """A number with a fraction or an exponent, as written."""

    __slots__ = ()


# Only the two booleans are equal to these keys: every other value is a string or None.
_BOOLEANS: Final[dict[Any, str]] = {True: "true", False: "false"}

_Shape = tuple[tuple[str, ...], tuple[type, ...]]
_SHAPES: Final = 4096

_KINDS: Final[dict[type, ColumnKind | None]] = {
    type(None): None,
    str: ColumnKind.TEXT,
    bool: ColumnKind.BOOLEAN,
    _Integer: ColumnKind.INTEGER,
    _Real: ColumnKind.REAL,
}


def open_jsonl(source: Source, encoding: str | None, limits: Limits) -> TableReader:
    """Open JSON Lines.

    Raises:
        TableError: `table.bad_json`, `table.nested`, `table.nul_byte` with the row; the encoding's
            and the header's faults.
    """
    found = resolve(source, encoding, limits)
    kinds: dict[str, ColumnKind | None] = {}
    shapes: set[_Shape] = set()
    for record in _records(source, found, limits, _Integer, _Real):
        shape = tuple(record), tuple(map(type, record.values()))
        # Most rows are of a few shapes; the rest is looked at once and forgotten.
        if shape not in shapes:
            _widen(kinds, shape)
            if len(shapes) < _SHAPES:
                shapes.add(shape)
            if len(kinds) > limits.columns:
                raise faults.too_many_columns(limits.columns)
    if not kinds:
        raise faults.empty()
    names = header.checked(list(kinds), limits)
    columns = dict(zip(kinds, names, strict=True))

    def read(size: int) -> Iterator[Chunk]:
        return _chunks(source, found, columns, limits, size)

    shown = dict(zip(names, kinds.values(), strict=True))
    return TableReader(Format.JSONL, found, names, shown, read)


def _widen(kinds: dict[str, ColumnKind | None], shape: _Shape) -> None:
    """Let each column's kind cover one more row: integers and reals make reals, others text."""
    for name, of in zip(*shape, strict=True):
        before, kind = kinds.get(name), _KINDS[of]
        if before is None or kind is None or before is kind:
            kinds[name] = before or kind
        elif {before, kind} == {ColumnKind.INTEGER, ColumnKind.REAL}:
            kinds[name] = ColumnKind.REAL
        else:
            kinds[name] = ColumnKind.TEXT


def _chunks(
    source: Source, encoding: Encoding, columns: dict[str, str], limits: Limits, size: int
) -> Iterator[Chunk]:
    rows: list[dict[str, Any]] = []
    first, held = 1, 0
    for record in _records(source, encoding, limits, str, str):
        rows.append(record)
        held += sum(len(value) for value in record.values() if isinstance(value, str))
        if len(rows) >= size or held > limits.chunk_characters:
            yield _chunk(first, columns, rows)
            first, held = first + len(rows), 0
            rows = []
    if rows:
        yield _chunk(first, columns, rows)


def _chunk(first: int, columns: dict[str, str], rows: list[dict[str, Any]]) -> Chunk:
    turned = {name: [record.get(written) for record in rows] for written, name in columns.items()}
    for values in turned.values():
        if bool in set(map(type, values)):
            values[:] = [_BOOLEANS.get(value, value) for value in values]
    return Chunk(first, turned)


def _records(
    source: Source,
    encoding: Encoding,
    limits: Limits,
    integer: type[str],
    real: type[str],
) -> Iterator[dict[str, Any]]:
    """Every line that is not blank; its values are str, `integer`, `real`, bool or None."""
    decode = json.JSONDecoder(
        object_pairs_hook=_Pairs,
        parse_int=integer,
        parse_float=real,
        parse_constant=_refuse_constant,
    ).decode
    row = 0
    try:
        for line in Lines(source, encoding, limits):
            text = line.strip(" \t\r\n")
            if not text:
                continue
            row += 1
            yield _record(decode, text, row)
    except BrokenTextError as error:
        raise error.at(row + 1, encoding, limits) from None


class _Pairs(list[tuple[str, Any]]):
    """An object as pairs, so that a name given twice is seen."""


def _record(decode: Any, text: str, row: int) -> dict[str, Any]:
    try:
        pairs = decode(text)
    except (ValueError, RecursionError):
        # The decoder's error holds the whole line.
        raise faults.bad_json(row) from None
    if type(pairs) is not _Pairs:
        raise faults.bad_json(row)
    record = dict(pairs)
    if len(record) != len(pairs):
        raise faults.bad_json(row, "names a field twice")
    if not _KINDS.keys() >= set(map(type, record.values())):
        cells = list(map(type, record.values()))
        raise faults.nested(next(i for i, of in enumerate(cells, 1) if of not in _KINDS), row)
    if "\\u" in text and _ESCAPE.search(text):
        _check_text(record, row)
    return record


def _check_text(record: dict[str, Any], row: int) -> None:
    for part in (*record, *(value for value in record.values() if isinstance(value, str))):
        if "\0" in part:
            raise faults.nul_byte(row)
        try:
            part.encode()
        except UnicodeEncodeError:
            raise faults.bad_json(row, "holds half of a surrogate pair") from None


def _refuse_constant(_: str) -> NoReturn:
    """NaN and Infinity are not JSON."""
    msg = "not JSON"
    raise ValueError(msg)
