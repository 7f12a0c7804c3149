"""Whether what was planted is gone: judged by spans, or by what the output still shows."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tests.benchmarks.ingesting.table import Planted, Table

_WORDS: Final = re.compile(r"[A-Za-z]{3,}|[\u4e00-\u9fff]{2,}")
_ADDRESSES: Final = frozenset({"CN_ADDRESS", "STREET_ADDRESS"})

Rates = dict[tuple[str, str], tuple[int, int]]  # (entity, structured or prose) -> hidden, planted


def hidden_by_spans(table: Table, spans: Mapping[str, Sequence[Iterable[Any]]]) -> list[bool]:
    """For each planted value: is its every letter and digit in a span, of whatever entity?"""
    hidden = []
    for hit in table.planted:
        text = table.columns[hit.column][hit.row]
        covered = {i for span in spans[hit.column][hit.row] for i in range(span.start, span.end)}
        wanted = (i for i in range(hit.start, hit.end) if text[i].isalnum())
        hidden.append(all(i in covered for i in wanted))
    return hidden


def hidden_in_output(table: Table, output: Mapping[str, Sequence[str | None]]) -> list[bool]:
    """For each planted value: does its cell of the output show nothing of it?

    A number must not be there without its separators; of a name no word may be left that the cell
    had from that name alone; of an address, which an operator may cut to its city, neither the
    number nor, in English, the street.
    """
    of_cell: dict[tuple[int, str], list[Planted]] = defaultdict(list)
    for hit in table.planted:
        of_cell[hit.row, hit.column].append(hit)
    elsewhere = {cell: _unplanted(table, cell, hits) for cell, hits in of_cell.items()}
    return [
        _gone(
            table.columns[hit.column][hit.row][hit.start : hit.end],
            hit.entity,
            output[hit.column][hit.row] or "",
            elsewhere[hit.row, hit.column],
        )
        for hit in table.planted
    ]


def _unplanted(table: Table, cell: tuple[int, str], hits: Sequence[Planted]) -> str:
    """The cell's text without what was planted."""
    text = table.columns[cell[1]][cell[0]]
    for hit in sorted(hits, reverse=True):
        text = text[: hit.start] + "\n" + text[hit.end :]
    return text


def _gone(value: str, entity: str, shown: str, elsewhere: str) -> bool:
    if entity == "PERSON":
        words = [word for word in (*_WORDS.findall(value), value) if word not in elsewhere]
        return not any(word in shown for word in words)
    if entity in _ADDRESSES:
        english = entity == "STREET_ADDRESS"
        kept = value.partition(",")[0] if english else value[_first_digit(value) :]
        return kept not in shown
    if entity == "IP_ADDRESS":
        return re.search(rf"(?<![0-9.]){re.escape(value)}(?![0-9/])", shown) is None
    return value not in shown and _bare(value) not in _bare(shown)


def _first_digit(text: str) -> int:
    return next((place for place, c in enumerate(text) if c.isdigit()), 0)


def _bare(text: str) -> str:
    return "".join(c for c in text if c.isalnum()).casefold()


def rates(table: Table, hidden: Sequence[bool]) -> Rates:
    """By entity and kind of column: how many are hidden, of how many."""
    counted: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for hit, gone in zip(table.planted, hidden, strict=True):
        pair = counted[hit.entity, "prose" if hit.prose else "structured"]
        pair[0] += gone
        pair[1] += 1
    return {key: (pair[0], pair[1]) for key, pair in sorted(counted.items())}


def on_sample(table: Table, hidden: Sequence[bool], sample: Table) -> list[bool]:
    """What is hidden of a sample, out of what is hidden of the whole; in the sample's order."""
    assert sample.places is not None
    wanted = set(sample.places)
    return [gone for hit, gone in zip(table.planted, hidden, strict=True) if hit.row in wanted]


def lost(sample: Table, ours: Sequence[bool], theirs: Sequence[bool]) -> Rates:
    """Differential: planted values that the peer hides and we do not, of those that it hides."""
    counted: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for hit, mine, its in zip(sample.planted, ours, theirs, strict=True):
        if its:
            pair = counted[hit.entity, "prose" if hit.prose else "structured"]
            pair[0] += not mine
            pair[1] += 1
    return {key: (pair[0], pair[1]) for key, pair in sorted(counted.items())}
