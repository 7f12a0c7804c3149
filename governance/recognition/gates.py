"""Necessary conditions of patterns: what a cell must hold before a search in it can find anything.

`conditions` reads a pattern and relaxes it to RE2 syntax. Look-arounds at its edges become the
characters that they look at, other look-arounds go, atomic groups open, back references repeat
their group: each step only ever admits more texts, so a text in which one of the conditions finds
nothing is a text in which the pattern finds nothing. They are derived and not written beside the
patterns, so that they cannot drift from them. A pattern that cannot be read has no condition and is
searched for everywhere.
"""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import regex

from governance.recognition.charsets import (
    ALNUM,
    CASELESS,
    DIGIT,
    LAST,
    NON_ASCII,
    SPACE,
    WORD,
    Set,
    inverse,
    joined,
    leading_bytes,
    size,
    written,
)

_sre: Final[Any] = importlib.import_module("re._parser")  # has no public name
_op: Final[Any] = importlib.import_module("re._constants")

_REPEATS: Final = frozenset([_op.MAX_REPEAT, _op.MIN_REPEAT, _op.POSSESSIVE_REPEAT])
_UNBOUNDED: Final = 65_535  # a repetition of at least so many is written as without end
_MOST_REPEATS: Final = 1_000  # what RE2 accepts
# Other cases of ASCII letters that are not ASCII: the dotted and dotless i, the long s, the Kelvin.
_BEYOND_ASCII: Final = {"i": (0x130, 0x131), "s": (0x17F,), "k": (0x212A,)}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a text must hold.

    Attributes:
        pattern: finds something in it, in RE2's syntax.
        least: characters that the pattern takes at least; longer ones are met more rarely.
        required: for characters that a match must have, the bytes that they may begin with in
            UTF-8, as bits: a text without any of them needs no search.
    """

    pattern: str
    least: int = 0
    required: tuple[int, ...] = ()


class _UnreadableError(Exception):
    """A construct that has no relaxation here."""


def conditions(
    pattern: regex.Pattern[str] | re.Pattern[str], *, shadowed: bool = False, whole: bool = False
) -> tuple[Condition, ...]:
    """Conditions all of which hold in every text in which `pattern` finds something.

    Args:
        pattern: a pattern of the `regex` module or of `re`.
        shadowed: the pattern reads the ASCII shadow of the text that the conditions read.
        whole: whoever searches drops a match that is a piece of a longer run of letters and digits.

    Returns:
        The conditions, that which holds most rarely first; none where the pattern cannot be read,
        which means "search everywhere".
    """
    flags = pattern.flags
    known = re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE  # the same numbers in both
    own = isinstance(pattern, regex.Pattern)
    if flags & regex.LOCALE or (own and flags & regex.VERSION1):
        return ()
    try:
        tree = _sre.parse(pattern.pattern, flags & known)
        is_ascii = bool(flags & (regex.ASCII if own else re.ASCII))
        reader = _Reader(flags, is_ascii=is_ascii, shadowed=shadowed)
        found = dict.fromkeys(reader.conditions(list(tree), whole=whole))
        return tuple(sorted(found, key=lambda condition: -condition.least))
    except (_UnreadableError, _sre.error, RecursionError, OverflowError):
        return ()


class _Reader:
    """The relaxation of one pattern's tree."""

    def __init__(self, flags: int, *, is_ascii: bool, shadowed: bool) -> None:
        self._ascii = is_ascii
        self._folds = bool(flags & re.IGNORECASE)
        self._dot_all = bool(flags & re.DOTALL)
        self._shadowed = shadowed
        self._looks = False  # whether the pattern has a positive look-around
        self._groups: dict[int, str] = {}

    def conditions(self, items: list[Any], *, whole: bool) -> list[Condition]:
        """The pattern itself, and what it looks ahead at before it begins."""
        items = _flat(items)
        first = next((i for i, item in enumerate(items) if not _negative(item, -1)), len(items))
        last = len(items)
        while last > first and _negative(items[last - 1], 1):
            last -= 1
        before, body, after = items[:first], items[first:last], items[last:]
        self._looks = any(_holds(body, _op.ASSERT, direction) for direction in (-1, 1))
        # A look-behind inside says what stands before, and the edge cannot say so as well.
        left = "" if _holds(body, _op.ASSERT, -1) else self._edge(before, r"\A")
        found: list[Condition] = []
        while body and body[0][0] is _op.ASSERT and body[0][1][0] == 1:
            ahead = _flat(list(body[0][1][1]))
            stop = len(ahead)
            while stop and _negative(ahead[stop - 1], 1):
                stop -= 1
            inner = self._sequence(ahead[:stop], first=True)
            found.append(self._condition(left + inner + self._edge(ahead[stop:], r"\z"), ahead))
            body = body[1:]
        consumed = self._sequence(body, first=True, last=True)
        right = "" if _ends_ahead(body) else self._edge(after, r"\z")
        if whole and not left and self._within_word(_outer(body, 0)):
            left = rf"(?:\A|{written(inverse(ALNUM))})"
        if whole and not right and self._within_word(_outer(body, -1)):
            right = rf"(?:\z|{written(inverse(ALNUM))})"
        return [self._condition(left + consumed + right, body), *found]

    def _condition(self, pattern: str, items: Sequence[Any]) -> Condition:
        least = sum(_width(item) for item in items)
        required = dict.fromkeys(leading_bytes(members) for members in self._required(items))
        return Condition(pattern, least, tuple(required))

    def _within_word(self, edge: Sequence[Any] | None) -> bool:
        """Whether all that may stand at an edge of the pattern is letters and digits."""
        if edge is None:
            return False
        for item in edge:
            members = self._set_of(item)
            if members is None or joined((*members, *ALNUM)) != ALNUM:
                return False
        return bool(edge)

    def _required(self, items: Sequence[Any]) -> list[Set]:
        """Sets of characters of each of which every match has one."""
        found: list[Set] = []
        for item in items:
            members = self._set_of(item)
            if members is not None:
                found.append(members)
                continue
            kind, value = item
            if kind is _op.BRANCH:
                branches = [self._required(_flat(list(branch))) for branch in value[1]]
                if all(branches):
                    narrowest = (min(branch, key=size) for branch in branches)
                    found.append(joined([run for members in narrowest for run in members]))
            elif kind in _REPEATS and value[0] == 0:
                continue
            elif kind is _op.SUBPATTERN and (value[1] or value[2]):
                continue  # case may count otherwise in it
            elif kind not in {_op.ASSERT, _op.ASSERT_NOT}:
                for child in _children(item):
                    found.extend(self._required(_flat(list(child))))
        return found

    def _edge(self, assertions: Sequence[Any], end: str) -> str:
        """The first negative look-around of a single character, as "the text's end or another"."""
        for _, (_, content) in assertions:
            items = _flat(list(content))
            if len(items) == 1:
                excluded = self._set_of(items[0])
                if excluded is not None:
                    return f"(?:{end}|{written(inverse(excluded))})"
        return ""

    def _sequence(self, items: Sequence[Any], *, first: bool = False, last: bool = False) -> str:
        items = _flat(items)
        parts = []
        for place, item in enumerate(items):
            leads = first and all(_unwritten(other) for other in items[:place])
            trails = last and all(_unwritten(other) for other in items[place + 1 :])
            parts.append(self._item(item, first=leads, last=trails))
        return "".join(parts)

    def _item(self, item: Any, *, first: bool, last: bool) -> str:  # noqa: PLR0911 - one case a construct
        kind, value = item
        characters = self._set_of(item)
        if characters is not None:
            return written(characters)
        if kind in _REPEATS:
            return self._repeated(*value)
        if kind in {_op.ASSERT, _op.ASSERT_NOT, _op.AT}:
            return self._look(kind, value, first=first, last=last)
        match kind:
            case _op.SUBPATTERN:
                return self._group(*value, first=first, last=last)
            case _op.BRANCH:
                branches = (self._sequence(b, first=first, last=last) for b in value[1])
                return f"(?:{'|'.join(branches)})"
            case _op.ATOMIC_GROUP:
                return f"(?:{self._sequence(value, first=first, last=last)})"
            case _op.GROUPREF:
                return self._groups.get(value) or _refuse()
            case _:
                return _refuse()

    def _group(
        self, number: int | None, added: int, dropped: int, content: Any, *, first: bool, last: bool
    ) -> str:
        if (added | dropped) & ~re.IGNORECASE:
            return _refuse()
        folds = self._folds
        self._folds = (folds or bool(added)) and not dropped
        inner = f"(?:{self._sequence(content, first=first, last=last)})"
        self._folds = folds
        if number is not None:
            self._groups[number] = inner
        return inner

    def _look(self, kind: Any, value: Any, *, first: bool, last: bool) -> str:
        """What a zero-width construct looks at, where nothing else is written in that place."""
        if kind is _op.AT:
            bounds = value is _op.AT_BOUNDARY and self._ascii and not self._looks
            return r"\b" if bounds else ""
        if kind is _op.ASSERT and ((value[0] == -1 and first) or (value[0] == 1 and last)):
            return f"(?:{self._sequence(value[1])})"
        return ""

    def _repeated(self, least: int, most: Any, content: Any) -> str:
        inner = f"(?:{self._sequence(content)})"
        if most is _op.MAXREPEAT or most >= _UNBOUNDED or most > _MOST_REPEATS:
            return f"{inner}{{{min(least, _MOST_REPEATS)},}}"
        return f"{inner}{{{least},{most}}}"

    def _set_of(self, item: Any) -> Set | None:
        """The characters that a construct of one character takes, or None for other constructs."""
        kind, value = item
        match kind:
            case _op.LITERAL:
                found = self._cased(((value, value),))
            case _op.NOT_LITERAL:
                found = inverse(self._cased(((value, value),)))
            case _op.ANY:
                found = ((0, LAST),) if self._dot_all else inverse(((10, 10),))
            case _op.IN:
                negated = value[0][0] is _op.NEGATE
                parts = [self._member(*member) for member in value[negated:]]
                if any(part is None for part in parts):
                    return ((0, LAST),)  # a class that only Unicode's tables know
                found = joined([run for part in parts for run in part or ()])
                found = inverse(found) if negated else found
            case _:
                return None
        return self._unshadowed(found)

    def _member(self, kind: Any, value: Any) -> Set | None:
        match kind:
            case _op.LITERAL:
                return self._cased(((value, value),))
            case _op.RANGE:
                return self._cased(((value[0], value[1]),))
            case _op.CATEGORY if self._ascii:
                name = str(value)
                for ending, members in (("DIGIT", DIGIT), ("SPACE", SPACE), ("WORD", WORD)):
                    if name.endswith(ending):
                        return inverse(members) if "NOT" in name else members
        return None

    def _cased(self, members: Set) -> Set:
        """With the other case of its letters, where case does not count."""
        if not self._folds:
            return members
        runs = list(members)
        for low, high in members:
            for first, last, shift in ((0x41, 0x5A, 32), (0x61, 0x7A, -32)):
                if low <= last and high >= first:
                    runs.append((max(low, first) + shift, min(high, last) + shift))
            if not self._ascii:
                if high >= NON_ASCII[0] and not any(a <= low <= high <= b for a, b in CASELESS):
                    return ((0, LAST),)
                for letter, others in _BEYOND_ASCII.items():
                    if low <= ord(letter) <= high or low <= ord(letter.upper()) <= high:
                        runs.extend((other, other) for other in others)
        return joined(runs)

    def _unshadowed(self, members: Set) -> Set:
        """The characters whose shadow is among `members`: all others fall on the space."""
        if not self._shadowed:
            return members
        ascii_only = [(low, min(high, 0x7F)) for low, high in members if low <= 0x7F]  # noqa: PLR2004 - the last of ASCII
        if any(low <= 0x20 <= high for low, high in members):  # noqa: PLR2004 - the space
            ascii_only.append(NON_ASCII)
        return joined(ascii_only)


