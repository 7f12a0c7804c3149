"""Coarser forms of ages, dates, region codes, network addresses and postal addresses.

Every function answers None for a value that it cannot read with certainty: the caller then puts the
entity's name in its place. A value is never passed on because it was not understood.
"""

import ipaddress
import re
from datetime import date
from typing import Final

from governance.anonymization.canonical import RESIDENT_IDS
from governance.recognition.chinese_addresses import truncate

POOLED_AGE: Final = 90  # HIPAA safe harbor, 45 CFR 164.514(b)(2)(i)(C): 90 and over are one group
_OLDEST: Final = 130
_YEARS: Final = range(1800, 2200)

_AGE: Final = re.compile(r"(\d{1,3})(?:\.\d+)?\s*(?:岁|歲|周岁|years?(?: old)?|yrs?|y/?o)?")
_YEAR_FIRST: Final = re.compile(
    r"(\d{4})\s*[-/.年]\s*(\d{1,2})(?:\s*[-/.月]\s*(\d{1,2}))?\s*[月日号]?(?:[t ].*)?"
)
_COMPACT: Final = re.compile(r"(\d{4})(\d{2})(\d{2})")
_YEAR_LAST: Final = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})(?:[t ].*)?")
_MONTH_NAMES: Final = "jan feb mar apr may jun jul aug sep oct nov dec"
_MONTHS: Final = _MONTH_NAMES.split()
_NAMED_MONTH: Final = re.compile(
    r"(?:(?P<before>\d{1,2})(?:st|nd|rd|th)?\s+)?(?P<month>[a-z]{3,9})\.?,?\s+"
    r"(?:(?P<after>\d{1,2})(?:st|nd|rd|th)?,?\s+)?(?P<year>\d{4})"
)

_POSTAL_STATES: Final = (  # USPS Publication 28, appendix B
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM"
    " NY NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY DC PR VI GU AS MP FM MH PW AA AE AP"
)
_STATES: Final = frozenset(_POSTAL_STATES.split())
_STATE_AT_END: Final = re.compile(
    r"(?:^|(?P<comma>,)\s*|\s)(?P<state>[A-Z]{2}|[A-Za-z]{2}(?=\s+\d{5}))"
    r"(?:\s+\d{5}(?:-\d{4})?)?(?:,?\s*(?:USA|U\.S\.A\.|United States(?: of America)?))?$"
)
_AMERICAN_CITY: Final = re.compile(r"[^\W\d_]+(?:[ .'-]{1,2}[^\W\d_]+){0,3}")
_STREETS: Final = (
    "st street ave avenue rd road dr drive ln lane blvd boulevard ct court way apt suite unit pl"
    " place hwy highway pkwy parkway ter terrace cir circle"
)
_STREET_WORDS: Final = frozenset(_STREETS.split())


def age_band(value: str, width: int) -> str | None:
    """The band of `width` years that an age lies in: "35-39"; "90+" from ninety on."""
    match = _AGE.fullmatch(value)
    if match is None or (age := int(match[1])) > _OLDEST:
        return None
    if age >= POOLED_AGE:
        return f"{POOLED_AGE}+"
    low = age // width * width
    return f"{low}-{low + width - 1}"


def month_of(value: str, entity: str) -> str | None:
    """The month of a date, "1990-05"; the year alone where 5/6/1990 may be May or June."""
    read = _date(value, entity)
    if read is None:
        return None
    year, month = read
    return f"{year:04d}" if month is None else f"{year:04d}-{month:02d}"


def year_of(value: str, entity: str) -> str | None:
    """The year of a date, "1990"."""
    read = _date(value, entity)
    return None if read is None else f"{read[0]:04d}"


def region(value: str, digits: int) -> str | None:
    """The first 6, 4 or 2 digits of a GB/T 2260 region code, also one that begins a resident id."""
    code = value[:6]
    return code[:digits] if len(code) == 6 and code.isdecimal() else None  # noqa: PLR2004 - GB/T 2260


def network(value: str) -> str | None:
    """The /24 of an IPv4 address, the /48 of an IPv6 one."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((int(address), 48), strict=False))
        address = address.ipv4_mapped
    return str(ipaddress.IPv4Network((int(address), 24), strict=False))


def city(value: str) -> str | None:
    """The province and city of a Chinese address, or "City, ST" of an American one.

    A Chinese address begins with its province or its city; an American one ends with its city and
    state. Whatever else stands there is dropped; where no city is certain, the province or state
    alone is given.
    """
    return truncate(value, "city") or truncate(value, "province") or _american_city(value)


def province(value: str) -> str | None:
    """The province of a Chinese address, or the state of an American one."""
    if chinese := truncate(value, "province"):
        return chinese
    read = _american_city(value)
    return read[-2:] if read else None


def _date(value: str, entity: str) -> tuple[int, int | None] | None:
    """Year and month; the month is None where day and month may stand in either order."""
    if entity in RESIDENT_IDS:
        value = value[6:14]
    text = value.casefold()
    if match := _YEAR_FIRST.fullmatch(text) or _COMPACT.fullmatch(text):
        year, month, day = int(match[1]), int(match[2]), int(match[3] or 1)
    elif match := _YEAR_LAST.fullmatch(text):
        return _year_last(int(match[1]), int(match[2]), int(match[3]))
    elif match := _NAMED_MONTH.fullmatch(text):
        if match["month"][:3] not in _MONTHS:
            return None
        year, month = int(match["year"]), _MONTHS.index(match["month"][:3]) + 1
        day = int(match["before"] or match["after"] or 1)
    else:
        return None
    return (year, month) if _exists(year, month, day) else None


def _year_last(first: int, second: int, year: int) -> tuple[int, int | None] | None:
    month_first, day_first = _exists(year, first, second), _exists(year, second, first)
    if month_first and day_first:
        return year, (first if first == second else None)
    if month_first:
        return year, first
    return (year, second) if day_first else None


def _exists(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return year in _YEARS


def _american_city(value: str) -> str | None:
    text = value.strip()
    match = _STATE_AT_END.search(text)
    if match is None or (state := match["state"].upper()) not in _STATES:
        return None
    lines = re.split(r"[,\n]", text[: match.start()])
    name = lines[-1].strip()
    # Without a comma or a line's end on one side, the city cannot be told from the street.
    bounded = len(lines) > 1 or match["comma"] is not None
    is_city = _AMERICAN_CITY.fullmatch(name) and name.split()[-1].casefold() not in _STREET_WORDS
    return f"{name}, {state}" if bounded and is_city else state
