"""Which columns of a table of strings are numbers, told from every value and not from a sample.

A column is a number only if storing it as one loses no identity: "007" and a 19-digit card number
stay text, because an int64 would drop the zeros of the one and may not hold the other.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from governance.tables.table import ColumnKind

# Up to 18 digits fit an int64 whatever they are. No leading zero, no plus sign.
_INTEGER: Final = re.compile(r"-?(?:0|[1-9]\d{0,17})", re.ASCII)
# Up to 15 significant digits come back from a double as they went in (IEEE 754, table 3.2).
_REAL: Final = re.compile(
    r"-?(?=[\d.]{1,16}(?:[eE]|$))(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,2})?", re.ASCII
)


class KindsSeen:
    """Observes chunks and says at the end what each column is.

    A column may be REAL while some of its values are integers; a column of integers with one value
    that is not a number is TEXT; one without any value is TEXT.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._kinds: dict[str, ColumnKind | None] = dict.fromkeys(columns)

    def observe(self, columns: Mapping[str, Sequence[str | None]]) -> None:
        """Take a chunk's columns into account."""
        for name, values in columns.items():
            before = self._kinds[name]
            if before is not ColumnKind.TEXT:
                self._kinds[name] = _narrowed(before, set(values) - {None, ""})

    def kinds(self) -> dict[str, ColumnKind]:
        """Each column's kind: INTEGER, REAL or TEXT."""
        return {name: kind or ColumnKind.TEXT for name, kind in self._kinds.items()}


def _narrowed(before: ColumnKind | None, values: set[str | None]) -> ColumnKind | None:
    kind = before
    for value in values:
        text = value or ""
        if kind is not ColumnKind.REAL and _INTEGER.fullmatch(text):
            kind = ColumnKind.INTEGER
        elif _REAL.fullmatch(text):
            kind = ColumnKind.REAL
        else:
            return ColumnKind.TEXT
    return kind
