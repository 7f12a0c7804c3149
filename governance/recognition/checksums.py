"""Check digits of identifiers: pure functions from the bare characters to a verdict.

Each takes the identifier without separators and answers whether its check digit (and, where the
format carries one, its date) holds. None of them raises on a wrong length or alphabet.
"""

from datetime import UTC, date, datetime
from typing import Final

_ID_CHECKS: Final = "10X98765432"  # GB 11643-1999: remainder mod 11 indexes into this
_USCC: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # GB 32100-2015: no I, O, S, V, Z
_USCC_VALUE: Final = {character: value for value, character in enumerate(_USCC)}
_USCC_WEIGHTS: Final = tuple(pow(3, i, 31) for i in range(17))
_ORGANIZATION_WEIGHTS: Final = (3, 7, 9, 10, 5, 8, 4, 2)  # GB 11714-1997
_TAIWAN_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVXYWZIO"  # index + 10 is the letter's number
PROVINCES: Final = frozenset(
    [
        "11",
        "12",
        "13",
        "14",
        "15",
        "21",
        "22",
        "23",
        "31",
        "32",
        "33",
        "34",
        "35",
        "36",
        "37",
        "41",
        "42",
        "43",
        "44",
        "45",
        "46",
        "50",
        "51",
        "52",
        "53",
        "54",
        "61",
        "62",
        "63",
        "64",
        "65",
        "71",
        "81",
        "82",
        "83",
    ]
)  # GB/T 2260 first level; 83 is the code of residence permits for Taiwan residents


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 mod 10, over a string of ASCII digits."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = ord(digit) - 48
        if not 0 <= value <= 9:  # noqa: PLR2004 - the decimal digits
            return False
        if place % 2:
            value = value * 2 - 9 * (value > 4)  # noqa: PLR2004 - a doubled 5 has two digits
        total += value
    return bool(digits) and total % 10 == 0


def real_date(text: str) -> bool:
    """Whether `YYYYMMDD` is a day that exists and is not in the future."""
    try:
        return date.fromisoformat(text) <= datetime.now(tz=UTC).date()
    except ValueError:
        return False


def mod11_2(text: str) -> bool:
    """ISO 7064 MOD 11-2 over 17 digits and a check character: Chinese resident identity numbers."""
    if len(text) != 18 or not text[:17].isdecimal():  # noqa: PLR2004 - GB 11643 length
        return False
    total = sum(int(digit) * pow(2, 17 - i, 11) for i, digit in enumerate(text[:17]))
    return _ID_CHECKS[total % 11] == text[17].upper() and real_date(text[6:14])


def upgrade15(text: str) -> str | None:
    """The 18-digit form of a first-generation number, or None when its date does not exist.

    Sequence numbers 996 to 999 were kept for people born in the 1800s.
    """
    if len(text) != 15 or not text.isdecimal():  # noqa: PLR2004 - first-generation length
        return None
    century = "18" if text[12:] in {"996", "997", "998", "999"} else "19"
    body = text[:6] + century + text[6:]
    if not real_date(body[6:14]):
        return None
    total = sum(int(digit) * pow(2, 17 - i, 11) for i, digit in enumerate(body))
    return body + _ID_CHECKS[total % 11]


def id15(text: str) -> bool:
    """A first-generation number has no check digit: a known province and a real day must do."""
    return text[:2] in PROVINCES and upgrade15(text) is not None


def uscc(text: str) -> bool:
    """GB 32100-2015 unified social credit code, and the GB 11714 organization code inside it."""
    if len(text) != 18 or any(c not in _USCC_VALUE for c in text):  # noqa: PLR2004 - its length
        return False
    total = sum(_USCC_VALUE[c] * w for c, w in zip(text, _USCC_WEIGHTS, strict=False))
    return _USCC[(31 - total % 31) % 31] == text[17]


def hkid(text: str) -> bool:
    """Hong Kong identity card: letters count from A=10, a missing first letter is 36."""
    text = text.replace("(", "").replace(")", "")
    if len(text) not in {8, 9}:
        return False
    padded = text.rjust(9)
    values = [36 if c == " " else int(c, 36) for c in padded if c == " " or c.isalnum()]
    if len(values) != len(padded):
        return False
    weighted = (value * weight for value, weight in zip(values, range(9, 0, -1), strict=True))
    return sum(weighted) % 11 == 0


def taiwan_id(text: str) -> bool:
    """Taiwan identity and residence numbers: the letter is two digits, weights 1 9 8 … 1 1."""
    if len(text) != 10 or text[0] not in _TAIWAN_LETTERS or not text[1:].isdecimal():  # noqa: PLR2004
        return False
    number = _TAIWAN_LETTERS.index(text[0]) + 10
    digits = [number // 10, number % 10, *map(int, text[1:])]
    return (
        sum(d * w for d, w in zip(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True)) % 10 == 0
    )
