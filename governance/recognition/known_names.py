"""The names that a text's own row holds: where they stand in it, whole or in part, and as whom.

A note about Maria Lopez-Ortiz says Maria, or Ms Lopez-Ortiz. Such a part is the same instance as
the name in the row, so that an operator which keeps equality makes the same of both.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from governance.recognition.chinese import COMPOUND_SURNAMES
from governance.recognition.folding import fold
from governance.recognition.languages import HAN
from governance.recognition.spans import Span

_SHORTEST: Final = 2
_NO_PARTS: Final = frozenset({"Mrs", "Miss", "DDS", "DVM", "PhD", "Prof"})
_SPLIT: Final = re.compile(r"[\s.,]+")
_BEFORE: Final = re.compile(r"(?:(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof)\.? +)+", re.IGNORECASE)
_AFTER: Final = re.compile(
    r"(?:'s|’s|,? (?:MD|DDS|DVM|PhD|Jr|Sr|II|III|IV|RN|Esq)\b\.?|[\s.,;:'\"-])+$"
)
_TITLES: Final = re.compile(
    r"(?:先生|女士|小姐|同志|老师|老師|医生|醫生|大夫|主任|经理|經理|律师|律師|教授|护士|護士|总)$"
)


def occurrences(text: str, names: Sequence[str]) -> list[Span]:
    """Every place in a folded text where one of the names stands, or a part of one."""
    return [
        Span(start, start + len(part), "PERSON", 0.95, instance=name)
        for name in names
        for part in parts(name)
        for start in _places(text, part)
    ]


def named(span: Span, value: str, names: Sequence[str]) -> Span:
    """The span of a person with the one name as its instance of which `value` is a part.

    What is left of `value` without titles must be the name, a part of it, or, before a Chinese
    title, its surname. Where two names of the row fit, neither is taken.
    """
    if span.entity != "PERSON" or not names:
        return span
    core = _AFTER.sub("", _BEFORE.sub("", value.strip(), count=1))
    surname = _TITLES.sub("", core)
    fitting = {
        whole
        for name in names
        if (whole := folded(name))
        and (
            core in (found := parts(name))
            or surname in found
            or (surname != core and surname == _surname(whole))
        )
    }
    return (
        span._replace(instance=fitting.pop()) if len(fitting) == 1 else span._replace(instance="")
    )


@lru_cache(maxsize=4096)
def parts(name: str) -> tuple[str, ...]:
    """`Maria Lopez-Ortiz` is also Maria and Lopez-Ortiz; a Chinese given name may stand alone."""
    name = folded(name)
    if len(name) < _SHORTEST:
        return ()
    if HAN.search(name):
        given = name[len(_surname(name)) :]
        return (name, *((given,) if len(given) >= _SHORTEST else ()))
    words = [w for w in _SPLIT.split(name) if len(w) > _SHORTEST and w[0].isupper()]
    return tuple(dict.fromkeys((name, *(w for w in words if w not in _NO_PARTS))))


def folded(name: str) -> str:
    """The name as it is looked for."""
    return fold(name).text.strip()


def _surname(name: str) -> str:
    return name[:2] if name[:2] in COMPOUND_SURNAMES else name[:1]


def _places(text: str, part: str) -> Iterator[int]:
    """Where `part` begins in `text`; letters before or after it make it a piece of a word."""
    start = text.find(part)
    bounded = part.isascii()
    while start >= 0:
        end = start + len(part)
        if not (
            bounded and (_is_letter(text[start - 1 : start]) or _is_letter(text[end : end + 1]))
        ):
            yield start
        start = text.find(part, end)


def _is_letter(character: str) -> bool:
    return character.isascii() and character.isalpha()
