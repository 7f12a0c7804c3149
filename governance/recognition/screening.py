"""Which finders can find anything in which texts: exact necessary conditions, asked in RE2.

Most cells hold nothing. The conditions of many finders together are one automaton that passes over
a whole joined chunk at memory speed and stops only where one of them may hold; the texts that are
left are asked condition by condition, and a finder is run over its own candidates alone. What
screening leaves out, no finder could have found: see `gates`.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import Any, Final

import numpy as np
import re2

from governance.recognition.entities import context_pattern
from governance.recognition.folding import SEPARATOR
from governance.recognition.gates import Condition, conditions
from governance.recognition.rules import Finder, needs

_MEMORY: Final = 1 << 24  # bytes that one automaton may use; past them it starts over
_TOGETHER: Final = 12  # conditions in one automaton: of more, the combinations grow too many
_PATIENCE: Final = 64  # marks after which a chunk that is full of them is taken as it is
_FULL: Final = 0.9
_SHORT: Final = 100  # bytes of a text on average, up to which all matches are gone through
_HAN: Final = (0x3400, 0x9FFF)
_JOINT: Final = SEPARATOR.encode()


class Screen:
    """The needs of some finders; one a process and combination of finders."""

    def __init__(self, finders: Sequence[Finder]) -> None:
        self.finders = tuple(finders)
        self._needs = [
            (number, need) for number, finder in enumerate(self.finders) for need in needs(finder)
        ]
        self._families: dict[tuple[frozenset[str], float], tuple[_Family, ...]] = {}

    def candidates(
        self, texts: Sequence[str], spoken: Collection[str], threshold: float
    ) -> dict[int, list[int]]:
        """For each finder, by number, the texts in which it may find a span worth `threshold`.

        Args:
            texts: folded texts.
            spoken: entities that the column's header speaks of.
            threshold: spans that score less do not matter; 0 for all.
        """
        key = (frozenset(spoken), threshold)
        if key not in self._families:
            self._families[key] = tuple(self._grouped(*key))
        chunk = _Chunk([text.encode() for text in texts], range(len(texts)))
        found: dict[int, set[int]] = defaultdict(set)
        for family in self._families[key]:
            family.add_candidates(chunk, found)
        for finder, numbers in found.items():
            if (excluded := getattr(self.finders[finder], "excluded", None)) is not None:
                numbers -= {n for n in numbers if excluded(texts[n])}
        return {finder: sorted(numbers) for finder, numbers in sorted(found.items()) if numbers}

    def _grouped(self, spoken: Collection[str], threshold: float) -> Iterable["_Family"]:
        """The needs that matter under this header, by what they have in common.

        What the header speaks of is asked by itself, so that a table of many headers does not make
        new automata for each.
        """
        alone: list[tuple[int, tuple[Condition, ...]]] = []
        near: list[tuple[int, tuple[Condition, ...]]] = []
        headed: dict[str, list[tuple[int, tuple[Condition, ...]]]] = defaultdict(list)
        for number, need in self._needs:
            entity = self.finders[number].entity
            if need.alone >= threshold:
                alone.append((number, need.conditions))
                continue
            if entity in spoken:
                headed[entity].append((number, need.conditions))
            elif need.by_context and (words := context_conditions(entity)) is not None:
                near.append((number, (*words, *need.conditions)))
        for members in (alone, near, *headed.values()):
            joint = [member for member in members if not _of_han(member[1])]
            joint.sort(key=lambda member: member[1][0].pattern if member[1] else "")
            for first in range(0, len(joint), _TOGETHER):
                yield _Family(joint[first : first + _TOGETHER])
            yield from (_Family([member]) for member in members if _of_han(member[1]))


class _Family:
    """Needs that one automaton looks for together."""

    def __init__(self, members: Sequence[tuple[int, tuple[Condition, ...]]]) -> None:
        self._open = [number for number, wanted in members if not wanted]
        self._members = [(number, wanted) for number, wanted in members if wanted]

    def add_candidates(self, chunk: "_Chunk", found: dict[int, set[int]]) -> None:
        """Add the texts of `chunk` in which a member's conditions all may hold."""
        for number in self._open:
            found[number].update(chunk.numbers)
        possible = [
            (number, wanted)
            for number, wanted in self._members
            if all(chunk.may_hold(condition) for condition in wanted)
        ]
        if len(possible) > 1:
            firsts = dict.fromkeys(wanted[0].pattern for _, wanted in possible)
            if len(firsts) > 1:
                chunk = chunk.part(chunk.marked(_any_of(tuple(firsts))))
        for number, wanted in possible:
            left = chunk
            for condition in wanted:
                if not left.numbers:
                    break
                left = left.part(left.holding(condition))
            found[number].update(left.numbers)


