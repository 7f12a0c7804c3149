"""Profile columns in a stream and propose a plan.

Each column keeps a deterministic sample of distinct values: the first seen, and those whose keyed
hash is smallest (a bottom-k sketch, Cohen and Kaplan 2007: uniform over distinct values, mergeable,
and its k-th hash estimates how many there are). Whole Presidio and our patterns then read the
sample, and the header, the share of cells that one entity fills and the strongest hit decide what
the column is. Deciding by column is both faster and more often right than asking a model about
lone cells.
"""

import hashlib
import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Final

from governance.recognition import presidio
from governance.recognition.entities import (
    KEEP,
    PSEUDONYM,
    REPLACE,
    default_operator,
    header_entities,
    rank,
    sensitivity,
)
from governance.recognition.folding import Folded, fold
from governance.recognition.persons import HAN, language_of
from governance.recognition.plan import (
    ColumnPlan,
    Declared,
    Evidence,
    Finding,
    Kind,
    PlanError,
    PlannedColumn,
)
from governance.recognition.rules import REPORT
from governance.recognition.spans import Span
from governance.recognition.sweep import raw_spans

FIRST: Final = 50  # distinct values from the top of the file
DRAWN: Final = 100  # distinct values drawn by keyed hash
SAMPLES: Final = 5  # shapes shown to the steward
LONGEST: Final = 2_000  # characters of a value that profiling reads
FILLS: Final = 0.6  # share of a cell's characters that an entity must cover to be the cell
MOST: Final = 0.5  # share of cells that makes a column typed
MOST_UNPROMPTED: Final = 0.6  # the same for names that only a model sees
DOUBT: Final = 0.35  # a score that counts only when nearly every cell has it
NEARLY_ALL: Final = 0.8
HEADED: Final = 0.2  # share that suffices where the header says the same
CATEGORY_DISTINCT: Final = 200  # a value that twenty rows share is a category, not a person
CATEGORY_REPEATS: Final = 20
SENTENCE: Final = 5  # words, a Han character counting half: from here on a cell is prose
FEW: Final = 20  # distinct values below which unprompted names prove nothing
_HASH_SPACE: Final = 2**64
_NUMBER: Final = re.compile(r"[-+]?[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?%?")
_WORDS: Final = re.compile(r"[A-Za-z]+")
_PERSON_LIKE: Final = re.compile(r"[^\W\d_][^\d_@/\\]{1,59}")
_FREE_OF_SHAPE: Final = frozenset(
    {"PERSON", "CN_ADDRESS", "STREET_ADDRESS", "DATE_OF_BIRTH", "URL"}
)
_MODEL_ONLY: Final = frozenset({"PERSON", "LOCATION"})


