"""Where patterns stand in cells: RE2, which is linear in the text whatever the pattern is."""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

import re2

from governance.recognition.folding import SEPARATOR

MEMORY: Final = 1 << 20  # bytes that RE2 may use for one compiled pattern
_TERMS_MEMORY: Final = 1 << 26  # and for thousands of terms
_ANCHOR: Final = re.compile(r"\\[Az]|(?<!\[)\^|\$")  # one too many costs time only
_WORD: Final = re.compile(r"[0-9A-Za-z]")
_TAKEN: Final = "\x1a"  # stands in a folded text for a NUL and for nothing else


class Places:
    """Where RE2 patterns stand, cell by cell, bounded as `rules.bounded` bounds built-in rules.

    RE2 knows no lookaround: the characters beside a match are consumed, so of two matches with one
    character between them a first pass sees the first. A second pass, over the cell without what
    was found, sees the other.
    """

    def __init__(self, parts: Sequence[tuple[bool, str, bool]], *, memory: int = MEMORY) -> None:
        """Compile `parts`: each a body, and whether its left and right edge are bounded.

        Raises:
            re2.error: a body does not read by itself, or takes too much memory.
        """
        for _, body, _ in parts:
            _re2(body, memory)  # `a)|(b` reads only inside brackets
        bodies = "|".join(f"(?:{body})" for _, body, _ in parts)
        bounded = "|".join(
            ("(?:\\A|[^0-9A-Za-z])" if left else "")
            + f"((?:{body}))"
            + ("(?:[^0-9A-Za-z]|\\z)" if right else "")
            for left, body, right in parts
        )
        self._loose = _re2(bodies, memory)
        self._bounded = _re2(bounded, memory)
        self._groups = range(1, len(parts) + 1)
        self._anchored = _ANCHOR.search(bodies) is not None

    @classmethod
    def of_terms(cls, terms: Collection[str]) -> "Places":
        """The places of folded terms, in any case, the longest first."""
        parts: dict[tuple[bool, bool], list[str]] = {}
        for term in sorted(terms, key=len, reverse=True):
            # An edge that is no letter or digit of ASCII cannot stand inside a longer word.
            edges = (_WORD.match(term[0]) is not None, _WORD.match(term[-1]) is not None)
            parts.setdefault(edges, []).append(re2.escape(term))
        bodies = [(left, "(?i)" + "|".join(all_), right) for (left, right), all_ in parts.items()]
        return cls(bodies, memory=_TERMS_MEMORY)

    def empty(self) -> bool:
        """Whether nothing at all is a match."""
        return self._loose.fullmatch("") is not None

    def find(self, joined: str) -> Iterator[tuple[int, int]]:
        """Places in cells that are joined by the separator.

        One pass over the chunk is nearly free, one over each cell is not: only the cells that a
        loose match touches are looked at by themselves. An anchor means the cell's own edge.
        """
        loose = [(0, len(joined))] if self._anchored else _spans(self._loose, joined)
        if not loose:
            return
        cells = joined.split(SEPARATOR)
        starts = list(accumulate((len(cell) + len(SEPARATOR) for cell in cells), initial=0))
        touched: dict[int, None] = {}
        for start, end in loose:
            last = min(bisect_right(starts, end), len(cells))
            touched |= dict.fromkeys(range(bisect_right(starts, start) - 1, last))
        for number in touched:
            for start, end in self._within(cells[number]):
                yield starts[number] + start, starts[number] + end

    def _within(self, cell: str) -> list[tuple[int, int]]:
        first = self._pass(cell)
        if not first:
            return []
        rest = list(cell)
        for start, end in first:
            rest[start:end] = _TAKEN * (end - start)
        second = [place for place in self._pass("".join(rest)) if _TAKEN not in rest[slice(*place)]]
        return sorted(first + second)

    def _pass(self, cell: str) -> list[tuple[int, int]]:
        places = (
            next(match.span(group) for group in self._groups if match.start(group) >= 0)
            for match in self._bounded.finditer(cell)
        )
        return [place for place in places if place[0] < place[1]]


def _spans(pattern: Any, text: str) -> list[tuple[int, int]]:
    return [match.span() for match in pattern.finditer(text)]


def _re2(pattern: str, memory: int) -> Any:
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False  # the library would print the pattern, which may be a name
    return re2.compile(pattern, options)
