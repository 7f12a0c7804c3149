"""The joined-chunk sweep: every structured pattern over every cell, without a language model.

Cells are deduplicated, folded, gated by a cheap condition over the whole column, joined with
newline-NUL-newline into chunks and searched once a rule; a NUL stops any match from running across
two cells. Hits map back to the cells as they were given.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate, groupby
from typing import Final

import polars as pl

from governance.recognition.builtin import finders
from governance.recognition.entities import header_entities
from governance.recognition.folding import SEPARATOR, Folded, fold, shadow
from governance.recognition.rules import REPORT, Finder
from governance.recognition.spans import Hit, Span, resolve

CHUNK_CELLS: Final = 500  # the measured plateau is 20 to 500 cells
CHUNK_CHARACTERS: Final = 200_000


def sweep(
    values: Sequence[str | None],
    *,
    entities: Collection[str] | None = None,
    header: str | None = None,
    regimes: Sequence[str] = ("cn", "us"),
    threshold: float = REPORT,
) -> list[Hit]:
    """Structured identifiers in the cells of one column.

    Args:
        values: the cells; None and empty cells have nothing to find.
        entities: only these entities, or all.
        header: the column's header, which counts as context for every cell.
        regimes: jurisdictions of the dataset, for telephone regions.
        threshold: the lowest score worth returning.

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
    spans = sweep_texts(
        texts,
        entities=entities,
        spoken=header_entities(header),
        regimes=regimes,
        threshold=threshold,
    )
    hits = [
        Hit(row, span.start, span.end, span.entity, span.score, span.checked)
        for text, found in zip(texts, spans, strict=True)
        for span in found
        for row in rows[text]
    ]
    return sorted(hits)


def sweep_texts(
    texts: Sequence[str],
    *,
    entities: Collection[str] | None = None,
    spoken: Collection[str] = (),
    regimes: Sequence[str] = ("cn", "us"),
    threshold: float = REPORT,
) -> list[list[Span]]:
    """The sweep over distinct texts: one resolved list of spans a text; see `sweep`."""
    folded = [fold(text) for text in texts]
    found = raw_spans(folded, entities=entities, spoken=spoken, regimes=regimes)
    results: list[list[Span]] = []
    for number, form in enumerate(folded):
        kept = [s for s in found.get(number, ()) if s.score >= threshold]
        results.append(restore(resolve(kept, form.text), form) if kept else [])
    return results


def raw_spans(
    folded: Sequence[Folded],
    *,
    entities: Collection[str] | None = None,
    spoken: Collection[str] = (),
    regimes: Sequence[str] = ("cn", "us"),
) -> dict[int, list[Span]]:
    """Every span of every rule, doubts and overlaps included, by the number of the folded text."""
    chosen = [f for f in finders(tuple(regimes)) if entities is None or f.entity in entities]
    column = pl.Series([form.text for form in folded], dtype=pl.String)
    found: dict[int, list[Span]] = defaultdict(list)
    for gate, group in groupby(sorted(chosen, key=lambda f: f.gate.name), key=lambda f: f.gate):
        passed = column.str.contains(gate.value).arg_true().to_list()
        members = list(group)
        for chunk in _chunks(passed, folded):
            _search(chunk, folded, members, spoken, found)
    return found


def restore(spans: Iterable[Span], form: Folded) -> list[Span]:
    """The same spans with offsets into the text before folding."""
    if form.offsets is None:
        return list(spans)
    return [
        Span(*form.original(s.start, s.end), s.entity, s.score, s.checked)  # keep the proof
        for s in spans
    ]


def _chunks(numbers: Sequence[int], folded: Sequence[Folded]) -> Iterable[list[int]]:
    chunk: list[int] = []
    size = 0
    for number in numbers:
        length = len(folded[number].text)
        if chunk and (len(chunk) >= CHUNK_CELLS or size + length > CHUNK_CHARACTERS):
            yield chunk
            chunk, size = [], 0
        chunk.append(number)
        size += length
    if chunk:
        yield chunk


def _search(
    chunk: Sequence[int],
    folded: Sequence[Folded],
    members: Sequence[Finder],
    spoken: Collection[str],
    found: dict[int, list[Span]],
) -> None:
    joined = SEPARATOR.join(folded[number].text for number in chunk)
    ghost = shadow(joined)
    lengths = (len(folded[number].text) + len(SEPARATOR) for number in chunk)
    starts = list(accumulate(lengths, initial=0))
    for finder in members:
        for span in finder.find(joined, ghost, spoken):
            place = bisect_right(starts, span.start) - 1
            number, origin = chunk[place], starts[place]
            end = min(span.end - origin, len(folded[number].text))
            start = span.start - origin
            if start < end:
                found[number].append(Span(start, end, span.entity, span.score, span.checked))
