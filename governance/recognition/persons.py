"""People, places and identifiers in prose: models where they are needed, patterns everywhere.

Chinese goes to LAC, English to spaCy, a text in both to both (spaCy reads the ASCII shadow of a
text with Han characters). What the patterns find is merged in, and names that the caller already
knows to belong to the text's own row are looked for as they stand.
"""

import re
from collections.abc import Sequence
from typing import Final

from governance.recognition import lac, presidio
from governance.recognition import models as chosen
from governance.recognition.folding import fold, shadow
from governance.recognition.known_names import named, occurrences
from governance.recognition.languages import HAN
from governance.recognition.rules import REPORT
from governance.recognition.spans import Span, resolve
from governance.recognition.sweep import passing, raw_spans, restore, spoken_of
from governance.recognition.tenant_rules import NO_RULES, TenantRules

_CAPITALIZED: Final = re.compile(r"[A-Z][a-z]")
_NAME: Final = r"[A-Z][A-Za-z'-]+"
_TITLES: Final = r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof)\.?"
_TITLED: Final = re.compile(rf"\b{_TITLES} (?:[A-Z]\. ?)?{_NAME}(?: {_NAME}){{0,2}}")
_TITLE_BEFORE: Final = re.compile(rf"(?<![A-Za-z]){_TITLES} $")
_DEGREE_AFTER: Final = re.compile(r",? (?:MD|DDS|DVM|PhD|Jr|Sr|II|III|IV|RN|Esq)\b\.?")
_BRACKETED: Final = re.compile(r"<[A-Z_]+>")  # a placeholder that an operator left
_SHORTEST_NAME: Final = 2


Memo = dict[str, list[Span]]  # folded text to what the language models find in it
MEMO: Final = 20_000  # texts that a memo holds at the most


def find_prose(
    texts: Sequence[str],
    *,
    known: Sequence[Sequence[str]] | None = None,
    header: str | None = None,
    regimes: Sequence[str] = ("cn", "us"),
    models: bool = True,
    rules: TenantRules = NO_RULES,
    memo: Memo | None = None,
) -> list[list[Span]]:
    """Everything personal in each text: structured identifiers, PERSON, LOCATION.

    Args:
        texts: prose, in Chinese, English or both; equal texts are read once.
        known: for each text, names of the people that its own row is about; found verbatim, whole
            or by their parts, which are then instances of the whole name.
        header: the column's header, context for the patterns.
        regimes: jurisdictions, for telephone regions.
        models: False leaves the language models out and keeps patterns and known names.
        rules: the tenant's own terms and patterns.
        memo: what the models found in texts before; notes repeat, and the models cost the most.

    Returns:
        For each text its spans, sorted, without overlap, offsets into the text as given.

    Raises:
        ScanTimeoutError: a pattern ran past its time.
    """
    keys = [(text, tuple(known[i]) if known else ()) for i, text in enumerate(texts)]
    distinct = list(dict.fromkeys(texts))
    number = {text: i for i, text in enumerate(distinct)}
    folded = [fold(text) for text in distinct]
    found = raw_spans(
        folded,
        spoken=spoken_of(header, rules, regimes),
        regimes=regimes,
        threshold=REPORT,
        rules=rules,
    )
    if models:
        read = read_names([form.text for form in folded], regimes, memo)
        for i, spans in enumerate(read):
            found[i].extend(spans)
    results: dict[tuple[str, tuple[str, ...]], list[Span]] = {}
    for text, names in dict.fromkeys(keys):
        form = folded[number[text]]
        spans = [s for s in found.get(number[text], ()) if s.score >= REPORT]
        spans += occurrences(form.text, names)
        settled = passing(resolve(spans, form.text), form.text, rules)
        if names:
            settled = [named(s, form.text[s.start : s.end], names) for s in settled]
        results[text, names] = restore(settled, form)
    return [results[key] for key in keys]


def read_names(
    texts: Sequence[str], regimes: Sequence[str] = ("cn", "us"), memo: Memo | None = None
) -> list[list[Span]]:
    """What the language models find in folded texts; those in the memo are not read again."""
    known = {} if memo is None else memo
    new = [text for text in dict.fromkeys(texts) if text not in known]
    read: Memo = dict(zip(new, _read(new, regimes), strict=True))
    result = [read[text] if text in read else known[text] for text in texts]
    if memo is not None:
        if len(memo) + len(read) > MEMO:
            memo.clear()
        memo.update(list(read.items())[:MEMO])
    return result


def _read(texts: Sequence[str], regimes: Sequence[str]) -> list[list[Span]]:
    found = [list(spans) for spans in chosen.beside(texts, regimes)]
    chinese = [i for i, text in enumerate(texts) if HAN.search(text)]
    tagged = lac.tagger().spans([texts[i] for i in chinese])
    for i, spans in zip(chinese, tagged, strict=True):
        found[i].extend(spans)
    english = [i for i, text in enumerate(texts) if _CAPITALIZED.search(text)]
    ghosts = [shadow(texts[i]) for i in english]
    for i, ghost, spans in zip(english, ghosts, presidio.english_entities(ghosts), strict=True):
        found[i].extend(s for s in map(_trimmed(ghost), spans) if s is not None)
        found[i].extend(
            Span(match.start(), match.end(), "PERSON", 0.8) for match in _TITLED.finditer(ghost)
        )
    return found


class _trimmed:  # noqa: N801 - a function with one bound argument
    """Trim what a model takes too much of, and drop what can be no name."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, span: Span) -> Span | None:
        """The span without padding and possessive, or None."""
        value = self._text[span.start : span.end]
        if not _CAPITALIZED.search(value) or _BRACKETED.search(value):
            return None
        start = span.start + len(value) - len(value.lstrip(" \n\t.,;:'\"-"))
        stripped = re.sub(r"(?:'s|[\s.,;:'\"-])+$", "", value)
        end = span.start + len(stripped)
        if span.entity == "PERSON" and any(c.isdigit() for c in value):
            first = next(i for i, c in enumerate(value) if c.isdigit())
            end = min(end, span.start + len(value[:first].rstrip()))
        if span.entity == "PERSON":
            start, end = self._with_titles(start, end)
        return Span(start, end, span.entity, span.score) if end - start >= _SHORTEST_NAME else None

    def _with_titles(self, start: int, end: int) -> tuple[int, int]:
        """`Dr.` before and `MD` after belong to the name: left over, they would mark it."""
        before = _TITLE_BEFORE.search(self._text, max(0, start - 6), start)
        after = _DEGREE_AFTER.match(self._text, end)
        return before.start() if before else start, after.end() if after else end
