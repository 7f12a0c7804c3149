"""The fast path against the slow one, on a few cells of every column of a real table.

Two comparisons. Every finder, run over each sampled cell by itself and without conditions, finds
nothing that the sweep's screening leaves out. And what plain Presidio's recognizers prove, with
their own patterns over the cell as it came, the sweep covers. Either number other than zero is a
fault of the detector; the result holds counts alone and goes into the record of an ingest.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from presidio_analyzer import PatternRecognizer
from presidio_analyzer import predefined_recognizers as predefined

from governance.recognition.builtin import finders, is_network, suffixes
from governance.recognition.folding import fold, shadow
from governance.recognition.plan import ColumnPlan
from governance.recognition.rules import REPORT
from governance.recognition.spans import Span
from governance.recognition.surroundings import whole
from governance.recognition.sweep import raw_spans, spoken_of, sweep_texts
from governance.recognition.tenant_rules import NO_RULES, TenantRules
from governance.tables.nesting import is_list, leaves

CELLS: Final = 50  # of a column
LONGEST: Final = 2_000  # characters of a cell: Presidio's own patterns are not all linear
PROVEN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Difference:
    """Counts of one comparison.

    Attributes:
        cells: distinct values that were looked at both ways.
        presidio: hits that Presidio's own recognizers prove.
        missed: by entity, those of them that the sweep does not cover.
        left_out: by entity, hits of finders that screening leaves out.
    """

    cells: int
    presidio: int
    missed: dict[str, int]
    left_out: dict[str, int]


def differential(
    columns: Mapping[str, Sequence[str | None]],
    plan: ColumnPlan,
    *,
    rules: TenantRules = NO_RULES,
    cells: int = CELLS,
) -> Difference:
    """Compare both ways on up to `cells` distinct values of each column (about 20 ms a column).

    Args:
        columns: rows as they came, before any operator.
        plan: the plan; its regimes are the sweep's.
        rules: the tenant's own terms and patterns.
        cells: distinct values of a column, evenly drawn.

    Returns:
        Counts only.
    """
    compared = proven = 0
    missed: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for name, values in columns.items():
        texts = _drawn(name, values, cells)
        compared += len(texts)
        spoken = spoken_of(name, rules, plan.regimes)
        left_out.update(_left_out(texts, spoken, plan, rules))
        swept = sweep_texts(texts, spoken=spoken, regimes=plan.regimes)
        for text, spans in zip(texts, swept, strict=True):
            covered = {i for span in spans for i in range(span.start, span.end)}
            for hit in _stock_hits(text):
                proven += 1
                # These identifiers are ASCII: a label in Han that a hit begins with is none of it.
                marks = (i for i in range(hit.start, hit.end) if text[i].isascii())
                if any(text[i].isalnum() and i not in covered for i in marks):
                    missed[hit.entity] += 1
    return Difference(
        compared, proven, dict(sorted(missed.items())), dict(sorted(left_out.items()))
    )


def _drawn(name: str, values: Sequence[str | None], count: int) -> list[str]:
    """Distinct values, or leaves of a list's cells, at even distances."""
    texts: Sequence[str | None] = values
    if is_list(name):
        texts = [leaf for cell in values if cell for leaf in leaves(cell)]
    distinct = [text[:LONGEST] for text in dict.fromkeys(texts) if text and text.strip()]
    step = max(1, len(distinct) // count)
    return list(dict.fromkeys(distinct[::step][:count]))


def _left_out(
    texts: Sequence[str], spoken: Sequence[str], plan: ColumnPlan, rules: TenantRules
) -> Counter[str]:
    folded = [fold(text) for text in texts]
    found = raw_spans(folded, spoken=spoken, regimes=plan.regimes, threshold=REPORT, rules=rules)
    lost: Counter[str] = Counter()
    for number, form in enumerate(folded):
        ghost = shadow(form.text)
        quick = set(found.get(number, ()))
        for finder in (*finders(tuple(plan.regimes)), *rules.finders):
            lost.update(
                span.entity
                for span in finder.find(form.text, ghost, spoken)
                if span.score >= REPORT and span not in quick
            )
    return lost


def _stock_hits(text: str) -> list[Span]:
    """What plain Presidio proves in a text, but for what is no person's by design."""
    return [
        Span(hit.start, hit.end, hit.entity_type, hit.score)
        for recognizer in _stock()
        for hit in recognizer.analyze(text, recognizer.supported_entities)
        if hit.score >= PROVEN and _is_somebodys(text, hit.start, hit.end, hit.entity_type)
    ]


def _is_somebodys(text: str, start: int, end: int, entity: str) -> bool:
    value = text[start:end]
    if not whole(text, start, end):
        return False  # a piece of a longer code
    if entity == "IP_ADDRESS":
        return not is_network(value)
    return not (entity == "EMAIL_ADDRESS" and "**" in value)  # a mask left it


class _OfflineEmail(predefined.EmailRecognizer):
    """The stock recognizer, but that it looks the suffix up in the list that was installed."""

    def validate_result(self, pattern_text: str) -> bool:
        """Whether the address has a host under a public suffix."""
        return bool(suffixes(pattern_text).fqdn)


@cache
def _stock() -> tuple[PatternRecognizer, ...]:
    """Presidio's recognizers that prove what they find, as they are shipped."""
    return (
        predefined.CreditCardRecognizer(),
        predefined.CryptoRecognizer(),
        predefined.IbanRecognizer(),
        predefined.IpRecognizer(),
        _OfflineEmail(),
    )
