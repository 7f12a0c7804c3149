"""Arrow arrays, nested or not, as columns of cells: the places of `nesting`, the texts of Parquet.

Integers, decimals, dates and times print as Arrow casts them, floats as Python's shortest
round-trip form. A struct's fields are members; a map is a list of objects with `key` and `value`.
Parquet has no field that is not there: what is missing is null. A null list is the text `null`, a
null struct is null in each of its fields.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from governance.tables import faults
from governance.tables.limits import Limits
from governance.tables.nesting import NULL, Mark, escaped, is_number
from governance.tables.table import ColumnKind

# What a value under a list takes beside its characters, so that a chunk of many ends early.
_ELEMENT_CHARACTERS: Final = 32

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A column as the file stores it: its path, what it holds, and whether it is under a list."""

    path: str
    type: pa.DataType
    kind: ColumnKind
    in_list: bool

    @property
    def is_text(self) -> bool:
        """Whether its values are texts in the file."""
        return is_text(self.type)


def leaves(schema: pa.Schema, limits: Limits) -> list[Leaf]:
    """The leaves of a schema, in the order in which Parquet stores their columns.

    Raises:
        TableError: `table.unsupported_type`, `table.too_deep`.
    """
    found: list[Leaf] = []
    for field in schema:
        _gather(field.type, field.name, found, limits, depth=1, in_list=False)
    return found


def _gather(
    of: Any, path: str, found: list[Leaf], limits: Limits, *, depth: int, in_list: bool
) -> None:
    if depth > limits.depth:
        raise faults.too_deep(0, limits.depth)
    if pa.types.is_struct(of):
        for field in of:
            below = f"{path}.{escaped(field.name)}"
            _gather(field.type, below, found, limits, depth=depth + 1, in_list=in_list)
    elif pa.types.is_map(of):
        for name, below in (("key", of.key_type), ("value", of.item_type)):
            place = f"{path}{Mark.LIST.value}.{name}"
            _gather(below, place, found, limits, depth=depth + 2, in_list=True)
    elif _is_list(of):
        place = path + Mark.LIST.value
        _gather(of.value_type, place, found, limits, depth=depth + 1, in_list=True)
    else:
        kind = _kind(of, len(found) + 1)
        found.append(Leaf(path, of, ColumnKind.TEXT if in_list else kind, in_list))


def _is_list(of: Any) -> bool:
    return pa.types.is_list(of) or pa.types.is_large_list(of) or pa.types.is_fixed_size_list(of)


def _kind(kind: pa.DataType, column: int) -> ColumnKind:
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type, column)
    if pa.types.is_integer(kind):
        return ColumnKind.INTEGER
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return ColumnKind.REAL
    if pa.types.is_boolean(kind):
        return ColumnKind.BOOLEAN
    timed = pa.types.is_temporal(kind) and not (
        pa.types.is_duration(kind) or pa.types.is_interval(kind)
    )
    if is_text(kind) or timed or pa.types.is_null(kind):
        return ColumnKind.TEXT
    raise faults.unsupported_type(column, str(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether the values of a type are texts."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def fitting(batch: pa.RecordBatch, start: int, first: int, limits: Limits) -> int:
    """How many rows from `start` on stay within the bounds of a chunk; at least one.

    Args:
        batch: rows whose texts are still dictionaries.
        start: index of the first row that is not handed out yet.
        first: its number in the table, to name it.
        limits: `chunk_characters` and `record_values` count here.

    Raises:
        TableError: `table.too_many_values`: the first row alone holds more.
    """
    rows = batch.num_rows - start
    characters, values = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    for column in batch.columns:
        if not pa.types.is_nested(column.type) and not pa.types.is_dictionary(column.type):
            continue  # a number or a date in each row
        more, held = _weights(column.slice(start), in_list=False)
        characters += more
        values += held
    if rows and values[0] > limits.record_values:
        raise faults.too_many_values(first, limits.record_values)
    over = np.searchsorted(np.cumsum(characters), limits.chunk_characters, side="right")
    most = np.searchsorted(np.cumsum(values), limits.record_values, side="right")
    return max(1, int(min(over, most)))


def _weights(array: Any, *, in_list: bool) -> tuple[Numbers, Numbers]:
    """Characters and values under lists of each row, no text unpacked; both of shape (rows,)."""
    if pa.types.is_struct(array.type):
        characters, values = np.zeros(len(array), np.int64), np.zeros(len(array), np.int64)
        for place in range(array.type.num_fields):
            more, held = _weights(pc.struct_field(array, [place]), in_list=in_list)
            characters += more
            values += held
        return characters, values
    array = _as_list(array)
    if _is_list(array.type):
        inner = _weights(array.flatten(), in_list=True)
        ends = np.cumsum(_counts(array))
        characters, values = (
            np.diff(np.concatenate([[0], np.cumsum(of)])[np.concatenate([[0], ends])])
            for of in inner
        )
        # An empty list is a value too: what it takes is what its cell takes.
        return characters + 2, values + int(in_list)
    held = np.full(len(array), int(in_list), np.int64)
    if pa.types.is_dictionary(array.type) and is_text(array.type):
        return _lengths(array) + held * _ELEMENT_CHARACTERS, held
    return held * _ELEMENT_CHARACTERS, held


def _as_list(array: Any) -> Any:
    """A map as the list of structs that it is; all else as it is."""
    if not pa.types.is_map(array.type):
        return array
    entry = pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])
    return array.cast(pa.list_(entry))


