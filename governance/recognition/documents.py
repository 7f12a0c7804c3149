"""The finders of other countries' documents, for the regimes that a dataset declares.

Most are Presidio's recognizers on the shadow copy, as `countries.csv` weighs them; where it has
none (France, the Netherlands, Japan) or no check digit (Singapore), the rules are ours.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Final

from presidio_analyzer import Pattern, PatternRecognizer
from presidio_analyzer import predefined_recognizers as predefined

from governance.recognition.builtin import BuiltIn
from governance.recognition.checksums import burgerservicenummer, my_number, nir, nric
from governance.recognition.countries import DOCUMENTS, Document
from governance.recognition.rules import Finder, Gate, Rule, bounded, compact, in_context
from governance.recognition.spans import Span

_DOUBT: Final = 0.3
# Ten characters of nearly any kind, looked ahead for to the end of the text: quadratic, and no PAN.
_LEFT_OUT: Final = frozenset({"PAN (Low)"})


def _nir(text: str) -> bool:
    return nir(compact(text))


def _my_number(text: str) -> bool:
    return my_number(compact(text))


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "FR_NIR",
        "FR_NIR",
        bounded(r"[1-478] ?\d\d ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?-?\d\d"),
        Gate.NUMBER,
        0.85,
        1.0,
        _nir,
    ),
    Rule("NL_BSN", "NL_BSN", bounded(r"\d{9}"), Gate.NUMBER, 0.05, 0.9, burgerservicenummer),
    Rule(
        "JP_MY_NUMBER",
        "JP_MY_NUMBER",
        bounded(r"\d{4}[- ]?\d{4}[- ]?\d{4}"),
        Gate.NUMBER,
        0.3,
        0.95,
        _my_number,
    ),
    Rule("SG_NRIC_FIN", "SG_NRIC_FIN", bounded(r"[STFGM]\d{7}[A-Z]"), Gate.CODE, 0.85, 1.0, nric),
)


class Recognized(BuiltIn):
    """A recognizer of Presidio's as its row in the table weighs it."""

    def __init__(self, document: Document) -> None:
        super().__init__(
            recognizer(document.recognizer),
            Gate[document.gate],
            contextual=document.weight == "shape",
        )
        self._bare = document.weight == "bare"

    def find(self, text: str, shadow: str, spoken: Collection[str]) -> Iterator[Span]:
        """Spans as the recognizer finds them; digits alone are a doubt without a word beside them.

        Raises:
            ScanTimeoutError: a pattern ran past its time.
        """
        for span in super().find(text, shadow, spoken):
            value = shadow[span.start : span.end]
            start = span.end - len(value.lstrip())  # the Italian VAT pattern ends in a space
            end = span.start + len(value.rstrip())
            doubtful = self._bare and value.strip().isdigit()
            if doubtful and not (
                self.entity in spoken or in_context(self.entity, text, start, end)
            ):
                yield Span(start, end, span.entity, min(span.score, _DOUBT))
            else:
                yield Span(start, end, span.entity, span.score, span.checked)


def recognizer(name: str) -> PatternRecognizer:
    """Presidio's recognizer of this class, without the flags in the middle of its patterns.

    The flags repeat what all patterns are compiled with, and Python deprecates them there.
    """
    kind: type[PatternRecognizer] = getattr(predefined, name)
    patterns = [
        Pattern(p.name, p.regex.replace("(?i)", ""), p.score)
        for p in kind().patterns
        if p.name not in _LEFT_OUT
    ]
    return kind(patterns=patterns)


def declared(regimes: Sequence[str]) -> tuple[Document, ...]:
    """The documents that one of the regimes asks for."""
    return tuple(d for d in DOCUMENTS if not set(d.regimes).isdisjoint(regimes))


@cache
def finders(regimes: tuple[str, ...]) -> tuple[Finder, ...]:
    """The finders of all documents that the regimes ask for."""
    wanted = declared(regimes)
    names = {document.entity for document in wanted}
    return (
        *(rule for rule in RULES if rule.entity in names),
        *(Recognized(document) for document in wanted if document.recognizer),
    )
