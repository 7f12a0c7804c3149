"""Rows of path columns as nested JSON objects: the way back from `shapes`.

Each column's cells go to the place that its name writes (`nesting.steps`). Outside lists a cell of
None is null, and an object whose values are all null is null itself; a list is left out where its
cells are None, null where they are the text `null`. A column that was dropped is missing from
every object. A cell under a list that holds no list, because it was replaced whole, stands in each
element.
"""

from collections.abc import Iterator, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any, Final

from governance.tables import faults
from governance.tables.nesting import ABSENT, NULL, Mark, Number, Step, marked, steps

_BOOLEANS: Final = {True: "true", False: "false"}


class _Place:
    """A place in the objects and the columns, by number from 1, that fill it."""

    def __init__(self) -> None:
        self.own: int | None = None
        self.empty: int | None = None
        self.members: dict[str, _Place] = {}
        self.element: _Place | None = None

    def at(self, step: Step) -> "_Place":
        """The place one step on."""
        if step is Mark.LIST:
            self.element = self.element or _Place()
            return self.element
        return self.members.setdefault(str(step), _Place())

    def columns(self) -> Iterator[int]:
        """The numbers of all columns here and under it."""
        yield from (column for column in (self.own, self.empty) if column is not None)
        for member in self.members.values():
            yield from member.columns()
        if self.element is not None:
            yield from self.element.columns()

    @property
    def only_lists(self) -> bool:
        """Whether nothing but lists stands here, which may be left out."""
        return self.own is None and self.empty is None and not self.members


class Rebuilder:
    """Rebuilds objects of the columns of these names.

    Raises:
        TableError: `table.nesting_conflict`: two names write one place.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._root = _Place()
        for column, name in enumerate(names, start=1):
            *path, last = steps(name)
            place = self._root
            for step in path:
                place = place.at(step)
            if last is Mark.EMPTY:
                taken, place.empty = place.empty, column
            else:
                place = place.at(last)
                taken, place.own = place.own, column
            if taken is not None:
                raise faults.nesting_conflict(column)

    def objects(self, columns: Sequence[Sequence[Any]]) -> list[str]:
        """One JSON object a row.

        Args:
            columns: outside lists, JSON texts or None; under lists, cells.

        Raises:
            TableError: `table.nesting_conflict`: two columns of a row claim one place, or lists
                that belong together differ in length.
        """
        filled: dict[int, Sequence[Any]] = dict(enumerate(columns, start=1))
        rows = len(columns[0])
        return [text or ABSENT for text in _object(self._root, filled, rows, whole=True)]


def _value(place: _Place, columns: Mapping[int, Sequence[Any]], rows: int) -> list[str | None]:
    """The JSON text of a place that is under no list, for every row; None for null or nothing."""
    made: list[str | None] = [None] * rows
    if place.own is not None:
        made = list(columns[place.own])
    if place.members:
        made = _merged(made, _object(place, columns, rows), place)
    if place.empty is not None:
        marks = columns[place.empty]
        made = _merged(made, [None if mark is None else ABSENT for mark in marks], place)
    if place.element is not None:
        items = {column: list(map(_listed, columns[column])) for column in place.element.columns()}
        made = _merged(made, _lists(place.element, items, rows), place)
    return made


def _object(
    place: _Place, columns: Mapping[int, Sequence[Any]], rows: int, *, whole: bool = False
) -> list[str | None]:
    """The objects of a place's members; None where no member has a value, unless `whole`."""
    members = []
    for name, member in place.members.items():
        key = encode_basestring(name) + ":"
        # What a member without a value adds: nothing, where it is a list.
        missing = "" if member.only_lists else key + NULL
        members.append((key, missing, _value(member, columns, rows)))
    made: list[str | None] = []
    for row in range(rows):
        parts = []
        found = whole
        for key, missing, texts in members:
            text = texts[row]
            if text is not None:
                found = True
                parts.append(key + text)
            elif missing:
                parts.append(missing)
        made.append(f"{{{','.join(parts)}}}" if found else None)
    return made


def _merged(one: list[str | None], other: list[str | None], place: _Place) -> list[str | None]:
    """Of two texts for each place, the one that is there; null gives way."""
    made = []
    for first, second in zip(one, other, strict=True):
        if first is None or second is None:
            made.append(second if first is None else first)
        elif NULL in {first, second}:
            made.append(first if second == NULL else second)
        else:
            raise faults.nesting_conflict(max(place.columns()))
    return made


class _Nothing(dict[str, Any]):
    """What a cell of None holds under a list."""


def _listed(cell: str | None) -> Any:
    """A cell under a list as the values it writes; a text that is no list stands for itself."""
    if cell is None:
        return _Nothing()
    if cell == NULL:
        return None
    found = marked(cell)
    return cell if found is None else found


def _lists(element: _Place, items: Mapping[int, Sequence[Any]], places: int) -> list[str | None]:
    """The JSON text of every list, from the columns of its elements; None where there is none."""
    lengths: list[int | None] = []
    spread: dict[int, list[Any]] = {column: [] for column in items}
    for place in range(places):
        here = {column: values[place] for column, values in items.items()}
        length = _length(here)
        lengths.append(length)
        for column, value in here.items():
            if type(value) is list:
                spread[column] += value
            elif (length or 0) > 0:
                spread[column] += [_Nothing() if value is None else value] * (length or 0)
    texts = _item(element, spread, sum(length for length in lengths if length and length > 0))
    made: list[str | None] = []
    start = 0
    for length in lengths:
        if length is None or length < 0:
            made.append(None if length is None else NULL)
            continue
        made.append(f"[{','.join(text or ABSENT for text in texts[start : start + length])}]")
        start += length
    return made


def _length(values: Mapping[int, Any]) -> int | None:
    """The length of the list that these columns write together; None for no list, -1 for null."""
    lengths = {len(value) for value in values.values() if type(value) is list}
    if len(lengths) > 1:
        raise faults.nesting_conflict(max(values))
    if lengths:
        return lengths.pop()
    if not all(value is None or isinstance(value, dict) for value in values.values()):
        return 1  # texts that replaced whole cells, and no word of how many there were
    return -1 if any(value is None for value in values.values()) else None


def _item(place: _Place, items: Mapping[int, Sequence[Any]], places: int) -> list[str | None]:
    """The JSON text of a place under a list, for every element; None where there is nothing."""
    made: list[str | None] = [None] * places
    if place.own is not None:
        made = [_leaf(value) for value in items[place.own]]
    if place.members:
        keys = [
            (encode_basestring(name) + ":", _item(member, items, places))
            for name, member in place.members.items()
        ]
        objects: list[str | None] = []
        for index in range(places):
            parts = [key + text for key, texts in keys if (text := texts[index]) is not None]
            objects.append(f"{{{','.join(parts)}}}" if parts else None)
        made = _merged(made, objects, place)
    if place.empty is not None:
        marks = [None if isinstance(value, dict) else ABSENT for value in items[place.empty]]
        made = _merged(made, marks, place)
    if place.element is not None:
        under = {column: items[column] for column in place.element.columns()}
        made = _merged(made, _lists(place.element, under, places), place)
    return made


def _leaf(value: Any) -> str | None:
    match value:
        case Number():
            return str(value)
        case str():
            return encode_basestring(value)
        case None:
            return NULL
        case bool():
            return _BOOLEANS[value]
        case list():  # of a file that came with these names and other cells
            return f"[{','.join(_leaf(item) or ABSENT for item in value)}]"
        case _:
            return None
