"""Numbers and measures as people write them, read exactly.

All arithmetic is decimal: the factors are those of the international yard and pound agreement of
1959 (1 lb = 0.45359237 kg, 1 in = 2.54 cm) and of the Chinese market units (1 斤 = 0.5 kg).
"""

import itertools
import re
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Final

_EXACT: Final = Context(prec=80)
_LARGEST: Final = 30  # digits
_PLACES: Final = Decimal("1e-12")  # a quotient without an end is cut here

_PLAIN: Final = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d{1,3}))?")
_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(?:[,' _]\d{3})+(?:\.\d+)?")
_GROUPED_COMMA: Final = re.compile(r"[+-]?\d{1,3}(?:[.' _]\d{3})+(?:,\d+)?")
_CHINESE_SCALES: Final = {"千": 3, "万": 4, "萬": 4, "亿": 8, "億": 8}
_PARTS: Final = {"%": 2, "‰": 3}

# Units: what one of each is in the unit of its kind that stands first.

_KILOGRAM = Decimal(1)
_METER = Decimal(1)
_FACTORS: Final[Mapping[str, Mapping[str, Decimal]]] = {
    "mass": {
        "kg": _KILOGRAM, "kgs": _KILOGRAM, "kilogram": _KILOGRAM, "kilograms": _KILOGRAM,
        "公斤": _KILOGRAM, "千克": _KILOGRAM,
        "g": Decimal("0.001"), "gram": Decimal("0.001"), "grams": Decimal("0.001"),
        "克": Decimal("0.001"), "mg": Decimal("0.000001"), "毫克": Decimal("0.000001"),
        "t": Decimal(1000), "吨": Decimal(1000), "噸": Decimal(1000),
        "斤": Decimal("0.5"), "市斤": Decimal("0.5"), "两": Decimal("0.05"), "兩": Decimal("0.05"),
        "lb": Decimal("0.45359237"), "lbs": Decimal("0.45359237"),
        "pound": Decimal("0.45359237"), "pounds": Decimal("0.45359237"),
        "磅": Decimal("0.45359237"),
        "oz": Decimal("0.028349523125"), "ounce": Decimal("0.028349523125"),
        "ounces": Decimal("0.028349523125"), "盎司": Decimal("0.028349523125"),
        "st": Decimal("6.35029318"), "stone": Decimal("6.35029318"),
    },
    "length": {
        "m": _METER, "meter": _METER, "meters": _METER, "metre": _METER, "metres": _METER,
        "米": _METER, "公尺": _METER,
        "cm": Decimal("0.01"), "厘米": Decimal("0.01"), "公分": Decimal("0.01"),
        "mm": Decimal("0.001"), "毫米": Decimal("0.001"),
        "km": Decimal(1000), "公里": Decimal(1000), "千米": Decimal(1000),
        "in": Decimal("0.0254"), "inch": Decimal("0.0254"), "inches": Decimal("0.0254"),
        '"': Decimal("0.0254"), "英寸": Decimal("0.0254"),
        "ft": Decimal("0.3048"), "foot": Decimal("0.3048"), "feet": Decimal("0.3048"),
        "'": Decimal("0.3048"), "英尺": Decimal("0.3048"),
        "yd": Decimal("0.9144"), "mi": Decimal("1609.344"), "mile": Decimal("1609.344"),
        "miles": Decimal("1609.344"), "英里": Decimal("1609.344"),
        "里": Decimal(500), "尺": 1 / Decimal(3), "寸": 1 / Decimal(30),
    },
    "money": {
        "元": Decimal(1), "圆": Decimal(1), "块": Decimal(1), "yuan": Decimal(1),
        "rmb": Decimal(1), "cny": Decimal(1), "¥": Decimal(1), "角": Decimal("0.1"),
        "分": Decimal("0.01"), "千元": Decimal(1000), "万元": Decimal(10_000),
        "萬元": Decimal(10_000), "亿元": Decimal(100_000_000), "億元": Decimal(100_000_000),
    },
}  # fmt: skip
_TEMPERATURES: Final = {
    "°c": "c", "c": "c", "℃": "c", "摄氏度": "c", "度": "c",
    "°f": "f", "f": "f", "℉": "f", "华氏度": "f", "k": "k",
}  # fmt: skip
# (amount + zero) · slope is in kelvins: °F + 459.67 is in degrees Rankine.
_SCALES: Final = {
    "c": (Decimal("273.15"), Decimal(1)),
    "f": (Decimal("459.67"), 5 / Decimal(9)),
    "k": (Decimal(0), Decimal(1)),
}
_DEGREES: Final = re.compile(r"([+-]?[\d.,]*\d)\s*(\D*)")
_PIECE: Final = re.compile(r"([+-]?[\d.,]*\d)\s*([^\d\s.,+-]+)\s*")


def read_number(text: str, *, decimal_comma: bool) -> Decimal | None:
    """The number; None where it cannot be read, or has more than thirty digits before the point.

    Args:
        text: with NFKC forms. Thousands may be set apart, a percent or 万 may follow.
        decimal_comma: how 1.234,5 is read.
    """
    text = text.replace("−", "-").replace("\u00a0", " ").strip()
    sign = 1
    if text.startswith("(") and text.endswith(")"):  # as accountants write what is owed
        text, sign = text[1:-1].strip(), -1
    shift = 0
    if text and text[-1] in _PARTS:
        text, shift = text[:-1].rstrip(), -_PARTS[text[-1]]
    elif text and text[-1] in _CHINESE_SCALES:
        text, shift = text[:-1].rstrip(), _CHINESE_SCALES[text[-1]]
        if text and text[-1] in _CHINESE_SCALES:  # 万亿
            text, shift = text[:-1], shift + _CHINESE_SCALES[text[-1]]
    grouped = _GROUPED_COMMA if decimal_comma else _GROUPED
    if grouped.fullmatch(text):
        text = re.sub(r"[.' _]" if decimal_comma else r"[,' _]", "", text)
    if decimal_comma:
        text = text.replace(",", "\x00").replace(".", ",").replace("\x00", ".")
    if _PLAIN.fullmatch(text) is None:
        return None
    number = _EXACT.scaleb(Decimal(text), shift) * sign
    return number if abs(number.adjusted()) <= _LARGEST else None


def unit_of(name: str) -> str | None:
    """The unit that a name means; None of an unknown one."""
    text = name.lower()
    if text in _TEMPERATURES:
        return _TEMPERATURES[text]
    return text if any(text in table for table in _FACTORS.values()) else None


def kind_of(unit: str) -> str:
    """What a unit measures: mass, length, money or temperature."""
    return next((kind for kind, table in _FACTORS.items() if unit in table), "temperature")


def read_measure(text: str, unit: str, *, bare: str = "", decimal_comma: bool) -> Decimal | None:
    """The amount in `unit`; None where it cannot be read.

    Args:
        text: with NFKC forms; one amount with its unit, or several from large to small, as in
            `5 ft 11 in`.
        unit: what `unit_of` gave.
        bare: the unit of an amount that names none; such are not read where it is empty.
        decimal_comma: how 1.234,5 is read.
    """
    text = text.lower().replace("′", "'").replace("''", '"')
    if kind_of(unit) == "temperature":
        return _temperature(text, unit, bare=bare, decimal_comma=decimal_comma)
    factors = _FACTORS[kind_of(unit)]
    if text.startswith("¥"):
        text, bare = text[1:].strip(), "元"
    amount = read_number(text, decimal_comma=decimal_comma)
    if amount is not None:
        return _divided(_EXACT.multiply(amount, factors[bare]), factors[unit]) if bare else None
    total, end = Decimal(0), 0
    units: list[str] = []
    for piece in _PIECE.finditer(text):
        amount = read_number(piece[1], decimal_comma=decimal_comma)
        if piece.start() != end or amount is None or piece[2] not in factors:
            return None
        units.append(piece[2])
        total = _EXACT.add(total, _EXACT.multiply(amount, factors[piece[2]]))
        end = piece.end()
    falling = all(factors[one] > factors[next_] for one, next_ in itertools.pairwise(units))
    return _divided(total, factors[unit]) if units and falling and end == len(text) else None


def _temperature(text: str, unit: str, *, bare: str, decimal_comma: bool) -> Decimal | None:
    found = _DEGREES.fullmatch(text)
    if found is None:
        return None
    amount = read_number(found[1], decimal_comma=decimal_comma)
    of = _TEMPERATURES.get(found[2].replace(" ", "")) if found[2] else bare
    if amount is None or not of:
        return None
    zero, slope = _SCALES[of]
    kelvin = _EXACT.add(_EXACT.multiply(_EXACT.add(amount, zero), slope), Decimal(0))
    if kelvin < 0:  # there is no such temperature
        return None
    zero, slope = _SCALES[unit]
    return _EXACT.subtract(_divided(kelvin, slope), zero)


def _divided(amount: Decimal, by: Decimal) -> Decimal:
    """The quotient, exact where it has an end, else to twelve places."""
    quotient = _EXACT.divide(amount, by)
    cut = quotient.quantize(_PLACES, context=_EXACT)
    return cut if _EXACT.multiply(cut, by) != amount else cut.normalize(_EXACT)


def shown(number: Decimal | None) -> str | None:
    """Without an exponent and without idle zeros."""
    if number is None:
        return None
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
