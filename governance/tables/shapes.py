"""The shape of nested records, learned from all of them, and their values spread into columns.

A record is a JSON object in Python. What is spread has its numbers as bytes, the ASCII that they
are written in: no other value is of that type, and none loses a digit. Every place where a
record has a value of its own becomes a column, named and written as `nesting` says. Outside lists a
cell is the value as text, None for null and for what is not there: the flat form has one word for
both. Under lists nothing is lost but the order of an object's members.

A null where other records have a list is the text `null` in the columns under it; one where others
have an object gets a column of its own only under a list, where the cells can tell it from nothing.
"""

from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring
from typing import Any, Final

from governance.tables import faults
from governance.tables.header import shown
from governance.tables.limits import Limits
from governance.tables.nesting import ABSENT, NULL, Mark, escaped
from governance.tables.table import ColumnKind

# Intermediate objects make no column, yet take memory: no more of them than this for each column.
_PLACES_PER_COLUMN: Final = 4

# Only the two booleans are equal to these keys: every other value is a string or None.
_BOOLEANS: Final[dict[Any, str]] = {True: "true", False: "false"}
_WORDS: Final[dict[Any, str]] = {None: NULL, True: "true", False: "false"}
_NAMED: Final = frozenset({type(None), bool})


class _Nothing:
    """What stands where a record has no value."""


NOTHING: Final = _Nothing()


_KINDS: Final[dict[type, ColumnKind | None]] = {
    type(None): None,
    str: ColumnKind.TEXT,
    bool: ColumnKind.BOOLEAN,
    int: ColumnKind.INTEGER,
    float: ColumnKind.REAL,
}
SCALARS: Final = frozenset(_KINDS)


class TooManyValuesError(Exception):
    """The lists of these records hold more values than are spread at a time."""


class Place:
    """A place in the records, and the columns that its values make.

    Attributes:
        types: of the scalars seen here.
        members: the places under it, where it was an object.
        element: the place of its elements, where it was a list.
        hollow: whether it was an object without members.
        own: the number of the column of its scalars.
        empty: the number of the column that marks an object without members.
        under: the numbers of all columns of its elements.
    """

    __slots__ = ("element", "empty", "hollow", "members", "own", "types", "under")

    def __init__(self) -> None:
        self.types: set[type] = set()
        self.members: dict[str, Place] = {}
        self.element: Place | None = None
        self.hollow = False
        self.own: int | None = None
        self.empty: int | None = None
        self.under: range = range(0)

    @property
    def nested(self) -> bool:
        """Whether anything but scalars was seen here."""
        return bool(self.members or self.element or self.hollow)

    @property
    def kind(self) -> ColumnKind | None:
        """The kind of its scalars: integers and reals make reals, other mixtures text."""
        kinds = {_KINDS[of] for of in self.types} - {None}
        if len(kinds) > 1:
            reals = kinds == {ColumnKind.INTEGER, ColumnKind.REAL}
            return ColumnKind.REAL if reals else ColumnKind.TEXT
        return next(iter(kinds), None)


