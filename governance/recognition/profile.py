"""Profile columns in a stream and propose a plan.

Each column keeps a sample of distinct values (`sampling`). Whole Presidio, our patterns and the
tenant's own rules read the sample, and what they find is judged by column (`judging`). Special
categories of personal data are looked for in the same sample, and compared with what the ingest
declared.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from governance.recognition import columns, models, presidio
from governance.recognition.entities import KEEP, PSEUDONYM, REPLACE, header_entities, rank
from governance.recognition.folding import Folded, fold
from governance.recognition.judging import DOUBT, MODEL_ONLY, NUMBER, entity_of, is_prose
from governance.recognition.languages import HAN, language_of
from governance.recognition.lexicons import SENSITIVE_CLASSES, class_of_entity, sensitive_classes
from governance.recognition.plan import (
    ClassSeen,
    ColumnPlan,
    Declared,
    Evidence,
    Finding,
    Kind,
    PlanError,
    PlannedColumn,
    proposed_operator,
)
from governance.recognition.reading import shape
from governance.recognition.rules import REPORT
from governance.recognition.sampling import Sample
from governance.recognition.spans import Span
from governance.recognition.sweep import passing, raw_spans
from governance.recognition.tenant_rules import NO_RULES, TenantRules

SAMPLES: Final = 5  # shapes shown to the steward
NUMERIC: Final = 0.95  # share of numbers from which on no model looks at a column
_TELLING: Final = 0.1  # share of cells from which on an unproven finding tells a special category
_WORD: Final = re.compile(r"[A-Za-z]{2}")  # the X of an identity number is of no language
_STRAY: Final = 0.02  # share of cells under which a word in a column of codes is chance


class Profiler:
    """Samples of all columns; feed chunks, then ask for the plan."""

    def __init__(
        self, names: Sequence[str], *, key: bytes = b"", rules: TenantRules = NO_RULES
    ) -> None:
        """Make an empty profile.

        Args:
            names: the columns, in order.
            key: up to 64 bytes that only the tenant knows, so that nobody can arrange which rows
                are looked at. The same key and data give the same plan.
            rules: the tenant's own; the plan names their edition.
        """
        self._rules = rules
        self._samples = {name: Sample(name, key[:64], rules) for name in names}

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
        sensitive: Collection[str] = (),
    ) -> ColumnPlan:
        """Propose what each column is and what is done to it.

        Args:
            target: the column to be predicted; passes whatever it looks like.
            subject: the column that tells people apart; always pseudonymized.
            features: columns declared free of persons; swept, but not typed.
            drop: columns that do not go out at all.
            regimes: jurisdictions of the dataset.
            languages: languages that it is said to hold.
            sensitive: special categories that it is said to hold.

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
                _decide(name, sample, tuple(regimes), declared.get(name), self._rules)
                for name, sample in self._samples.items()
            ),
            detector=presidio.detector_version(),
            regimes=tuple(regimes),
            languages=tuple(languages),
            rules=self._rules.version,
            declared_sensitive=tuple(sorted(sensitive)),
        )


def _decide(
    name: str,
    sample: Sample,
    regimes: Sequence[str],
    declared: Declared | None,
    rules: TenantRules,
) -> PlannedColumn:
    """Profile one column and choose its kind, entity and operator."""
    values = [value for value in sample.values() if value.strip()]
    folded = [fold(value) for value in values]
    spoken = tuple(dict.fromkeys((*header_entities(name, regimes), *rules.spoken(name))))
    numeric = bool(values) and sum(
        NUMBER.fullmatch(form.text.strip()) is not None for form in folded
    ) >= NUMERIC * len(values)
    spans = _scan(folded, spoken, regimes, rules, numeric=numeric)
    categorical = sample.categorical
    entity = entity_of(folded, spans, spoken, categorical=categorical, numeric=numeric)
    # What the watch saw settles it for categories too; what is wordy it no longer looked at.
    settled = sample.wordy or sample.beside > 0
    prose = settled or (not numeric and not categorical and is_prose(folded, spans))
    if entity is not None:
        kind, operator = Kind.TYPED, proposed_operator(entity)
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
    findings = _findings(spans, len(values))
    classes = sensitive_classes(values, name)
    evidence = Evidence(
        rows=sample.rows,
        empty=sample.empty,
        distinct=sample.distinct(),
        scanned=len(values),
        numeric=numeric,
        language=_languages(folded),
        header=spoken,
        findings=findings,
        samples=tuple(dict.fromkeys(shape(form.text) for form in folded[: SAMPLES * 4]))[:SAMPLES],
        classes=tuple(ClassSeen(code, cells) for code, cells in classes.items()),
        beside=sample.beside,
        leaves=sample.leaves,
    )
    told = _told(evidence, entity, prose=prose and entity is None)
    return PlannedColumn(name, kind, entity, operator, evidence, declared, sensitive=told)


