"""What a whole column proves that no cell of it does: check digits and shapes that always hold.

One number in ten passes a check digit by chance, so a bare number proves nothing. Twenty numbers
that all pass one do not do so by chance (10⁻²⁰). A telephone number without separators has a shape
alone, which a column of account numbers may share: it counts only where nearly all cells have it
and the numbers do not lie close together, as numbers do that somebody counted up. Nine digits (a US
social security number, an account) have too little shape even for that, and need their header.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from governance.recognition.checksums import id15, luhn, my_number, vin
from governance.recognition.countries import DOCUMENTS

LEAST: Final = 20  # distinct cells that a check digit must hold in
LEAST_SHAPED: Final = 50
NEARLY_ALL: Final = 0.97
SCORE: Final = 0.9
SPREAD: Final = 1_000  # the least mean distance between numbers that nobody counted up


@dataclass(frozen=True, slots=True)
class _Kind:
    entity: str
    shape: re.Pattern[str]
    check: Callable[[str], bool] | None = None
    regime: str = ""  # the regime that must be declared; "" for any


def _aba(text: str) -> bool:
    weighted = (int(d) * w for d, w in zip(text, (3, 7, 1) * 3, strict=True))
    return sum(weighted) % 10 == 0


# The first that holds is the answer, so the narrower shape comes before the wider.
_KINDS: Final = (
    _Kind("CN_BANK_CARD", re.compile(r"62[0-9]{14,17}"), luhn),
    _Kind("CREDIT_CARD", re.compile(r"(?!62)[3-6][0-9]{12,18}|(?:5[06-9]|6)[0-9]{10,17}"), luhn),
    _Kind("CREDIT_CARD", re.compile(r"[0-9]{12,19}"), luhn),
    _Kind("CN_ID15", re.compile(r"[1-8][0-9]{14}"), id15),
    _Kind("VIN", re.compile(r"(?=.*[A-Z])[A-HJ-NPR-Z0-9]{17}"), vin),
    _Kind("JP_MY_NUMBER", re.compile(r"[0-9]{12}"), my_number, "jp"),
    _Kind("ABA_ROUTING_NUMBER", re.compile(r"(?:0[0-9]|1[0-2]|2[1-9]|3[0-2])[0-9]{7}"), _aba),
    _Kind("CN_LANDLINE", re.compile(r"0(?:10|2[0-57-9]|[3-9][0-9]{2})[2-8][0-9]{6,7}")),
    _Kind("PHONE_NUMBER", re.compile(r"\+?1?[2-9][0-9]{2}[2-9][0-9]{6}")),
)
_IMEI: Final = re.compile(r"[0-9]{15}")


def settled(texts: Sequence[str], regimes: Collection[str] = ()) -> str | None:
    """The entity that the column's cells prove together, or None.

    Args:
        texts: distinct folded cells of one column.
        regimes: the regimes of the dataset; a document of another country needs its own.
    """
    cells = [text.strip() for text in texts if text.strip()]
    if len(cells) < LEAST:
        return None
    for kind in _KINDS:
        if kind.regime and kind.regime not in regimes:
            continue
        least = LEAST if kind.check else LEAST_SHAPED
        held = [c for c in cells if kind.shape.fullmatch(c) and (not kind.check or kind.check(c))]
        if len(held) < max(least, NEARLY_ALL * len(cells)):
            continue
        if kind.check is None and not _spread(held):
            continue
        if kind.entity == "CREDIT_CARD" and all(map(_IMEI.fullmatch, held)):
            return "IMEI" if not all(c[:2] in {"34", "37"} for c in held) else kind.entity
        return kind.entity
    return _document(cells, regimes)


def _spread(cells: Sequence[str]) -> bool:
    """Whether numbers lie far apart, as drawn numbers do and counted ones do not."""
    numbers = sorted(int(cell.lstrip("+")) for cell in cells)
    gaps = sorted(b - a for a, b in pairwise(numbers))
    return gaps[len(gaps) // 2] >= SPREAD


def _document(cells: Sequence[str], regimes: Collection[str]) -> str | None:
    """The document of a declared country whose check digit holds throughout."""
    from presidio_analyzer import PatternRecognizer  # noqa: PLC0415 - only where one is declared

    from governance.recognition.documents import recognizer  # noqa: PLC0415 - as above

    for document in DOCUMENTS:
        if not document.recognizer or set(document.regimes).isdisjoint(regimes):
            continue
        reader = recognizer(document.recognizer)
        if type(reader).validate_result is PatternRecognizer.validate_result:
            continue
        shapes = [re.compile(p.regex, re.IGNORECASE | re.ASCII) for p in reader.patterns]
        held = sum(
            any(shape.fullmatch(cell) for shape in shapes) and reader.validate_result(cell) is True
            for cell in cells
        )
        if held >= NEARLY_ALL * len(cells):
            return document.entity
    return None
