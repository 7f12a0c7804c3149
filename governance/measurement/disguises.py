"""The same value as somebody writes it who hides it, or whose keyboard does.

Full-width digits and letters, an invisible character inside, a direction mark around: none of them
changes what a person reads.
"""

from typing import Final

from governance.measurement.drawing import Draw

_WIDE: Final = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_INVISIBLE: Final = ("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad")
_MARKS: Final = (("\u202a", "\u202c"), ("\u2066", "\u2069"), ("\u200e", "\u200e"))


def disguised(draw: Draw, text: str) -> str:
    """`text` in one of the disguises."""
    match draw.between(0, 2):
        case 0:
            return text.translate(_WIDE)
        case 1:
            place = draw.between(1, len(text) - 1)
            return text[:place] + draw.one(_INVISIBLE) + text[place:]
        case _:
            place = draw.between(1, len(text) - 1)
            before, after = draw.one(_MARKS)
            return text[:place] + before + text[place:] + after
