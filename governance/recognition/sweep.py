"""The joined-chunk sweep: every structured pattern over every cell, without a language model.

Cells are deduplicated, folded, screened for what any finder could need, joined with
newline-NUL-newline into chunks and searched once a finder; a NUL stops any match from running
across two cells. Hits map back to the cells as they were given.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

from governance.recognition.builtin import finders
from governance.recognition.entities import header_entities
from governance.recognition.folding import SEPARATOR, Folded, fold_all, shadow
from governance.recognition.rules import REPORT, Finder
from governance.recognition.screening import Screen
from governance.recognition.spans import Hit, Span, resolve
from governance.recognition.tenant_rules import NO_RULES, TenantRules

CHUNK_CELLS: Final = 500  # the measured plateau is 20 to 500 cells
CHUNK_CHARACTERS: Final = 200_000
LONGEST: Final = 100_000  # characters of a text that are searched at once: memory stays bounded
MARGIN: Final = 4_000  # characters around a piece's own part, more than any identifier is long
_SCREENS: Final = 32  # regimes and tenants whose conditions stay compiled


def sweep(
    values: Sequence[str | None],
    *,
    entities: Collection[str] | None = None,
    header: str | None = None,
    regimes: Sequence[str] = ("cn", "us"),
    threshold: float = REPORT,
    rules: TenantRules = NO_RULES,
    assumed: str | None = None,
) -> list[Hit]:
    """Structured identifiers in the cells of one column.

    Args:
        values: the cells; None and empty cells have nothing to find.
        entities: only these entities, or all.
        header: the column's header, which counts as context for every cell.
        regimes: jurisdictions of the dataset, for telephone regions.
        threshold: the lowest score worth returning.
        rules: the tenant's own terms and patterns.
        assumed: what every cell is taken for already; a cell in which nothing else can be is left.

    Returns:
        Hits by row and place, without overlaps, offsets into the cells as given.

    Raises:
        ScanTimeoutError: a pattern ran past its time; nothing is silently skipped.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, value in enumerate(values):
        if value:
            rows[value].append(row)
    texts = list(rows)
    found = _resolved(
        texts,
        entities=entities,
        spoken=spoken_of(header, rules, regimes),
        regimes=regimes,
        threshold=threshold,
        rules=rules,
        assumed=assumed,
    )
    hits = [
        Hit(row, *span[:5])
        for number, spans in found.items()
        for row in rows[texts[number]]
        for span in spans
    ]
    return sorted(hits)


def spoken_of(
    header: str | None, rules: TenantRules = NO_RULES, regimes: Sequence[str] = ()
) -> tuple[str, ...]:
    """What a header speaks of, by the catalog's words and by the tenant's own."""
    return tuple(dict.fromkeys((*header_entities(header, regimes), *rules.spoken(header))))


def sweep_texts(
    texts: Sequence[str],
    *,
    entities: Collection[str] | None = None,
    spoken: Collection[str] = (),
    regimes: Sequence[str] = ("cn", "us"),
    threshold: float = REPORT,
    rules: TenantRules = NO_RULES,
    assumed: str | None = None,
) -> list[list[Span]]:
    """The sweep over distinct texts: one resolved list of spans a text; see `sweep`."""
    found = _resolved(
        texts,
        entities=entities,
        spoken=spoken,
        regimes=regimes,
        threshold=threshold,
        rules=rules,
        assumed=assumed,
    )
    return [found.get(number, []) for number in range(len(texts))]


def raw_spans(
    folded: Sequence[Folded],
    *,
    entities: Collection[str] | None = None,
    spoken: Collection[str] = (),
    regimes: Sequence[str] = ("cn", "us"),
    threshold: float = 0.0,
    rules: TenantRules = NO_RULES,
) -> dict[int, list[Span]]:
    """Every span of every finder by the number of the folded text, overlaps included.

    Doubts below the threshold are looked for no further than they come by themselves.
    """
    texts = [form.text for form in folded]
    return _search_all(texts, entities, spoken, regimes, threshold, rules, None)


def restore(spans: Iterable[Span], form: Folded) -> list[Span]:
    """The same spans with offsets into the text before folding."""
    if form.offsets is None:
        return list(spans)
    return [
        span._replace(start=start, end=end)
        for span in spans
        for start, end in (form.original(span.start, span.end),)
    ]


@lru_cache(maxsize=_SCREENS)
def screen(regimes: tuple[str, ...] = ("cn", "us"), own: tuple[Finder, ...] = ()) -> Screen:
    """The screen of all finders of the regimes and of a tenant."""
    return Screen((*finders(regimes), *own))


