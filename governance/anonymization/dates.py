"""A date moved by days and written as it was: order, separators, padding and time of day stay.

Only a date whose day is certain can be moved. A month without a day, or 5/6/1990, which may be May
or June, is answered with None, as is everything else that does not read as one date.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

_YEARS: Final = range(1800, 2200)
_TIME: Final = (
    r"(?P<time>(?:[Tt]|\s+)[0-2]?\d:\d\d(?::\d\d(?:[.,]\d+)?)?\s*(?:[Zz]|[+-]\d\d:?\d\d)?)?"
)

_YEAR_FIRST: Final = re.compile(
    r"(?P<y>\d{4})(?P<s1>\s*[-/.]\s*|\s*年\s*)(?P<m>\d{1,2})(?P<s2>\s*[-/.]\s*|\s*月\s*)(?P<d>\d{1,2})"
    rf"(?P<end>\s*[日号])?{_TIME}"
)
_COMPACT: Final = re.compile(rf"(?P<y>\d{{4}})(?P<m>\d\d)(?P<d>\d\d){_TIME}")
_YEAR_LAST: Final = re.compile(
    rf"(?P<a>\d{{1,2}})(?P<s1>[-/.])(?P<b>\d{{1,2}})(?P<s2>[-/.])(?P<y>\d{{4}}){_TIME}"
)
_MONTHS: Final = [
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
]
_NAME: Final = rf"(?P<name>(?:{'|'.join(f'{m[:3]}(?:{m[3:]})?' for m in _MONTHS)}|Sept)\b)"
_DAY: Final = r"(?P<d>\d{1,2})(?P<th>st|nd|rd|th)?"
_NAMED_FIRST: Final = re.compile(
    rf"{_NAME}(?P<s1>\.?\s+){_DAY}(?P<s2>,?\s+)(?P<y>\d{{4}}){_TIME}", re.IGNORECASE
)
_NAMED_SECOND: Final = re.compile(
    rf"{_DAY}(?P<s1>\s+){_NAME}(?P<s2>\.?,?\s+)(?P<y>\d{{4}}){_TIME}", re.IGNORECASE
)
_ENDINGS: Final = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}


@dataclass(frozen=True, slots=True)
class WrittenDate:
    """A day, and how to write another one in its form."""

    day: date
    write: Callable[[date], str]


def shifted(text: str, days: int) -> str | None:
    """The date `days` later in the form of `text`; None where it is not certain what day that is.

    The time of day and its zone are kept, so intervals are kept to the second.
    """
    read = read_date(text)
    return None if read is None else read.write(read.day + timedelta(days=days))


def read_date(text: str) -> WrittenDate | None:
    """The one day that `text` names, or None."""
    for pattern, reader in _FORMS:
        if match := pattern.fullmatch(text):
            return reader(match)
    return None


def _year_first(match: re.Match[str]) -> WrittenDate | None:
    chinese = "年" in match["s1"]
    if chinese != ("月" in match["s2"]) or (match["end"] and not chinese):
        return None
    if not chinese and match["s1"].strip() != match["s2"].strip():
        return None
    pad = _padded(match["m"], match["d"])

    def write(day: date) -> str:
        middle = f"{pad(day.month)}{match['s2']}{pad(day.day)}"
        return f"{day.year:04d}{match['s1']}{middle}{match['end'] or ''}{match['time'] or ''}"

    return _written(match["y"], match["m"], match["d"], write)


def _compact(match: re.Match[str]) -> WrittenDate | None:
    return _written(
        match["y"], match["m"], match["d"], lambda day: f"{day:%Y%m%d}{match['time'] or ''}"
    )


def _year_last(match: re.Match[str]) -> WrittenDate | None:
    """Day and month in the one order that makes a day; equal ones do not tell the order."""
    if match["s1"] != match["s2"]:
        return None
    pad = _padded(match["a"], match["b"])

    def writer(*, day_first: bool) -> Callable[[date], str]:
        def write(day: date) -> str:
            first, second = (day.day, day.month) if day_first else (day.month, day.day)
            numbers = f"{pad(first)}{match['s1']}{pad(second)}{match['s2']}{day.year:04d}"
            return f"{numbers}{match['time'] or ''}"

        return write

    month_first = _written(match["y"], match["a"], match["b"], writer(day_first=False))
    day_first = _written(match["y"], match["b"], match["a"], writer(day_first=True))
    return None if month_first and day_first else month_first or day_first


def _named(match: re.Match[str]) -> WrittenDate | None:
    short = next(m[:3] for m in _MONTHS if match["name"].casefold().startswith(m[:3].casefold()))
    number = [m[:3] for m in _MONTHS].index(short) + 1
    full = len(match["name"]) > len("Sept")  # May is both
    name_first = match.re is _NAMED_FIRST

    def write(day: date) -> str:
        name = _cased(_MONTHS[day.month - 1] if full else _MONTHS[day.month - 1][:3], match["name"])
        ending = _ENDINGS.get(day.day, "th") if match["th"] else ""
        numbered = f"{day.day}{ending}"
        first, second = (name, numbered) if name_first else (numbered, name)
        whole = f"{first}{match['s1']}{second}{match['s2']}{day.year:04d}"
        return f"{whole}{match['time'] or ''}"

    return _written(match["y"], str(number), match["d"], write)


def _cased(name: str, like: str) -> str:
    if like.isupper():
        return name.upper()
    return name.lower() if like.islower() else name


def _written(year: str, month: str, day: str, write: Callable[[date], str]) -> WrittenDate | None:
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return WrittenDate(found, write) if found.year in _YEARS else None


def _padded(*parts: str) -> Callable[[int], str]:
    """Two digits where every part has two, the bare number where one has not."""
    wide = all(len(part) > 1 for part in parts)
    return (lambda number: f"{number:02d}") if wide else str


_FORMS: Final = (
    (_YEAR_FIRST, _year_first),
    (_COMPACT, _compact),
    (_YEAR_LAST, _year_last),
    (_NAMED_FIRST, _named),
    (_NAMED_SECOND, _named),
)