def _flat(items: Sequence[Any]) -> list[Any]:
    """Items with plain groups that only wrap a sequence opened, so that edges show."""
    flat: list[Any] = []
    for item in items:
        kind, value = item
        if kind is _op.SUBPATTERN and value[0] is None and not (value[1] or value[2]):
            flat.extend(_flat(list(value[3])))
        else:
            flat.append(item)
    return flat


def _negative(item: Any, direction: int) -> bool:
    return item[0] is _op.ASSERT_NOT and item[1][0] == direction


def _unwritten(item: Any) -> bool:
    return item[0] in {_op.ASSERT_NOT, _op.AT}


def _holds(items: Sequence[Any], kind: Any, direction: int) -> bool:
    """Whether a look-around of this kind and direction stands anywhere inside."""
    for item in items:
        if item[0] is kind and item[1][0] == direction:
            return True
        if any(_holds(list(child), kind, direction) for child in _children(item)):
            return True
    return False


def _children(item: Any) -> list[Any]:
    kind, value = item
    match kind:
        case _op.SUBPATTERN:
            return [value[3]]
        case _op.BRANCH:
            return list(value[1])
        case _op.ATOMIC_GROUP:
            return [value]
        case _ if kind in _REPEATS:
            return [value[2]]
        case _:
            return []