class _Chunk:
    """Some texts, joined into one for searching, each with its number."""

    def __init__(self, encoded: Sequence[bytes], numbers: Sequence[int]) -> None:
        self.numbers = numbers
        self._encoded = encoded
        self._joined = _JOINT.join([b"", *encoded, b""])
        lengths = (len(text) + len(_JOINT) for text in encoded)
        self._starts = list(accumulate(lengths, initial=len(_JOINT)))
        self._held: dict[str, list[int]] = {}
        counts = np.bincount(np.frombuffer(self._joined, np.uint8), minlength=256)
        self._bytes = sum(1 << int(byte) for byte in counts.nonzero()[0])

    def may_hold(self, condition: Condition) -> bool:
        """Whether the texts have the characters that the condition requires."""
        return all(self._bytes & wanted for wanted in condition.required)

    def part(self, places: Sequence[int]) -> "_Chunk":
        """The texts at some places among these."""
        if len(places) == len(self._encoded):
            return self
        return _Chunk(
            [self._encoded[place] for place in places], [self.numbers[place] for place in places]
        )

    def holding(self, condition: Condition) -> list[int]:
        """Places of the texts in which the condition may hold; remembered."""
        if condition.pattern not in self._held:
            self._held[condition.pattern] = (
                self.marked(_any_of((condition.pattern,))) if self.may_hold(condition) else []
            )
        return self._held[condition.pattern]

    def marked(self, pattern: Any) -> list[int]:
        """Places of the texts that `pattern` finds something in; all, where most are."""
        total = len(self._encoded)
        marks: list[int] = []
        done = -1  # the last text that is settled
        for match in self._matches(pattern):
            first, last = self._touched(*match.span())
            first = max(first, done + 1)
            if first > last:
                continue
            if first >= total:
                break
            marks.extend(range(first, last + 1))
            done = last
            if len(marks) == _PATIENCE and len(marks) > _FULL * (last + 1):
                return list(range(total))
        return marks

    def _matches(self, pattern: Any) -> Iterator[Any]:
        """Matches, at least one that touches each text that has one by itself."""
        if len(self._joined) < _SHORT * len(self._encoded):
            yield from pattern.finditer(self._joined)
            return
        # In long texts there are many: after the first, the next text is looked at.
        position = 0
        while (match := pattern.search(self._joined, position)) is not None:
            yield match
            _, last = self._touched(*match.span())
            position = max(match.end(), self._starts[last + 1] - 1)
            if position >= len(self._joined):
                return

    def _touched(self, start: int, end: int) -> tuple[int, int]:
        """First and last text of a match; one that begins in a separator begins in the next.

        A match that takes more of a separator than its first byte may have taken the edge of the
        next text, which then counts as touched.
        """
        starts = self._starts
        first = bisect_right(starts, start) - 1
        if first < 0 or start >= starts[first + 1] - len(_JOINT):
            first += 1
        total = len(self._encoded)
        if first + 1 >= total or end < starts[first + 1] - 1:
            return first, first
        return first, min(bisect_right(starts, end + 1) - 1, total - 1)


def _of_han(wanted: Sequence[Condition]) -> bool:
    """Whether the first condition speaks of Han characters: together such grow too many states."""
    codes = (
        (part.partition("}")[0] for part in wanted[0].pattern.split(r"\x{")[1:]) if wanted else ()
    )
    return any(_HAN[0] <= int(code, 16) <= _HAN[1] for code in codes)


@cache
def context_conditions(entity: str) -> tuple[Condition, ...] | None:
    """Conditions that hold in every text with a context word of the entity; None if it has none."""
    words = context_pattern(entity)
    return None if words is None else conditions(words)


@cache
def _any_of(parts: tuple[str, ...]) -> Any:
    """The pattern that finds any of some alternatives."""
    options = re2.Options()
    options.max_mem = _MEMORY
    options.never_capture = True
    options.log_errors = False  # a pattern may be a tenant's own
    pattern = "|".join(f"(?:{part})" for part in parts)
    return re2.compile(pattern.encode(), options)
