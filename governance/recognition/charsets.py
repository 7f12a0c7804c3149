"""Sets of characters as runs of code points: what a construct of one character may take."""

from collections.abc import Sequence
from typing import Final

Set = tuple[tuple[int, int], ...]  # (first, last) of each run, in order, apart from each other

LAST: Final = 0x10FFFF
NON_ASCII: Final = (0x80, LAST)
ALNUM: Final[Set] = ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A))
WORD: Final[Set] = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
DIGIT: Final[Set] = ((0x30, 0x39),)
CASELESS: Final[Set] = ((0x2E80, 0xA63F), (0xAC00, 0xD7FF), (0x20000, 0x3FFFF))  # Han and others
SPACE: Final[Set] = ((0x09, 0x0D), (0x20, 0x20))


def joined(runs: Sequence[tuple[int, int]]) -> Set:
    """The runs in order, those that touch made one."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(runs):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def inverse(members: Set) -> Set:
    """All other characters."""
    runs = []
    start = 0
    for low, high in joined(members):
        if start < low:
            runs.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        runs.append((start, LAST))
    return tuple(runs)


def written(members: Set) -> str:
    """The set in RE2's syntax."""
    if not members:
        return r"[^\x00-\x{10FFFF}]"
    return "[" + "".join(rf"\x{{{low:X}}}-\x{{{high:X}}}" for low, high in members) + "]"


def size(members: Set) -> int:
    """How many characters are in it."""
    return sum(high - low + 1 for low, high in members)


def leading_bytes(members: Set) -> int:
    """The bytes that the characters may begin with in UTF-8, as bits."""
    bits = 0
    for low, high in members:
        first, last = (chr(code).encode(errors="surrogatepass")[0] for code in (low, high))
        bits |= (1 << (last + 1)) - (1 << first)
    return bits