def _told(evidence: Evidence, entity: str | None, *, prose: bool) -> tuple[str, ...]:
    """Special categories that a column tells, by its words, its header and its entities.

    In prose one cell is enough. In a column of names and codes a stray word is chance (a street may
    be called after a faith), and so is the card number that an identity number happens to be.
    """
    least = 0 if prose else _STRAY * evidence.scanned
    told = {seen.name for seen in evidence.classes if seen.cells >= max(1, least)}
    entities = {
        finding.entity
        for finding in evidence.findings
        if float(finding.prevalence) >= _TELLING or (entity is None and finding.proven)
    }
    told |= {class_of_entity(name) or "" for name in (*entities, *([entity] if entity else []))}
    return tuple(code for code in SENSITIVE_CLASSES if code in told)


def _scan(
    folded: Sequence[Folded],
    spoken: Sequence[str],
    regimes: Sequence[str],
    rules: TenantRules,
    *,
    numeric: bool,
) -> list[list[Span]]:
    """All spans of every value but those that a steward allows, overlaps and doubts included."""
    found = raw_spans(folded, spoken=spoken, regimes=regimes, rules=rules)
    spans = [list(found.get(i, ())) for i in range(len(folded))]
    together = columns.settled([form.text for form in folded], regimes)
    if together is not None:
        for form, own in zip(folded, spans, strict=True):
            own.append(Span(0, len(form.text), together, columns.SCORE))
    if not numeric:  # no model looks at numbers
        _ask_models(folded, spoken, spans)
        for i, beside in enumerate(models.beside([form.text for form in folded], regimes)):
            spans[i].extend(beside)
    return [passing(spans[i], form.text, rules) for i, form in enumerate(folded)]


def _ask_models(
    folded: Sequence[Folded], spoken: Sequence[str], spans: Sequence[list[Span]]
) -> None:
    """Add what whole Presidio says of each value, in the value's own language."""
    by_language: dict[str, list[int]] = defaultdict(list)
    for i, form in enumerate(folded):
        by_language[language_of(form.text)].append(i)
    for language, numbers in by_language.items():
        results = presidio.analyze([folded[i].text for i in numbers], language, spoken)
        for i, result in zip(numbers, results, strict=True):
            spans[i].extend(s for s in result if s.entity in MODEL_ONLY)
            spans[i].extend(_agreed(result, spans[i]))


def _agreed(result: Sequence[Span], swept: Sequence[Span]) -> list[Span]:
    """What whole Presidio reports beyond the sweep; its lone telephone numbers stay doubts."""
    seen = {(s.start, s.end, s.entity) for s in swept}
    return [
        Span(s.start, s.end, s.entity, min(s.score, DOUBT))
        for s in result
        if s.entity not in MODEL_ONLY and (s.start, s.end, s.entity) not in seen
    ]


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
    lettered = [f.text for f in folded if HAN.search(f.text) or _WORD.search(f.text)]
    counts = Counter(language_of(text) for text in lettered)
    return "+".join(sorted((k for k, n in counts.items() if n * 10 >= len(lettered)), reverse=True))
