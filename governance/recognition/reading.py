"""What a text is at first sight: its words, its shape, and whether a span is all of it."""

import re
from typing import Final

from governance.recognition.languages import HAN
from governance.recognition.spans import Span

FILLS: Final = 0.6  # share of a cell's characters that an entity must cover to be the cell
WORDS: Final = re.compile(r"[A-Za-z]+")


def word_count(text: str) -> float:
    """Words in Latin letters, and half a word for each Han character."""
    return len(WORDS.findall(text)) + len(HAN.findall(text)) / 2


def fills(span: Span, text: str) -> bool:
    """Whether the span is the cell, but for a label or a mark beside it."""
    whole = sum(not c.isspace() for c in text)
    inside = sum(not c.isspace() for c in text[span.start : span.end])
    return inside >= FILLS * whole


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
