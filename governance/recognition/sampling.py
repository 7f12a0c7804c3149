"""What is kept of a column while its chunks pass: a sample of distinct values, and a watch.

The sample is deterministic: the distinct values seen first, and those whose keyed hash is smallest
(a bottom-k sketch, Cohen and Kaplan 2007: uniform over distinct values, mergeable, and its k-th
hash estimates how many there are).

A sample of 150 misses the one row in ten thousand in which somebody wrote an identity number into a
note. So every cell passes the watch as well: what might hold an identifier that a check digit
proves, with other text around it, is swept for those identifiers alone. One such cell makes the
column prose.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import median
from typing import Final

import polars as pl

from governance.recognition.builtin import finders
from governance.recognition.folding import fold
from governance.recognition.reading import fills, word_count
from governance.recognition.sweep import raw_spans
from governance.recognition.tenant_rules import NO_RULES, TenantRules
from governance.tables.nesting import is_list, leaves

FIRST: Final = 50  # distinct values from the top of the file
DRAWN: Final = 100  # distinct values drawn by keyed hash
LONGEST: Final = 2_000  # characters of a value that are kept
CATEGORY_DISTINCT: Final = 200  # a value that twenty rows share is a category, not a person
CATEGORY_REPEATS: Final = 20
SENTENCE: Final = 5  # words, a Han character counting half: from here on a cell is prose
FEW: Final = 20  # distinct values below which little is proven
# Entities of the catalog without a check digit: the sweep's slowest patterns are among them.
UNPROVEN: Final = frozenset(
    [
        "CN_ADDRESS", "CN_LANDLINE", "CN_MOBILE", "CN_PLATE", "CN_QQ", "CN_WECHAT", "DATE_OF_BIRTH",
        "IP_ADDRESS", "PERSON", "PHONE_NUMBER", "STREET_ADDRESS", "URL", "US_BANK_NUMBER",
        "US_DRIVER_LICENSE", "US_ITIN", "US_PASSPORT", "US_SSN", "UUID",
    ]
)  # fmt: skip
_HASH_SPACE: Final = 2**64
# The shortest proven identifier has 8 characters: with less around it, it fills its cell.
_SHORTEST: Final = 12
# Seven digits with little between them, two letters and six digits, or an address.
_MIGHT_HOLD: Final = r"(?:\p{Nd}[^\p{Nd}]{0,3}){6}\p{Nd}|[A-Za-z]\p{Nd}{6}|@|＠|[0-9A-Za-z]{26}"
# One number, date, network address or UUID, or one e-mail address: nothing stands beside it.
_ALONE: Final = r"^\s*(?:[-+ 0-9.,:/()TZ]+|[0-9A-Fa-f-]+[Xx]?|[0-9A-Za-z._+%-]+@[0-9A-Za-z.-]+)\s*$"


class Sample:
    """What is kept of one column."""

    def __init__(self, name: str, key: bytes, rules: TenantRules = NO_RULES) -> None:
        """Make an empty sample; `name` says whether cells are lists, `key` draws the values."""
        self._key = key
        self._listed = is_list(name)
        self._watch = Watch(rules)
        self._heap: list[tuple[int, str]] = []  # negated hashes: the largest kept is on top
        self._kept: dict[str, None] = {}
        self.first: dict[str, None] = {}
        self.rows = 0
        self.empty = 0
        self.leaves: int | None = 0 if self._listed else None
        self.wordy = False  # sentences, in too many kinds to be categories: prose for certain

    def add(self, cells: Sequence[str | None]) -> None:
        """Take the next cells in."""
        counts = Counter(cells)
        self.rows += len(cells)
        self.empty += counts.pop(None, 0) + counts.pop("", 0)
        values: Mapping[str | None, int] = counts
        if self._listed:
            values = _leaves(counts)
            self.leaves = (self.leaves or 0) + sum(values.values())
        for value in values:
            if value is not None:
                self._offer(value)
        self.wordy = self.wordy or (
            self.distinct() > 2 * CATEGORY_DISTINCT
            and median(word_count(value) for value in self.first) >= SENTENCE
        )
        if not self.wordy:
            self._watch.look({value: n for value, n in values.items() if value is not None})

    def _offer(self, value: str) -> None:
        short = value[:LONGEST]
        if short in self.first:
            return
        if len(self.first) < FIRST:
            self.first[short] = None
            return
        digest = hashlib.blake2b(value.encode(errors="replace"), digest_size=8, key=self._key)
        order = -int.from_bytes(digest.digest())
        if short in self._kept:
            return
        if len(self._heap) < DRAWN:
            heapq.heappush(self._heap, (order, short))
        elif order > self._heap[0][0]:
            _, dropped = heapq.heapreplace(self._heap, (order, short))
            del self._kept[dropped]
        else:
            return
        self._kept[short] = None

    def values(self) -> list[str]:
        """The sample, in an order that only the data and the key decide."""
        return [*self.first, *sorted(self._kept)]

    def distinct(self) -> int:
        """Exact while everything fits the sample, then the bottom-k estimate (k - 1) / U_k."""
        if len(self._heap) < DRAWN:
            return len(self.first) + len(self._heap)
        return len(self.first) + round((DRAWN - 1) * _HASH_SPACE / max(1, -self._heap[0][0]))

    @property
    def beside(self) -> int:
        """Cells with a proven identifier inside other text; a lower bound once there is one."""
        return self._watch.beside

    @property
    def categorical(self) -> bool:
        """Whether few values make up the whole column."""
        distinct = self.distinct()
        return distinct <= CATEGORY_DISTINCT and self.rows >= CATEGORY_REPEATS * max(1, distinct)


class Watch:
    """Looks at every cell for an identifier that its check digit proves, beside other text."""

    def __init__(self, rules: TenantRules = NO_RULES) -> None:
        """Nothing seen so far."""
        self._rules = rules
        self.beside = 0

    def look(self, values: Mapping[str, int]) -> None:
        """Look at distinct values, each with the cells that it stands in.

        After the first chunk that holds any, the column is settled, and the rest passes unseen.
        """
        if self.beside:
            return
        column = pl.Series([value for value in values if len(value) >= _SHORTEST], dtype=pl.String)
        column = column.filter(column.str.contains(_MIGHT_HOLD))
        column = column.filter(~column.str.contains(_ALONE))
        if column.is_empty():
            return
        texts = column.to_list()
        folded = [fold(text) for text in texts]
        own = {finder.entity for finder in self._rules.finders}
        for number, spans in raw_spans(folded, entities=_proven() | own, rules=self._rules).items():
            text = folded[number].text
            if any(span.checked and not fills(span, text) for span in spans):
                self.beside += values[texts[number]]


@cache
def _proven() -> frozenset[str]:
    """Entities that some finder may prove: all but those that have nothing to be proven by."""
    return frozenset(finder.entity for finder in finders()) - UNPROVEN


def _leaves(counts: Mapping[str | None, int]) -> Counter[str | None]:
    found: Counter[str | None] = Counter()
    for cell, n in counts.items():
        for leaf in leaves(cell or ""):
            if leaf:
                found[leaf] += n
    return found