def _ends_ahead(items: Sequence[Any]) -> bool:
    """Whether `_sequence` writes a look-ahead out at the end, so that no edge may follow."""
    for item in reversed(_flat(items)):
        kind = item[0]
        if kind is _op.ASSERT and item[1][0] == 1:
            return True
        if kind in {_op.SUBPATTERN, _op.BRANCH, _op.ATOMIC_GROUP}:
            return any(_ends_ahead(list(child)) for child in _children(item))
        if not _unwritten(item):
            return False
    return False


def _outer(items: Sequence[Any], place: int) -> list[Any] | None:
    """The constructs that a match may begin (place 0) or end (-1) with; None where unclear."""
    items = _flat(items)
    if not items:
        return None
    item = items[place]
    kind, value = item
    if kind in _REPEATS and value[0] == 0:
        return None
    if kind in _REPEATS or kind in {_op.SUBPATTERN, _op.ATOMIC_GROUP, _op.BRANCH}:
        inner = [_outer(list(child), place) for child in _children(item)]
        if any(each is None for each in inner):
            return None
        return [construct for each in inner for construct in each or ()]
    return [item]


def _width(item: Any) -> int:
    """Characters that a construct takes at least."""
    kind, value = item
    match kind:
        case _op.BRANCH:
            return min(sum(_width(each) for each in branch) for branch in value[1])
        case _op.ASSERT | _op.ASSERT_NOT | _op.AT | _op.GROUPREF:
            return 0
        case _op.SUBPATTERN:
            return sum(_width(each) for each in value[3])
        case _op.ATOMIC_GROUP:
            return sum(_width(each) for each in value)
        case _ if kind in _REPEATS:
            return int(value[0]) * sum(_width(each) for each in value[2])
        case _:
            return 1


def _refuse() -> str:
    raise _UnreadableError
