"""Check digits of identifiers: pure functions from the bare characters to a verdict.

Each takes the identifier without separators and answers whether its check digit (and, where the
format carries one, its date) holds. None of them raises on a wrong length or alphabet.
"""

from datetime import UTC, date, datetime
from operator import mul
from typing import Final

# A digit in every second place counts doubled, and a doubled digit of two as the sum of both.
_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")
_MOD11_WEIGHTS: Final = tuple(pow(2, 17 - i, 11) for i in range(17))
_ID_CHECKS: Final = "10X98765432"  # GB 11643-1999: remainder mod 11 indexes into this
_USCC: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # GB 32100-2015: no I, O, S, V, Z
_USCC_VALUE: Final = {character: value for value, character in enumerate(_USCC)}
_USCC_WEIGHTS: Final = tuple(pow(3, i, 31) for i in range(17))
_ORGANIZATION_WEIGHTS: Final = (3, 7, 9, 10, 5, 8, 4, 2)  # GB 11714-1997
_TAIWAN_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVXYWZIO"  # index + 10 is the letter's number
_VIN_VALUE: Final = {
    **{str(digit): digit for digit in range(10)},
    **dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", map(int, "12345678123457923456789"), strict=True)),
}
_NRIC: Final = {
    "S": (0, "JZIHGFEDCBA"),
    "T": (4, "JZIHGFEDCBA"),
    "F": (0, "XWUTRQPNMLK"),
    "G": (4, "XWUTRQPNMLK"),
    "M": (3, "XWUTRQPNJLK"),
}
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
    if not (digits.isascii() and digits.isdecimal()):
        return False
    codes = digits[::-1].encode()
    total = sum(codes[::2]) + sum(codes[1::2].translate(_DOUBLED)) - 48 * len(codes)
    return total % 10 == 0


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
    total = sum(map(mul, map(int, text[:17]), _MOD11_WEIGHTS))
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
    """GB 32100-2015 unified social credit code."""
    if len(text) != 18 or any(c not in _USCC_VALUE for c in text):  # noqa: PLR2004 - its length
        return False
    total = sum(_USCC_VALUE[c] * w for c, w in zip(text, _USCC_WEIGHTS, strict=False))
    return _USCC[(31 - total % 31) % 31] == text[17]


def organization(text: str) -> bool:
    """GB 11714-1997 organization code: eight characters and a check character, a hyphen or not."""
    text = text.replace("-", "")
    if len(text) != 9 or any(c not in _USCC_VALUE for c in text[:8]):  # noqa: PLR2004 - its length
        return False
    total = sum(int(c, 36) * w for c, w in zip(text, _ORGANIZATION_WEIGHTS, strict=False))
    return "0123456789X0"[11 - total % 11] == text[8]


def machine_readable(text: str) -> int:
    """The check digit of ICAO Doc 9303 part 3: weights 7, 3, 1, letters from A=10, `<` is 0."""
    values = (0 if c == "<" else int(c, 36) for c in text)
    return sum(value * (7, 3, 1)[i % 3] for i, value in enumerate(values)) % 10


def travel_document(line: str) -> bool:
    """The second line of a passport's machine-readable zone (ICAO Doc 9303 part 4, 44 characters).

    Number, birth date, expiry and the whole line each carry a check digit; an empty personal number
    may leave its own away.
    """
    if len(line) != 44 or not line.isascii():  # noqa: PLR2004 - TD3's length
        return False
    parts = [(line[:9], line[9]), (line[13:19], line[19]), (line[21:27], line[27])]
    parts += [(line[:10] + line[13:20] + line[21:43], line[43])]
    parts += [(line[28:42], line[42])] if line[42] != "<" else []
    return all(digit == str(machine_readable(text)) for text, digit in parts)


def vin(text: str) -> bool:
    """ISO 3779 vehicle number with the check digit of 49 CFR 565.15 and GB 16735, position nine."""
    if len(text) != 17 or any(c not in _VIN_VALUE for c in text):  # noqa: PLR2004 - its length
        return False
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    total = sum(_VIN_VALUE[c] * w for c, w in zip(text, weights, strict=True))
    return "0123456789X"[total % 11] == text[8]


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


def nir(text: str) -> bool:
    """French registration number (NIR): key 97 - n mod 97; in Corsica 2A counts as 19, 2B as 18."""
    number = text[:13].replace("2A", "19", 1) if text[5:7] == "2A" else text[:13]
    number = number.replace("2B", "18", 1) if text[5:7] == "2B" else number
    if len(text) != 15 or not (number + text[13:]).isdecimal():  # noqa: PLR2004 - its length
        return False
    return int(text[13:]) == 97 - int(number) % 97


def burgerservicenummer(text: str) -> bool:
    """Dutch citizen service number: the eleven test, weights 9..2 and -1."""
    if len(text) != 9 or not text.isdecimal():  # noqa: PLR2004 - its length
        return False
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return sum(int(d) * w for d, w in zip(text, weights, strict=True)) % 11 == 0


def my_number(text: str) -> bool:
    """Japanese individual number (Order 85 of 2014, Art. 5): weights 6 5 4 3 2 7 6 5 4 3 2."""
    if len(text) != 12 or not text.isdecimal():  # noqa: PLR2004 - its length
        return False
    weights = (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)
    total = sum(int(d) * w for d, w in zip(text, weights, strict=False))
    return (-total % 11) % 10 == int(text[11])


def nric(text: str) -> bool:
    """Singapore's NRIC and FIN: weights 2 7 6 5 4 3 2, T and G add 4, M adds 3."""
    shaped = len(text) == 9 and text[1:8].isdecimal()  # noqa: PLR2004 - its length
    if not shaped or text[0] not in _NRIC:
        return False
    offset, letters = _NRIC[text[0]]
    total = sum(int(d) * w for d, w in zip(text[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    return letters[(total + offset) % 11] == text[8]
