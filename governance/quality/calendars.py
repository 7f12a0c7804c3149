"""Dates as people write them, read as ISO 8601."""

import re
from datetime import date, timedelta
from typing import Final

_EXCEL_START: Final = date(1899, 12, 30)  # with Lotus 1-2-3's 29 February 1900 in between
_EXCEL: Final = (61, 2_958_465)  # 1 March 1900, where the two calendars agree, to 31 December 9999
_CHINESE_DIGITS: Final = str.maketrans("〇零○一二三四五六七八九", "000123456789")
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        (
            "jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july",
            "aug august", "sep sept september", "oct october", "nov november", "dec december",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
_TIME: Final = (
    r"(?:[T ]\s?(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-6]\d(?:[.,]\d+)?)?\s?(?:[AaPp][Mm])?"
    r"\s?(?:Z|UTC|[+-]\d\d:?\d\d)?)?"
)
_YEAR_FIRST: Final = re.compile(
    rf"(\d{{4}})\s?[-/.年]\s?(\d{{1,2}})\s?[-/.月]\s?(\d{{1,2}})\s?日?{_TIME}"
)
_COMPACT: Final = re.compile(r"((?:19|20)\d\d)(\d\d)(\d\d)")
_YEAR_LAST: Final = re.compile(rf"(\d{{1,2}})\s?[-/.]\s?(\d{{1,2}})\s?[-/.]\s?(\d{{4}}){_TIME}")
_DAY_NAMED: Final = re.compile(
    rf"(\d{{1,2}})(?:st|nd|rd|th)?[ -]([A-Za-z]{{3,9}})\.?,?[ -](\d{{4}}){_TIME}"
)
_MONTH_NAMED: Final = re.compile(
    rf"([A-Za-z]{{3,9}})\.? (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}}){_TIME}"
)
_CHINESE: Final = re.compile(
    r"([〇零○一二三四五六七八九]{4})年([一二三四五六七八九十]{1,2})月([一二三四五六七八九十]{1,3})[日号]?"
)
_NUMBERED: Final = ((_YEAR_FIRST, (1, 2, 3)), (_COMPACT, (1, 2, 3)))
_SERIAL: Final = re.compile(r"(\d{2,7})(?:\.\d+)?")


def read_date(text: str, *, day_first: bool | None = None) -> str | None:
    """The date as `YYYY-MM-DD`; its time of day is let go. None where it cannot be read.

    Args:
        text: with NFKC forms, stripped.
        day_first: whether 05/03/2024 is the fifth of March; None reads only what has one reading.
    """
    for form, (year, month, day) in _NUMBERED:
        if found := form.fullmatch(text):
            return _iso(int(found[year]), int(found[month]), int(found[day]))
    if found := _YEAR_LAST.fullmatch(text):
        return _of_two(int(found[1]), int(found[2]), int(found[3]), day_first=day_first)
    return _named(text) or _serial(text)


def _named(text: str) -> str | None:
    """A month by its name."""
    for form, (month, day) in ((_DAY_NAMED, (2, 1)), (_MONTH_NAMED, (1, 2))):
        if found := form.fullmatch(text):
            return _iso(int(found[3]), _MONTHS.get(found[month].lower(), 0), int(found[day]))
    if found := _CHINESE.fullmatch(text):
        year = int(found[1].translate(_CHINESE_DIGITS))
        return _iso(year, _tens(found[2]), _tens(found[3]))
    return None


def _serial(text: str) -> str | None:
    """Days since Excel's start, as a workbook's cells become when it is saved as text."""
    found = _SERIAL.fullmatch(text)
    if found is None or not _EXCEL[0] <= int(found[1]) <= _EXCEL[1]:
        return None
    return (_EXCEL_START + timedelta(days=int(found[1]))).isoformat()


def _of_two(one: int, other: int, year: int, *, day_first: bool | None) -> str | None:
    """A date whose day and month stand in an order that is declared, or that only one way has."""
    readings = {_iso(year, other, one), _iso(year, one, other)} - {None}
    if len(readings) == 1:
        return readings.pop()
    if day_first is None:
        return None
    return _iso(year, other, one) if day_first else _iso(year, one, other)


def _iso(year: int, month: int, day: int) -> str | None:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


def _tens(text: str) -> int:
    """A Chinese number up to 99; 0 where it is none."""
    head, ten, tail = text.partition("十")
    if not ten:
        return int(head.translate(_CHINESE_DIGITS)) if len(head) == 1 else 0
    if len(head) > 1 or len(tail) > 1:
        return 0
    return (int(head.translate(_CHINESE_DIGITS)) if head else 1) * 10 + (
        int(tail.translate(_CHINESE_DIGITS)) if tail else 0
    )
