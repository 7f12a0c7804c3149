"""One form for what is written in many: dates, numbers and units.

    {"date": "iso", "day_first": true}    05.03.2024, 2024年3月5日, 45356 (Excel)  ->  2024-03-05
    {"number": "plain"}                   １，２３４.50, 12.5%, (300)  ->  1234.5, 0.125, -300
    {"unit": "kg", "from": "g"}           500, 2斤, 1 lb 2 oz  ->  0.5, 1, 0.510291…

A column plan names the form, and it is applied before the column's operator. What cannot be read
becomes None and is counted: a wrong number is worse than a missing one.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from governance.errors import InvalidError
from governance.quality.calendars import read_date
from governance.quality.quantities import kind_of, read_measure, read_number, shown, unit_of

_LONGEST: Final = 80  # characters of a cell that is read
_SETTINGS: Final = {
    "date": {"date", "day_first"},
    "number": {"number", "decimal_comma"},
    "unit": {"unit", "from", "decimal_comma"},
}
_FORMS: Final = {"date": "iso", "number": "plain"}


@dataclass(frozen=True)
class Normalizer:
    """A checked configuration, ready to read cells.

    Attributes:
        form: `date`, `number` or `unit`.
        unit: the unit that results are in.
        bare: the unit of cells that name none; empty where those are not read.
        day_first: how 05/03/2024 is read; None reads only what has one reading.
        decimal_comma: how 1.234,5 is read.
    """

    form: str
    unit: str = ""
    bare: str = ""
    day_first: bool | None = None
    decimal_comma: bool = False

    def read(self, value: str) -> str | None:
        """The cell in the one form; None where it cannot be read."""
        text = unicodedata.normalize("NFKC", value[: _LONGEST + 1]).strip()
        if not text or len(text) > _LONGEST:
            return None
        match self.form:
            case "date":
                return read_date(text, day_first=self.day_first)
            case "number":
                return shown(read_number(text, decimal_comma=self.decimal_comma))
            case _:
                return shown(
                    read_measure(text, self.unit, bare=self.bare, decimal_comma=self.decimal_comma)
                )


def normalizer(config: Mapping[str, Any]) -> Normalizer:
    """Check a column's configuration.

    Args:
        config: one of `{"date": "iso"}` (with `day_first`), `{"number": "plain"}` (with
            `decimal_comma`), `{"unit": "kg"}` (with `from`, the unit of cells that name none, and
            `decimal_comma`).

    Raises:
        InvalidError: `quality.normalization_invalid`, `quality.unit_unknown`, with a pointer.
    """
    forms = [form for form in _SETTINGS if form in config]
    if len(forms) != 1:
        raise _invalid("say one of date, number and unit", "")
    (form,) = forms
    for name, value in config.items():
        if name not in _SETTINGS[form]:
            raise _invalid("there is no such setting", f"/{name}")
        if name in {"day_first", "decimal_comma"} and value not in {0, 1}:
            raise _invalid("true or false is expected here", f"/{name}")
    comma = bool(config.get("decimal_comma", False))
    if form != "unit":
        if config[form] != _FORMS[form]:
            raise _invalid("dates are written as iso, numbers as plain", f"/{form}")
        first = bool(config["day_first"]) if "day_first" in config else None
        return Normalizer(form, day_first=first, decimal_comma=comma)
    unit = _unit(config["unit"], "/unit")
    bare = _unit(config["from"], "/from") if "from" in config else ""
    if bare and kind_of(bare) != kind_of(unit):
        raise _invalid("one unit cannot become the other", "/from")
    return Normalizer("unit", unit=unit, bare=bare, decimal_comma=comma)


def normalize(values: Sequence[str | None], config: Mapping[str, Any]) -> list[str | None]:
    """Each cell in the one form that `config` asks for; None where it is missing or unreadable.

    Raises:
        InvalidError: as `normalizer`.
    """
    read = normalizer(config).read
    known: dict[str | None, str | None] = {None: None}
    for value in values:
        if value is not None and value not in known:
            known[value] = read(value)
    return [known[value] for value in values]


def unreadable(values: Sequence[str | None], normalized: Sequence[str | None]) -> int:
    """How many cells had something in them that could not be read."""
    return sum(
        after is None and before is not None and bool(before.strip())
        for before, after in zip(values, normalized, strict=True)
    )


def _unit(name: object, pointer: str) -> str:
    unit = unit_of(unicodedata.normalize("NFKC", name)) if isinstance(name, str) else None
    if unit is None:
        raise InvalidError("this unit is not known", code="quality.unit_unknown", pointer=pointer)
    return unit


def _invalid(detail: str, pointer: str) -> InvalidError:
    return InvalidError(detail, code="quality.normalization_invalid", pointer=pointer)
