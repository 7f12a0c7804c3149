"""What stands right beside a match: whether it is whole, and whether it is alone in its cell."""

from typing import Final

import regex

_FRACTION: Final = regex.compile(r"\.[0-9]")
_DECIMAL: Final = regex.compile(r"[0-9]\.$")


def whole(text: str, start: int, end: int) -> bool:
    """Not a piece of a longer run of letters and digits, nor of a decimal number."""
    if start and text[start - 1].isalnum() and text[start].isalnum():
        return False
    if end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
        return False
    return not (
        text[start:end].isdigit()
        and (_FRACTION.match(text, end) or _DECIMAL.search(text[max(0, start - 2) : start]))
    )


def alone(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` is a whole cell of a joined chunk."""
    while start and text[start - 1].isspace():
        start -= 1
    while end < len(text) and text[end].isspace():
        end += 1
    return (not start or text[start - 1] == "\0") and (end == len(text) or text[end] == "\0")
