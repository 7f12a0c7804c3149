"""What a column is, judged by its sample: one entity a cell, text with entities in it, or neither.

The header, the share of cells that one entity fills and the strongest hit decide. Deciding by
column is both faster and more often right than asking a model about lone cells.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Final

from governance.recognition.entities import rank, sensitivity
from governance.recognition.folding import Folded
from governance.recognition.languages import HAN
from governance.recognition.reading import WORDS, fills, word_count
from governance.recognition.rules import REPORT
from governance.recognition.sampling import FEW, SENTENCE
from governance.recognition.spans import Span

MOST: Final = 0.5  # share of cells that makes a column typed
MOST_UNPROMPTED: Final = 0.6  # the same for names that only a model sees
DOUBT: Final = 0.35  # a score that counts only when nearly every cell has it
NEARLY_ALL: Final = 0.8
AS_COMMON: Final = 2  # half as many cells, in a sample of 150, is four standard errors away
HEADED: Final = 0.2  # share that suffices where the header says the same
NUMBER: Final = re.compile(r"[-+]?[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?%?")
MODEL_ONLY: Final = frozenset({"PERSON", "LOCATION"})
_PERSON_LIKE: Final = re.compile(r"[^\W\d_][^\d_@/\\]{1,59}")
_FREE_OF_SHAPE: Final = frozenset(
    {"PERSON", "CN_ADDRESS", "STREET_ADDRESS", "DATE_OF_BIRTH", "URL"}
)


def entity_of(
    folded: Sequence[Folded],
    spans: Sequence[Sequence[Span]],
    spoken: Collection[str],
    *,
    categorical: bool,
    numeric: bool,
) -> str | None:
    """The entity that makes the column typed, or None.

    1. Cells that an entity fills, surely: most of them, or a fifth where the header agrees.
    2. Cells that an entity fills, doubtfully: nearly all.
    3. The header alone, where the cells at least have the shape.
    """
    total = len(folded)
    if not total:
        return None
    sure: Counter[str] = Counter()
    doubtful: Counter[str] = Counter()
    covered = headed = doubted = 0
    for form, found in zip(folded, spans, strict=True):
        filling = {s.entity: s for s in sorted(found, key=_strength) if fills(s, form.text)}
        names = {e for e, s in filling.items() if s.score >= REPORT and e != "LOCATION"}
        if categorical or total < FEW:
            names -= {"PERSON"} - set(spoken)
        sure.update(_best(names, filling))
        covered += bool(names)
        headed += bool(names & set(spoken))
        doubts = {e for e, s in filling.items() if s.score >= DOUBT and e not in MODEL_ONLY}
        doubtful.update(doubts)
        doubted += bool(doubts)
    needed = MOST_UNPROMPTED if set(sure) <= {"PERSON"} and not spoken else MOST
    if covered >= needed * total or (headed >= HEADED * total and not categorical):
        return _most_sensitive(sure, covered)
    if doubted >= NEARLY_ALL * total and not numeric:
        return _most_sensitive(doubtful, doubted)
    return _by_header(folded, spoken)


def _best(names: Collection[str], filling: Mapping[str, Span]) -> list[str]:
    """The one entity that a cell counts for."""
    ordered = sorted(names, key=lambda e: (not filling[e].checked, -filling[e].score, rank(e)))
    return ordered[:1]


def _most_sensitive(counts: Mapping[str, int], covered: int) -> str | None:
    """Among entities that a tenth of the cells have: sensitive ones first, then the commonest.

    Of those that are about as common the catalog's first is taken: in a column that is half one
    and half another, which of them leads is the luck of the sample, and a plan must not hang on it.
    """
    common = [e for e, count in counts.items() if count * 10 >= covered]
    sensitive = [e for e in common if sensitivity(e) == "S"]
    chosen = sensitive or common
    if not chosen:
        return None
    most = max(counts[e] for e in chosen)
    return min(chosen, key=lambda e: (counts[e] * AS_COMMON < most, rank(e), e))


def _by_header(folded: Sequence[Folded], spoken: Collection[str]) -> str | None:
    """What the header says, where most cells could be it: a name without digits, six digits."""
    half = len(folded) / 2
    texts = [form.text.strip() for form in folded]
    for entity in spoken:
        if entity == "PERSON":
            fits = sum(_PERSON_LIKE.fullmatch(text) is not None for text in texts)
        elif entity in {"CN_ADDRESS", "STREET_ADDRESS"}:
            fits = sum(len(text) >= 8 and not NUMBER.fullmatch(text) for text in texts)  # noqa: PLR2004 - shorter is a city
        elif entity in _FREE_OF_SHAPE:
            fits = 0
        else:
            fits = sum(sum(c.isdigit() for c in text) >= 6 for text in texts)  # noqa: PLR2004 - the shortest identifier
        if fits > half:
            return entity
    return None


def is_prose(folded: Sequence[Folded], spans: Sequence[Sequence[Span]]) -> bool:
    """Sentences by their length, or short notes in which people turn up.

    Where there are too few values to tell, one in two must name somebody: to take a name for a word
    costs a word, the reverse costs a name. But a lone capitalized word that a model takes for a
    person is as often a city, a brand or a grade, and says nothing.
    """
    if not folded:
        return False
    words = median(word_count(form.text) for form in folded)
    if words >= SENTENCE:
        return True
    if len(folded) >= FEW:
        peopled = sum(any(s.entity == "PERSON" for s in found) for found in spans)
        return peopled * 20 >= len(folded)
    named = sum(
        any(s.entity == "PERSON" and _names_somebody(s, form.text) for s in found)
        for form, found in zip(folded, spans, strict=True)
    )
    return named * 2 >= len(folded)


def _names_somebody(span: Span, text: str) -> bool:
    """A name inside a text, a Chinese name, or one of two words at least."""
    name = text[span.start : span.end]
    whole = fills(span, text)
    return not whole or HAN.search(name) is not None or len(WORDS.findall(name)) > 1


def _strength(span: Span) -> tuple[bool, float]:
    return span.checked, span.score
