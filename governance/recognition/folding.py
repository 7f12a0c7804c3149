"""Fold a text to the characters it stands for, and keep the way back.

Full-width and other compatibility forms become their NFKC form, every decimal digit of Unicode
becomes ASCII, and invisible characters (zero-width, bidirectional controls, soft hyphens, variation
selectors) vanish, so that none of them hides an identifier. Offsets found in the folded text map
back to the text as it was given.
"""

import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

SEPARATOR: Final = "\n\0\n"
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
_LAST_BASIC: Final = "\uffff"
_BEYOND: Final = re.compile("[\U00010000-\U0010ffff]")
_NON_ASCII: Final = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text; `offsets[i]` is where its character i began (None: same places)."""

    text: str
    offsets: tuple[int, ...] | None = None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the original text that the folded stretch `start:end` came from."""
        if self.offsets is None:
            return start, end
        return self.offsets[start], self.offsets[end - 1] + 1


@cache
def _tables() -> tuple[re.Pattern[str], dict[str, str], re.Pattern[str]]:
    """Pattern of the characters that fold to one character, their map, and those that fold to more.

    Built once per process from `unicodedata` (about 0.3 s), so it follows the interpreter's
    Unicode version.
    """
    single: dict[str, str] = {}
    several: list[str] = []
    for code in range(0x80, sys.maxunicode + 1):
        character = chr(code)
        category = unicodedata.category(character)
        if category in {"Cn", "Co"}:
            continue
        if category == "Cs":  # half of a pair: it has no encoding, so no text may hold it
            single[character] = "\ufffd"
            continue
        folded = unicodedata.normalize("NFKC", character)
        if category == "Nd":
            folded = str(unicodedata.digit(character))
        elif category == "Zs":
            folded = " "
        if folded == character:
            continue
        if len(folded) == 1:
            single[character] = folded
        elif folded.isascii():
            several.append(character)
    single |= dict.fromkeys("‐‑‒–—−﹣", "-")  # the dashes that word processors put into numbers
    return _charset(list(single)), single, _charset(several)


def _charset(characters: list[str]) -> re.Pattern[str]:
    runs: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    ranges = (re.escape(chr(a)) + "-" + re.escape(chr(b)) for a, b in runs)
    return re.compile("[" + "".join(ranges) + "]")


def fold(text: str) -> Folded:
    """Return the folded text; free for ASCII, and without an offset map where lengths agree."""
    if text.isascii():
        return Folded(text.replace("\0", "\x1a")) if "\0" in text else Folded(text)
    if not _foldable(text):
        return Folded(text.replace("\0", "\x1a"))
    pattern, table, several = _tables()
    text = pattern.sub(lambda match: table[match[0]], text).replace("\0", "\x1a")
    if not (_INVISIBLE.search(text) or several.search(text)):
        return Folded(text)
    characters: list[str] = []
    offsets: list[int] = []
    for place, character in enumerate(text):
        if _INVISIBLE.match(character):
            continue
        folded = unicodedata.normalize("NFKC", character) if several.match(character) else character
        characters.append(folded)
        offsets.extend([place] * len(folded))
    return Folded("".join(characters), tuple(offsets))


def fold_all(texts: Sequence[str]) -> tuple[Sequence[str], dict[int, tuple[int, ...]]]:
    """Many folded texts, and by number the offset maps of those whose lengths changed.

    One look over all of them together settles the common case, in which nothing folds.
    """
    joined = SEPARATOR.join(texts)
    if joined.count("\0") == max(0, len(texts) - 1) and (joined.isascii() or not _foldable(joined)):
        return texts, {}
    forms = [fold(text) for text in texts]
    offsets = {i: form.offsets for i, form in enumerate(forms) if form.offsets is not None}
    return [form.text for form in forms], offsets


def _foldable(text: str) -> bool:
    """Whether folding changes any character but NUL.

    A character class is looked up at once within the basic plane, and run by run beyond it: the
    few texts with such characters take the longer way.
    """
    basic, beyond = _classes()
    return basic.search(text) is not None or (
        _BEYOND.search(text) is not None and beyond.search(text) is not None
    )


@cache
def _classes() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """All characters that folding changes: those of the basic plane, and the others."""
    single, _, several = _tables()
    classes = (single.pattern, several.pattern, _INVISIBLE.pattern)
    every = re.compile("[" + "".join(pattern[1:-1] for pattern in classes) + "]")
    changed = [chr(code) for code in range(0x80, sys.maxunicode + 1) if every.match(chr(code))]
    return (
        _charset([c for c in changed if c <= _LAST_BASIC]),
        _charset([c for c in changed if c > _LAST_BASIC]),
    )


def shadow(text: str) -> str:
    r"""The same length in ASCII: every other character is a space.

    Unicode `\b` sees no boundary between a Han character and a digit, so Presidio's built-in
    patterns miss what stands beside Chinese text; on the shadow they hit at unchanged offsets.
    """
    return text if text.isascii() else _NON_ASCII.sub(" ", text)
