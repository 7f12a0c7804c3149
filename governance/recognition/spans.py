"""What a recognizer finds: a stretch of a text that is one entity, and how overlaps are settled."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from governance.recognition.entities import rank


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]` is `entity`, `score` in 0..1; `checked` when a check digit proved it."""

    start: int
    end: int
    entity: str
    score: float
    checked: bool = False


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
    ordered = sorted(
        spans,
        key=lambda s: (not s.checked, s.start - s.end, -s.score, rank(s.entity), s.start),
    )
    taken: list[Span] = []
    for span in ordered:
        pieces = [(span.start, span.end)]
        for winner in taken:
            pieces = [
                part
                for start, end in pieces
                for part in ((start, min(end, winner.start)), (max(start, winner.end), end))
                if part[0] < part[1]
            ]
        for start, end in pieces:
            if (start, end) == (span.start, span.end):
                taken.append(span)
            elif any(c.isalnum() for c in text[start:end]):
                taken.append(Span(start, end, span.entity, span.score))
    return sorted(taken, key=lambda s: s.start)