class Shape:
    """What records look like: first `learn` from all of them, then `name`, then `spread` them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._root = Place()
        self._places = 0
        self.columns: list[str] = []
        self.kinds: list[ColumnKind | None] = []

    def learn(self, record: dict[str, Any], row: int) -> int:
        """Take one record into account; `row` is its number.

        Returns:
            How many members all its objects have.

        Raises:
            TableError: `table.too_deep`, `table.too_many_columns`.
        """
        return self._learn(self._root, record, row, 1)

    def _learn(self, place: Place, value: dict[str, Any] | list[Any], row: int, depth: int) -> int:
        if depth > self._limits.depth:
            raise faults.too_deep(row, self._limits.depth)
        if isinstance(value, list):
            count = 0
            if place.element is None:
                place.element = self._place()
            element = place.element
            for item in value:
                of = type(item)
                if of is dict or of is list:
                    count += self._learn(element, item, row, depth + 1)
                else:
                    element.types.add(of)
            return count
        count = len(value)
        place.hollow |= not count
        members = place.members
        for name, item in value.items():
            member = members.get(name)
            if member is None:
                member = members[name] = self._place()
            of = type(item)
            if of is dict or of is list:
                count += self._learn(member, item, row, depth + 1)
            else:
                member.types.add(of)
        return count

    def _place(self) -> Place:
        self._places += 1
        if self._places > _PLACES_PER_COLUMN * self._limits.columns:
            raise faults.too_many_columns(self._limits.columns)
        return Place()

    def name(self) -> None:
        """Give every place its columns. Only now are `columns`, as written, and `kinds` known.

        Raises:
            TableError: `table.blank_header`.
        """
        for name, member in self._root.members.items():
            self._name(member, self._member("", name), under_list=False)

    def _member(self, path: str, name: str) -> str:
        seen = shown(name)
        if not seen:
            raise faults.blank_header(len(self.columns) + 1)
        return f"{path}.{escaped(seen)}" if path else escaped(seen)

    def _name(self, place: Place, path: str, *, under_list: bool, is_element: bool = False) -> None:
        values = place.types - {type(None)}
        null_object = under_list and place.element is None and type(None) in place.types
        if values or null_object or not place.nested:
            place.own = self._column(path, ColumnKind.TEXT if under_list else place.kind)
        if place.hollow and not is_element:
            place.empty = self._column(
                path + Mark.EMPTY.value, ColumnKind.TEXT if under_list else ColumnKind.BOOLEAN
            )
        for name, member in place.members.items():
            self._name(member, self._member(path, name), under_list=under_list)
        if place.element is not None:
            first, element = len(self.columns), path + Mark.LIST.value
            self._name(place.element, element, under_list=True, is_element=True)
            if len(self.columns) == first:  # nothing but empty objects
                place.element.own = self._column(element, ColumnKind.TEXT)
            place.under = range(first, len(self.columns))

    def _column(self, path: str, kind: ColumnKind | None) -> int:
        self.columns.append(path)
        self.kinds.append(kind)
        return len(self.columns) - 1

    def spread(self, records: Sequence[dict[str, Any]]) -> list[list[str | None]]:
        """The cells of every column, in the order of `columns`; each of the records' length.

        Raises:
            TooManyValuesError: spread fewer records at a time.
        """
        out: list[list[str | None]] = [[] for _ in self.columns]
        room = _Room(self._limits.record_values)
        for name, member in self._root.members.items():
            if member.own is not None and not member.nested:
                out[member.own] = cells([record.get(name) for record in records])
            else:
                _spread(member, [record.get(name, NOTHING) for record in records], out, room)
        return out


class _Room:
    """How many more values under lists may be written."""

    def __init__(self, values: int) -> None:
        self._left = values

    def take(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise TooManyValuesError


def _spread(place: Place, values: list[Any], out: list[list[str | None]], room: _Room) -> None:
    """Write the cells of all columns at and under a place that is under no list."""
    if place.own is not None:
        out[place.own] = cells(values)
    if place.empty is not None:
        out[place.empty] = ["true" if value == {} else None for value in values]
    for name, member in place.members.items():
        _spread(member, _of_member(name, values), out, room)
    if place.element is not None:
        for column, texts in _elements(place, values, room):
            out[column] = grouped(texts, values, None)


def cells(values: list[Any]) -> list[str | None]:
    """Scalars as cells; None for all else."""
    if {str, type(None)}.issuperset(map(type, values)):
        return values
    return [
        value
        if type(value) is str
        else value.decode()
        if type(value) is bytes
        else _BOOLEANS[value]
        if type(value) is bool
        else None
        for value in values
    ]


def _of_member(name: str, values: list[Any]) -> list[Any]:
    return [value.get(name, NOTHING) if type(value) is dict else NOTHING for value in values]


def _elements(place: Place, values: list[Any], room: _Room) -> Iterator[tuple[int, list[str]]]:
    """For each column of a place's elements, their texts, those of all values in one list."""
    items = [item for value in values if type(value) is list for item in value]
    room.take(len(items) * len(place.under))
    texts: dict[int, list[str]] = {}
    if place.element is not None:
        _texts(place.element, items, texts, room)
    yield from texts.items()


def _texts(place: Place, values: list[Any], out: dict[int, list[str]], room: _Room) -> None:
    """As `_spread`, under a list: JSON texts instead of cells."""
    if place.own is not None:
        out[place.own] = json_texts(values)
    if place.empty is not None:
        out[place.empty] = ["true" if value == {} else ABSENT for value in values]
    for name, member in place.members.items():
        _texts(member, _of_member(name, values), out, room)
    if place.element is not None:
        for column, texts in _elements(place, values, room):
            out[column] = [text or ABSENT for text in grouped(texts, values, ABSENT)]


def json_texts(values: list[Any]) -> list[str]:
    """Scalars as JSON texts, numbers as written; the mark of nothing for all else."""
    return [
        encode_basestring(value)
        if type(value) is str
        else value.decode()
        if type(value) is bytes
        else _WORDS[value]
        if type(value) in _NAMED
        else ABSENT
        for value in values
    ]


def grouped(texts: Sequence[str], values: Sequence[Any], absent: str | None) -> list[str | None]:
    """The texts of all lists' elements as one JSON text a list: what is null stays so."""
    made: list[str | None] = []
    start = 0
    for value in values:
        if type(value) is list:
            end = start + len(value)
            made.append(f"[{','.join(texts[start:end])}]")
            start = end
        else:
            made.append(NULL if value is None else absent)
    return made
