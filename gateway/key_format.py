"""How an API key is written: what a scanner for leaked secrets needs, and no database.

`pck_{live|test}_{id10}_{secret43}{crc6}` in base-62. 43 digits are 256 bits; the checksum is the
CRC-32 (ISO-HDLC) of all that stands before it.
"""

import re
from collections.abc import Iterator
from typing import Final
from zlib import crc32

# Published for secret scanners: a match whose checksum holds is a key.
PATTERN: Final = r"pck_(?:live|test)_[0-9A-Za-z]{10}_[0-9A-Za-z]{49}"
DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID, SECRET, CHECK = 10, 43, 6

shaped: Final = re.compile(PATTERN).fullmatch
_hidden: Final = re.compile(r"(pck_(?:live|test)_[0-9A-Za-z]{10}_)[0-9A-Za-z]+").sub
_within: Final = re.compile(PATTERN).finditer
_PAIRS: Final = tuple(high + low for high in DIGITS for low in DIGITS)


def checksum(body: str) -> str:
    """Six base-62 digits of the CRC-32 (ISO-HDLC) of `body`."""
    return told(crc32(body.encode("ascii")))


def told(number: int) -> str:
    """A number below 2**32 as six base-62 digits, two at a time."""
    return _PAIRS[number // 14_776_336] + _PAIRS[number // 3844 % 3844] + _PAIRS[number % 3844]


def base62(number: int, length: int) -> str:
    """A number in so many base-62 digits."""
    digits = []
    for _ in range(length):
        number, place = divmod(number, 62)
        digits.append(DIGITS[place])
    return "".join(reversed(digits))


def masked(text: str) -> str:
    """A text in which all that looks like a key, whole or mistyped, is cut down to its id."""
    return _hidden(r"\1…", text) if "pck_" in text else text


def keys_in(text: str) -> Iterator[str]:
    """The ids of the keys in a text."""
    for match in _within(text):
        if checksum(match[0][:-CHECK]) == match[0][-CHECK:]:
            yield match[0][9 : 9 + ID]
