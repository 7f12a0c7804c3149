"""The header row: unique names, none blank, none of them a person, none that hides what it says.

Names lose what cannot be seen: surrounding blanks, byte order marks, zero-width characters; a line
break or control character becomes a blank. Names that only then, or only in their compatibility
form (NFKC), are the same are duplicates. What reorders the text around it is refused, since a name
is what people approve by.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from governance.tables import faults
from governance.tables.limits import Limits

# An e-mail address, or more digits than a date has (a telephone's, an identity card's): this is no
# header row, and taking it for names would put a person wherever a column is named.
_DATA: Final = re.compile(r"[^\s.@]@\S|(?:\d[ -]?){9}")
_LETTER: Final = re.compile(r"[^\W\d_]")
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Default ignorable code points of Unicode's DerivedCoreProperties.txt, and interlinear marks.
_UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065"
    "\u206a-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
# The embeddings, overrides and isolates of Unicode Standard Annex 9.
_REORDERING: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")


def shown(name: str) -> str:
    """A name without what cannot be seen in it."""
    if name.isascii() and name.isprintable():
        return name.strip()
    return _CONTROLS.sub(" ", _UNSEEN.sub("", name)).strip()


def checked(names: Sequence[str], limits: Limits) -> list[str]:
    """The names as they are shown.

    Raises:
        TableError: `table.too_many_columns`, `table.blank_header`, `table.long_header`,
            `table.hidden_header`, `table.duplicate_header`, `table.header_missing` (a name looks
            like data, or no name has a letter).
    """
    if len(names) > limits.columns:
        raise faults.too_many_columns(limits.columns)
    header = [shown(name) for name in names]
    first: dict[str, int] = {}
    for column, name in enumerate(header, start=1):
        if not name:
            raise faults.blank_header(column)
        folded = unicodedata.normalize("NFKC", name)
        if _DATA.search(folded):
            raise faults.header_missing(column)
        if len(name) > limits.header_characters:
            raise faults.long_header(column, limits.header_characters)
        if _REORDERING.search(name):
            raise faults.hidden_header(column)
        if folded in first:
            raise faults.duplicate_header(first[folded], column)
        first[folded] = column
    if not any(_LETTER.search(name) for name in header):
        raise faults.header_missing(1)
    return header