def _resolved(
    texts: Sequence[str],
    *,
    entities: Collection[str] | None,
    spoken: Collection[str],
    regimes: Sequence[str],
    threshold: float,
    rules: TenantRules,
    assumed: str | None = None,
) -> dict[int, list[Span]]:
    """Spans without overlaps, offsets into the texts as given; texts without any are left out."""
    folded, offsets = fold_all(texts)
    found = _search_all(folded, entities, spoken, regimes, threshold, rules, assumed)
    results: dict[int, list[Span]] = {}
    for number, spans in found.items():
        kept = [span for span in spans if span.score >= threshold]
        if kept := passing(resolve(kept, folded[number]), folded[number], rules):
            form = Folded(folded[number], offsets.get(number))
            results[number] = restore(kept, form)
    return results


def passing(spans: list[Span], text: str, rules: TenantRules) -> list[Span]:
    """The spans without those that a steward lets pass; what a check digit proves never passes."""
    if not (spans and rules.allowed):
        return spans
    return [
        span
        for span in spans
        if span.checked or not rules.allows(span.entity, text[span.start : span.end])
    ]


def _search_all(
    texts: Sequence[str],
    entities: Collection[str] | None,
    spoken: Collection[str],
    regimes: Sequence[str],
    threshold: float,
    rules: TenantRules,
    assumed: str | None,
) -> dict[int, list[Span]]:
    if any(len(text) > LONGEST for text in texts):
        pieces = [piece for number, text in enumerate(texts) for piece in _cut(number, text)]
        read = _search_all(
            [piece.text for piece in pieces], entities, spoken, regimes, threshold, rules, assumed
        )
        return _put_together(pieces, read)
    found: dict[int, list[Span]] = defaultdict(list)
    if not texts:
        return found
    screening = screen(tuple(regimes), rules.finders)
    candidates = screening.candidates(texts, spoken, threshold)
    if assumed is not None:
        _leave_assumed(candidates, screening.finders, assumed)
    together: dict[tuple[int, ...], list[Finder]] = defaultdict(list)
    for finder, numbers in candidates.items():
        if entities is None or screening.finders[finder].entity in entities:
            together[tuple(numbers)].append(screening.finders[finder])
    for places, members in together.items():
        for chunk in _chunks(places, texts):
            _search(chunk, texts, members, spoken, found)
    return found


class _Piece(NamedTuple):
    """A part of text `number` from `start` on; spans that begin in `core` are this piece's."""

    number: int
    start: int
    core: range
    text: str


def _cut(number: int, text: str) -> Iterator[_Piece]:
    """A text in pieces that overlap, each read with what stands around its own part."""
    step = LONGEST - 2 * MARGIN
    for first in range(0, max(1, len(text) - 2 * MARGIN), step):
        last = first + LONGEST >= len(text)
        core = range(
            first + MARGIN if first else 0, len(text) if last else first + LONGEST - MARGIN
        )
        yield _Piece(number, first, core, text[first : first + LONGEST])
        if last:
            return


def _put_together(
    pieces: Sequence[_Piece], read: Mapping[int, Sequence[Span]]
) -> dict[int, list[Span]]:
    found: dict[int, list[Span]] = defaultdict(list)
    for place, spans in read.items():
        number, origin, core, _ = pieces[place]
        for span in spans:
            if span.start + origin in core:
                moved = span._replace(start=span.start + origin, end=span.end + origin)
                found[number].append(moved)
    return found


def _leave_assumed(
    candidates: dict[int, list[int]], members: Sequence[Finder], assumed: str
) -> None:
    """Take the texts out in which nothing but the assumed entity can be."""
    others = {
        number
        for finder, numbers in candidates.items()
        if members[finder].entity != assumed
        for number in numbers
    }
    for finder, numbers in candidates.items():
        if members[finder].entity == assumed:
            candidates[finder] = [number for number in numbers if number in others]


def _chunks(numbers: Sequence[int], texts: Sequence[str]) -> Iterable[list[int]]:
    chunk: list[int] = []
    size = 0
    for number in numbers:
        length = len(texts[number])
        if chunk and (len(chunk) >= CHUNK_CELLS or size + length > CHUNK_CHARACTERS):
            yield chunk
            chunk, size = [], 0
        chunk.append(number)
        size += length
    if chunk:
        yield chunk


def _search(
    chunk: Sequence[int],
    texts: Sequence[str],
    members: Sequence[Finder],
    spoken: Collection[str],
    found: Mapping[int, list[Span]],
) -> None:
    joined = SEPARATOR.join([texts[number] for number in chunk])
    ghost = shadow(joined)
    lengths = (len(texts[number]) + len(SEPARATOR) for number in chunk)
    starts = list(accumulate(lengths, initial=0))
    for finder in members:
        for span in finder.find(joined, ghost, spoken):
            place = bisect_right(starts, span.start) - 1
            number, origin = chunk[place], starts[place]
            start, end = span.start - origin, min(span.end - origin, len(texts[number]))
            if start < end:
                found[number].append(Span(start, end, *span[2:]))