class _Sample:
    """What is kept of one column while its chunks pass."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._heap: list[tuple[int, str]] = []  # negated hashes: the largest kept is on top
        self._kept: dict[str, None] = {}
        self.first: dict[str, None] = {}
        self.rows = 0
        self.empty = 0

    def add(self, values: Sequence[str | None]) -> None:
        counts = Counter(values)
        self.rows += len(values)
        self.empty += counts.pop(None, 0) + counts.pop("", 0)
        for value in counts:
            if value is None or value in self.first:
                continue
            if len(self.first) < FIRST:
                self.first[value] = None
                continue
            digest = hashlib.blake2b(value.encode(errors="replace"), digest_size=8, key=self._key)
            order = -int.from_bytes(digest.digest())
            if value in self._kept:
                continue
            if len(self._heap) < DRAWN:
                heapq.heappush(self._heap, (order, value))
            elif order > self._heap[0][0]:
                _, dropped = heapq.heapreplace(self._heap, (order, value))
                del self._kept[dropped]
            else:
                continue
            self._kept[value] = None

    def values(self) -> list[str]:
        return [*self.first, *sorted(self._kept)]

    def distinct(self) -> int:
        """Exact while everything fits the sample, then the bottom-k estimate (k - 1) / U_k."""
        if len(self._heap) < DRAWN:
            return len(self.first) + len(self._heap)
        return len(self.first) + round((DRAWN - 1) * _HASH_SPACE / max(1, -self._heap[0][0]))


class Profiler:
    """Samples of all columns; feed chunks, then ask for the plan."""

    def __init__(self, names: Sequence[str], *, key: bytes = b"") -> None:
        """Make an empty profile.

        Args:
            names: the columns, in order.
            key: up to 64 bytes that only the tenant knows, so that nobody can arrange which rows
                are looked at. The same key and data give the same plan.
        """
        self._samples = {name: _Sample(key[:64]) for name in names}

    def add(self, chunk: Mapping[str, Sequence[str | None]]) -> None:
        """Take in the next rows.

        Raises:
            PlanError: the chunk lacks a column.
        """
        for name, sample in self._samples.items():
            if name not in chunk:
                raise PlanError("a chunk lacks a column", code="recognition.unknown_column")
            sample.add(chunk[name])

    def plan(
        self,
        *,
        target: str | None = None,
        subject: str | None = None,
        features: Collection[str] = (),
        drop: Collection[str] = (),
        regimes: Sequence[str] = ("cn", "us"),
        languages: Sequence[str] = ("zh", "en"),
    ) -> ColumnPlan:
        """Propose what each column is and what is done to it.

        Args:
            target: the column to be predicted; passes whatever it looks like.
            subject: the column that tells people apart; always pseudonymized.
            features: columns declared free of persons; swept, but not typed.
            drop: columns that do not go out at all.
            regimes: jurisdictions of the dataset.
            languages: languages that it is said to hold.

        Raises:
            PlanError: a declared column does not exist.
        """
        declared: dict[str, Declared] = {
            **dict.fromkeys(features, Declared.FEATURE),
            **dict.fromkeys(drop, Declared.DROP),
            **({target: Declared.TARGET} if target else {}),
            **({subject: Declared.SUBJECT} if subject else {}),
        }
        if not declared.keys() <= self._samples.keys():
            raise PlanError("a declared column is not there", code="recognition.unknown_column")
        return ColumnPlan(
            columns=tuple(
                _decide(name, sample, tuple(regimes), declared.get(name))
                for name, sample in self._samples.items()
            ),
            detector=presidio.detector_version(),
            regimes=tuple(regimes),
            languages=tuple(languages),
        )


def _decide(
    name: str, sample: _Sample, regimes: Sequence[str], declared: Declared | None
) -> PlannedColumn:
    """Profile one column and choose its kind, entity and operator."""
    values = [value[:LONGEST] for value in sample.values() if value.strip()]
    folded = [fold(value) for value in values]
    spoken = header_entities(name)
    numeric = bool(values) and sum(
        _NUMBER.fullmatch(form.text.strip()) is not None for form in folded
    ) >= 0.95 * len(values)
    spans = _scan(folded, spoken, regimes, numeric=numeric)
    distinct = sample.distinct()
    categorical = distinct <= CATEGORY_DISTINCT and sample.rows >= CATEGORY_REPEATS * max(
        1, distinct
    )
    entity = _entity_of(folded, spans, spoken, categorical=categorical, numeric=numeric)
    prose = not numeric and not categorical and _is_prose(folded, spans)
    if entity is not None:
        kind, operator = Kind.TYPED, default_operator(entity)
    elif prose:
        kind, operator = Kind.PROSE, dict(REPLACE)
    else:
        kind, operator = Kind.FREE, dict(KEEP)
    match declared:
        case Declared.TARGET | Declared.FEATURE:
            kind, entity, operator = Kind.FREE, None, dict(KEEP)
        case Declared.SUBJECT:
            kind, entity, operator = Kind.TYPED, entity or "SUBJECT_ID", dict(PSEUDONYM)
        case _:
            pass
    evidence = Evidence(
        rows=sample.rows,
        empty=sample.empty,
        distinct=distinct,
        scanned=len(values),
        numeric=numeric,
        language=_languages(folded),
        header=spoken,
        findings=_findings(spans, len(values)),
        samples=tuple(dict.fromkeys(shape(form.text) for form in folded[: SAMPLES * 4]))[:SAMPLES],
    )
    return PlannedColumn(name, kind, entity, operator, evidence, declared)


def _scan(
    folded: Sequence[Folded], spoken: Sequence[str], regimes: Sequence[str], *, numeric: bool
) -> list[list[Span]]:
    """All spans of every value, overlaps and doubts included; no model looks at numbers."""
    found = raw_spans(folded, spoken=spoken, regimes=regimes)
    spans = [list(found.get(i, ())) for i in range(len(folded))]
    if numeric:
        return spans
    by_language: dict[str, list[int]] = defaultdict(list)
    for i, form in enumerate(folded):
        by_language[language_of(form.text)].append(i)
    for language, numbers in by_language.items():
        results = presidio.analyze([folded[i].text for i in numbers], language, spoken)
        for i, result in zip(numbers, results, strict=True):
            spans[i].extend(s for s in result if s.entity in _MODEL_ONLY)
            spans[i].extend(_agreed(result, spans[i]))
    return spans


def _agreed(result: Sequence[Span], swept: Sequence[Span]) -> list[Span]:
    """What whole Presidio reports beyond the sweep; its lone telephone numbers stay doubts."""
    seen = {(s.start, s.end, s.entity) for s in swept}
    return [
        Span(s.start, s.end, s.entity, min(s.score, DOUBT))
        for s in result
        if s.entity not in _MODEL_ONLY and (s.start, s.end, s.entity) not in seen
    ]


def _entity_of(
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
        filling = {s.entity: s for s in sorted(found, key=_strength) if _fills(s, form.text)}
        names = {e for e, s in filling.items() if s.score >= REPORT and e != "LOCATION"}
        if categorical or total < FEW:
            names -= {"PERSON"} - set(spoken)
        sure.update(_best(names, filling))
        covered += bool(names)
        headed += bool(names & set(spoken))
        doubts = {e for e, s in filling.items() if s.score >= DOUBT and e not in _MODEL_ONLY}
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
    """Among entities that a tenth of the cells have: sensitive ones first, then the commonest."""
    common = [e for e, count in counts.items() if count * 10 >= covered]
    if not common:
        return None
    return min(common, key=lambda e: (sensitivity(e) != "S", -counts[e], rank(e)))


def _by_header(folded: Sequence[Folded], spoken: Collection[str]) -> str | None:
    """What the header says, where most cells could be it: a name without digits, six digits."""
    half = len(folded) / 2
    texts = [form.text.strip() for form in folded]
    for entity in spoken:
        if entity == "PERSON":
            fits = sum(_PERSON_LIKE.fullmatch(text) is not None for text in texts)
        elif entity in {"CN_ADDRESS", "STREET_ADDRESS"}:
            fits = sum(len(text) >= 8 and not _NUMBER.fullmatch(text) for text in texts)  # noqa: PLR2004 - shorter is a city
        elif entity in _FREE_OF_SHAPE:
            fits = 0
        else:
            fits = sum(sum(c.isdigit() for c in text) >= 6 for text in texts)  # noqa: PLR2004 - the shortest identifier
        if fits > half:
            return entity
    return None


def _is_prose(folded: Sequence[Folded], spans: Sequence[Sequence[Span]]) -> bool:
    """Sentences by their length, or short notes in which people turn up.

    Where there are too few values to tell, one in two with a person, or one proven identifier
    beside other text, is enough: to take a name for a word costs a word, the reverse costs a name.
    """
    if not folded:
        return False
    words = median(
        len(_WORDS.findall(form.text)) + len(HAN.findall(form.text)) / 2 for form in folded
    )
    peopled = sum(any(s.entity == "PERSON" for s in found) for found in spans)
    often = 20 if len(folded) >= FEW else 2
    beside = any(
        span.checked and not _fills(span, form.text)
        for form, found in zip(folded, spans, strict=True)
        for span in found
    )
    return words >= SENTENCE or peopled * often >= max(1, len(folded)) or beside


def _fills(span: Span, text: str) -> bool:
    whole = sum(not c.isspace() for c in text)
    inside = sum(not c.isspace() for c in text[span.start : span.end])
    return inside >= FILLS * whole


def _strength(span: Span) -> tuple[bool, float]:
    return span.checked, span.score


def _findings(spans: Sequence[Sequence[Span]], scanned: int) -> tuple[Finding, ...]:
    cells: Counter[str] = Counter()
    proven: Counter[str] = Counter()
    highest: dict[str, float] = defaultdict(float)
    for found in spans:
        for entity in {s.entity for s in found if s.score >= REPORT}:
            cells[entity] += 1
        for entity in {s.entity for s in found if s.checked}:
            proven[entity] += 1
        for span in found:
            if span.score >= REPORT:
                highest[span.entity] = max(highest[span.entity], span.score)
    return tuple(
        Finding(
            entity,
            count,
            f"{count / scanned:.3f}",
            f"{highest[entity]:.2f}",
            proven[entity],
        )
        for entity, count in sorted(cells.items(), key=lambda item: (-item[1], rank(item[0])))
    )


def _languages(folded: Sequence[Folded]) -> str:
    lettered = [f.text for f in folded if HAN.search(f.text) or _WORDS.search(f.text)]
    counts = Counter(language_of(text) for text in lettered)
    return "+".join(sorted((k for k, n in counts.items() if n * 10 >= len(lettered)), reverse=True))


def shape(text: str, longest: int = 40) -> str:
    """The shape of a value, which holds none of its characters but the marks between them."""
    return "".join(_class(c) for c in text[:longest]) + ("…" if len(text) > longest else "")


def _class(character: str) -> str:
    if character.isdigit():
        return "9"
    if character.isascii():
        return ("A" if character.isupper() else "a") if character.isalpha() else character
    if HAN.match(character):
        return "汉"
    return "a" if character.isalpha() else "·"
