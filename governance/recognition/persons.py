"""People, places and identifiers in prose: models where they are needed, patterns everywhere.

Chinese goes to LAC, English to spaCy, a text in both to both (spaCy reads the ASCII shadow of a
text with Han characters). What the patterns find is merged in, and names that the caller already
knows to belong to the text's own row are looked for as they stand.
"""

import re
from collections.abc import Sequence
from typing import Final

from governance.recognition import lac, presidio
from governance.recognition.chinese import COMPOUND_SURNAMES
from governance.recognition.entities import header_entities
from governance.recognition.folding import Folded, fold, shadow
from governance.recognition.rules import REPORT
from governance.recognition.spans import Span, resolve
from governance.recognition.sweep import raw_spans, restore

HAN: Final = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")
_LETTER: Final = re.compile(r"[A-Za-z]")
_CAPITALIZED: Final = re.compile(r"[A-Z][a-z]")
_NAME: Final = r"[A-Z][A-Za-z'-]+"
_TITLES: Final = r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof)\.?"
_TITLED: Final = re.compile(rf"\b{_TITLES} (?:[A-Z]\. ?)?{_NAME}(?: {_NAME}){{0,2}}")
_TITLE_BEFORE: Final = re.compile(rf"(?<![A-Za-z]){_TITLES} $")
_DEGREE_AFTER: Final = re.compile(r",? (?:MD|DDS|DVM|PhD|Jr|Sr|II|III|IV|RN|Esq)\b\.?")
_BRACKETED: Final = re.compile(r"<[A-Z_]+>")  # a placeholder that an operator left
HAN_SHARE: Final = 0.3  # of the letters, from which on a text counts as Chinese
_SHORTEST_NAME: Final = 2


def language_of(text: str) -> str:
    """`zh` when a good share of the letters are Han characters, else `en`."""
    han = len(HAN.findall(text))
    return "zh" if han and han >= HAN_SHARE * (han + len(_LETTER.findall(text)) / 5) else "en"


def find_prose(
    texts: Sequence[str],
    *,
    known: Sequence[Sequence[str]] | None = None,
    header: str | None = None,
    regimes: Sequence[str] = ("cn", "us"),
    models: bool = True,
) -> list[list[Span]]:
    """Everything personal in each text: structured identifiers, PERSON, LOCATION.

    Args:
        texts: prose, in Chinese, English or both; equal texts are read once.
        known: for each text, names of the people that its own row is about; found verbatim, whole
            or by their parts.
        header: the column's header, context for the patterns.
        regimes: jurisdictions, for telephone regions.
        models: False leaves the language models out and keeps patterns and known names.

    Returns:
        For each text its spans, sorted, without overlap, offsets into the text as given.

    Raises:
        ScanTimeoutError: a pattern ran past its time.
    """
    keys = [(text, tuple(known[i]) if known else ()) for i, text in enumerate(texts)]
    distinct = list(dict.fromkeys(texts))
    number = {text: i for i, text in enumerate(distinct)}
    folded = [fold(text) for text in distinct]
    found = raw_spans(folded, spoken=header_entities(header), regimes=regimes)
    if models:
        for i, spans in _models(folded).items():
            found[i].extend(spans)
    results: dict[tuple[str, tuple[str, ...]], list[Span]] = {}
    for text, names in dict.fromkeys(keys):
        form = folded[number[text]]
        spans = [s for s in found.get(number[text], ()) if s.score >= REPORT]
        spans += _known(form.text, names)
        results[text, names] = restore(resolve(spans, form.text), form)
    return [results[key] for key in keys]


def _models(folded: Sequence[Folded]) -> dict[int, list[Span]]:
    found: dict[int, list[Span]] = {}
    chinese = [i for i, form in enumerate(folded) if HAN.search(form.text)]
    for i, spans in zip(
        chinese, lac.tagger().spans([folded[i].text for i in chinese]), strict=True
    ):
        found.setdefault(i, []).extend(spans)
    english = [i for i, form in enumerate(folded) if _CAPITALIZED.search(form.text)]
    ghosts = [shadow(folded[i].text) for i in english]
    for i, ghost, spans in zip(english, ghosts, presidio.english_entities(ghosts), strict=True):
        found.setdefault(i, []).extend(s for s in map(_trimmed(ghost), spans) if s is not None)
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


def _known(text: str, names: Sequence[str]) -> list[Span]:
    """Verbatim occurrences of the row's own names and of their parts."""
    spans: list[Span] = []
    for name in names:
        for part in _parts(fold(name).text.strip()):
            pattern = re.escape(part)
            if part.isascii():
                pattern = rf"(?<![A-Za-z]){pattern}(?![A-Za-z])"
            spans.extend(
                Span(match.start(), match.end(), "PERSON", 0.95)
                for match in re.finditer(pattern, text)
            )
    return spans


def _parts(name: str) -> list[str]:
    """`Maria Lopez-Ortiz` is also Maria and Lopez-Ortiz; a Chinese given name may stand alone."""
    if len(name) < _SHORTEST_NAME:
        return []
    if HAN.search(name):
        given = name[2:] if name[:2] in COMPOUND_SURNAMES else name[1:]
        return [name, *([given] if len(given) >= _SHORTEST_NAME else [])]
    words = [w for w in re.split(r"[\s.,]+", name) if len(w) > _SHORTEST_NAME and w[0].isupper()]
    titles = {"Mrs", "Miss", "DDS", "DVM", "PhD", "Prof"}
    return [name, *(w for w in words if w not in titles)]