def _counts(array: Any) -> Numbers:
    """Elements of each list, 0 of a null one; shape (rows,)."""
    counts = pc.fill_null(pc.list_value_length(array).cast(pa.int64()), 0)
    known: Numbers = counts.to_numpy(zero_copy_only=False).astype(np.int64)
    return known


def _lengths(column: Any) -> Numbers:
    """Bytes of each text of a dictionary array, without unpacking one; shape (rows,)."""
    lengths = np.append(pc.binary_length(column.dictionary).to_numpy(zero_copy_only=False), 0)
    places = pc.fill_null(column.indices.cast(pa.int64()), len(lengths) - 1)
    known: Numbers = np.nan_to_num(lengths[places.to_numpy()]).astype(np.int64)
    return known


def columns(array: Any, first: int, limits: Limits) -> Iterator[list[str | None]]:
    """The cells of every leaf of a column, in the order of `leaves`.

    Args:
        array: some rows of a column of the file.
        first: number of its first row.
        limits: `line_characters` bounds one text.

    Raises:
        TableError: `table.cell_too_long`, `table.undecodable`, `table.nul_byte`, with the first row
            that holds the value.
    """
    if pa.types.is_nested(array.type):
        yield from _cells(array, np.arange(first, first + len(array)), limits)
    else:
        yield _texts(array, range(first, first + len(array)), limits)


def _cells(array: Any, rows: Numbers, limits: Limits) -> Iterator[list[str | None]]:
    """As `columns`; `rows` are the numbers of the rows, shape (len(array),)."""
    if pa.types.is_struct(array.type):
        for place in range(array.type.num_fields):
            yield from _cells(pc.struct_field(array, [place]), rows, limits)
        return
    array = _as_list(array)
    if _is_list(array.type):
        for texts in _elements(array, rows, limits):
            yield list(texts)
    else:
        yield _texts(array, rows, limits)


def _elements(array: Any, rows: Numbers, limits: Limits) -> Iterator[list[str]]:
    """For each leaf under a list, the JSON text of every list."""
    lengths = pc.list_value_length(array).to_pylist()
    inner = np.repeat(rows, _counts(array))
    for texts in _json(array.flatten(), inner, limits):
        made = []
        start = 0
        for length in lengths:
            if length is None:
                made.append(NULL)
                continue
            made.append(f"[{','.join(texts[start : start + length])}]")
            start += length
        yield made


def _json(array: Any, rows: Numbers, limits: Limits) -> Iterator[list[str]]:
    """As `_cells`, under a list: JSON texts instead of cells."""
    if pa.types.is_struct(array.type):
        for place in range(array.type.num_fields):
            yield from _json(pc.struct_field(array, [place]), rows, limits)
        return
    array = _as_list(array)
    if _is_list(array.type):
        yield from _elements(array, rows, limits)
        return
    texts = _texts(array, rows, limits)
    match _kind(array.type, 0):
        case ColumnKind.TEXT:
            yield [NULL if text is None else encode_basestring(text) for text in texts]
        case ColumnKind.BOOLEAN:
            yield [text or NULL for text in texts]
        case _:  # JSON has no NaN and no infinity
            yield [
                NULL if text is None else text if is_number(text) else encode_basestring(text)
                for text in texts
            ]


def _texts(column: Any, rows: Sequence[int] | Numbers, limits: Limits) -> list[str | None]:
    """The values of one leaf as text; `rows` are the numbers of their rows."""
    if not pa.types.is_dictionary(column.type) and is_text(column.type):
        column = column.cast(pa.large_string()).dictionary_encode()
    if pa.types.is_dictionary(column.type):
        # The dictionary is that of a whole row group; only what stands in these rows is decoded.
        used = column.indices.drop_null().unique()
        values = column.dictionary.take(used)
        texts = _checked(values, used, column, rows, limits)
        known: dict[int | None, str | None] = {None: None}
        known.update(zip(used.to_pylist(), texts, strict=True))
        return [known[place] for place in column.indices.to_pylist()]
    if pa.types.is_floating(column.type):
        return [None if value is None else repr(value) for value in column.to_pylist()]
    written: list[str | None] = column.cast(pa.string()).to_pylist()
    return written


def _checked(
    values: Any, used: Any, column: Any, rows: Sequence[int] | Numbers, limits: Limits
) -> list[str | None]:
    """The texts of the dictionary values in use."""
    if not is_text(values.type):
        return _texts(values, rows, limits)

    def row(wrong: int) -> int:
        return int(rows[int(pc.index(column.indices, used[wrong]).as_py())])

    too_long = pc.greater(pc.binary_length(values), pa.scalar(limits.line_characters))
    long = pc.index(too_long, True).as_py()
    if long >= 0:
        raise faults.cell_too_long(row(long), limits.line_characters)
    nul = pc.index(pc.match_substring(values, "\0"), True).as_py()
    if nul >= 0:
        raise faults.nul_byte(row(nul))
    texts: list[str | None] = []
    try:
        texts.extend(value.as_py() for value in values)
    except UnicodeDecodeError:
        raise faults.undecodable(row(len(texts)), "UTF-8") from None
    return texts
