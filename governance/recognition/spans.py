"""What a recognizer finds: a stretch of a text that is one entity, and how overlaps are settled."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from governance.recognition.entities import rank


class Span(NamedTuple):
    """`text[start:end]` is `entity`, `score` in 0..1; `checked` when a check digit proved it.

    `instance` is whom or what it names where that is more than the characters themselves: the whole
    name of somebody of whom a part stands here.
    """

    start: int
    end: int
    entity: str
    score: float
    checked: bool = False
    instance: str = ""


class Hit(NamedTuple):
    """A span in the cell of row `row`; offsets are into the cell as it was given."""

    row: int
    start: int
    end: int
    entity: str
    score: float
    checked: bool = False


def resolve(spans: Iterable[Span], text: str) -> list[Span]:
    """Sorted spans without overlap that hide everything the given spans hid.

    A proven span wins over an unproven one, then the longer, then the higher score, then the entity
    that the catalog lists first. What sticks out of a loser is kept as a span of its own when it
    holds a letter or digit, so that settling an overlap never uncovers a character.
    """
    settled: list[Span] = []
    touching: list[Span] = []
    reach = -1
    for span in sorted(spans, key=_place):
        if touching and span.start >= reach:
            settled += _settled(touching, text)
            touching = []
        touching.append(span)
        reach = max(reach, span.end)
    return settled + _settled(touching, text)


def _settled(given: list[Span], text: str) -> list[Span]:
    """Spans that touch each other, without their overlaps."""
    if len(given) < 2:  # noqa: PLR2004 - a lone span overlaps nothing
        return given
    start, end = given[0][:2]
    if all(span.start == start and span.end == end for span in given):
        return [min(given, key=_order)]
    taken: list[Span] = []  # without overlap, by start
    starts: list[int] = []
    for span in sorted(given, key=_order):
        place = bisect_right(starts, span.start)
        if place and taken[place - 1].end > span.start:
            place -= 1
        for first, last in _uncovered(span, taken, place):
            if (first, last) == span[:2]:
                piece = span
            elif any(c.isalnum() for c in text[first:last]):
                piece = Span(first, last, span.entity, span.score, instance=span.instance)
            else:
                continue
            place = bisect_right(starts, first)
            taken.insert(place, piece)
            starts.insert(place, first)
    return taken


def _place(span: Span) -> tuple[int, int]:
    return span.start, span.end


def _order(span: Span) -> tuple[bool, int, float, int, int]:
    return not span.checked, span.start - span.end, -span.score, rank(span.entity), span.start


def _uncovered(span: Span, taken: Sequence[Span], place: int) -> list[tuple[int, int]]:
    """What `span` covers and none of `taken`, of which `place` is the first to reach into it."""
    pieces = []
    start = span.start
    while place < len(taken) and taken[place].start < span.end:
        winner = taken[place]
        if start < winner.start:
            pieces.append((start, winner.start))
        start = max(start, winner.end)
        place += 1
    if start < span.end:
        pieces.append((start, span.end))
    return pieces
