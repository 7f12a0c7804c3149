r"""Nested data as columns: what a column's name says of its place, and the leaves of a list's cell.

A name is a path: `person.name` is the member `name` of the object `person`. `[]` stands for each
element of a list, so `orders[].sku` is the member `sku` of every order. `{}` ends the path of an
object without members. A member's own dots, backslashes, `[]` and `{}` are written with a backslash
before them (`a\.b`), so two places never share a name.

The cell of a column under a list is a JSON text: the lists that lead there, and in them the leaves,
numbers as they were written. `{}` in it marks an element that has nothing at this place, and `null`
one whose value is null: `["A1",{},null]`. A cell that is no such text, as in a file that came with
`[]` in its header, is one leaf as it stands.
"""

import json
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Final, NoReturn

NULL: Final = "null"
ABSENT: Final = "{}"


class Mark(Enum):
    """A step of a path that is no member's name."""

    LIST = "[]"
    EMPTY = "{}"


Step = str | Mark

_KEY: Final = r"(?:[^\\.\[{]|\\.|\[(?!\])|\{(?!\}))+"
_PATH: Final = re.compile(rf"{_KEY}(?:\[\])*(?:\.{_KEY}(?:\[\])*)*(?:\{{\}})?", re.DOTALL)
_STEP: Final = re.compile(rf"({_KEY})|(\[\])|(\{{\}})", re.DOTALL)
_SPECIAL: Final = re.compile(r"[\\.]|\[(?=\])|\{(?=\})")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_BOOLEANS: Final = {True: "true", False: "false"}


def escaped(member: str) -> str:
    """A member's name as it stands in a path."""
    return _SPECIAL.sub(r"\\\g<0>", member)


@lru_cache(maxsize=8192)
def steps(name: str) -> tuple[Step, ...]:
    """The path that a column's name writes; a name that is no path is one member of that name."""
    if not _PATH.fullmatch(name):
        return (name,)
    return tuple(_step(*found.groups()) for found in _STEP.finditer(name))


def _step(member: str | None, element: str | None, empty: str | None) -> Step:
    if element or empty:
        return Mark.LIST if element else Mark.EMPTY
    return _ESCAPED.sub(r"\1", member or "")


def is_list(name: str) -> bool:
    """Whether a column of this name is under a list, so that its cells are JSON texts of leaves."""
    return "[]" in name and Mark.LIST in steps(name)


def leaves(cell: str) -> list[str | None]:
    """The leaves of a list's cell, in order; None where a leaf is null.

    Numbers are as written, booleans `true` and `false`. A cell that is no list of leaves is one.
    """
    found = _parsed(cell, _plain)
    if found is None:
        return [] if cell == NULL else [cell]
    out: list[str | None] = []
    _collect(found, out)
    return out


def with_leaves(cell: str, leaves: Sequence[str | None]) -> str:
    """The cell with other leaves in the same places.

    A number stays bare if what takes its place is a number, a boolean if it is a boolean; all else
    is written as a text, None as null.

    Raises:
        ValueError: not as many leaves as the cell has.
    """
    found = marked(cell)
    if found is None:
        old: list[str | None] = [] if cell == NULL else [cell]
        made = cell if not old else NULL if not leaves or leaves[0] is None else leaves[0]
        if len(leaves) != len(old):
            raise ValueError("the cell has another number of leaves")
        return made
    given = iter(leaves)
    try:
        text = _written(found, given)
    except StopIteration:
        raise ValueError("the cell has more leaves") from None
    if next(given, given) is not given:
        raise ValueError("the cell has fewer leaves")
    return text


def marked(cell: str) -> list[Any] | None:
    """The lists and leaves that a cell writes, numbers as `Number`, `{}` where there is nothing.

    None where the cell writes anything else.
    """
    return _parsed(cell, _marked)


class Number(str):
    """A JSON number as it is written."""

    __slots__ = ()


def is_number(text: str) -> bool:
    """Whether a text may stand bare in JSON as a number (RFC 8259, section 6)."""
    return _NUMBER.fullmatch(text) is not None


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


_plain: Final = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=_refuse_constant
).decode
_marked: Final = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=_refuse_constant
).decode


def _parsed(cell: str, decode: Any) -> list[Any] | None:
    """The lists and leaves that a cell writes; None if it writes anything else."""
    if not cell.startswith("["):
        return None
    try:
        found = decode(cell)
        sound = _sound(found, escapes="\\u" in cell)
    except (ValueError, RecursionError):
        return None
    return found if sound else None


def _sound(items: list[Any], *, escapes: bool) -> bool:
    """Whether every object is empty and every text is text."""
    for item in items:
        match item:
            case list():
                if not _sound(item, escapes=escapes):
                    return False
            case dict():
                if item:
                    return False
            case str() if escapes and not is_text(item):
                return False
    return True


def is_text(value: str) -> bool:
    """Whether a JSON string is text: no NUL, no half of a surrogate pair."""
    if "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _collect(items: list[Any], out: list[str | None]) -> None:
    for item in items:
        match item:
            case str() | None:
                out.append(item)
            case list():
                _collect(item, out)
            case bool():
                out.append(_BOOLEANS[item])


def _written(items: list[Any], given: Iterator[str | None]) -> str:
    parts = []
    for item in items:
        match item:
            case list():
                parts.append(_written(item, given))
            case dict():
                parts.append(ABSENT)
            case _:
                parts.append(_leaf(item, next(given)))
    return f"[{','.join(parts)}]"


def _leaf(old: Any, new: str | None) -> str:
    if new is None:
        return NULL
    if type(old) is Number and is_number(new):
        return new
    if type(old) is bool and new in {"true", "false"}:
        return new
    quoted: str = encode_basestring(new)
    return quoted
