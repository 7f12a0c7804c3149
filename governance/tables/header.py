"""The header row: unique names, none blank, none of them a person."""

import re
from collections.abc import Sequence
from typing import Final

from governance.tables import faults
from governance.tables.limits import Limits

# An e-mail address, or more digits than a date has (a telephone's, an identity card's): this is no
# header row, and taking it for names would put a person wherever a column is named.
_DATA: Final = re.compile(r"@|(?:\d[ -]?){9}")
_LETTER: Final = re.compile(r"[^\W\d_]")


def checked(names: Sequence[str], limits: Limits) -> list[str]:
    """The names without surrounding blanks.

    Raises:
        TableError: `table.too_many_columns`, `table.blank_header`, `table.long_header`,
            `table.duplicate_header`, `table.header_missing` (a name looks like data, or no name
            has a letter).
    """
    if len(names) > limits.columns:
        raise faults.too_many_columns(limits.columns)
    header = [name.strip() for name in names]
    first: dict[str, int] = {}
    for column, name in enumerate(header, start=1):
        if not name:
            raise faults.blank_header(column)
        if _DATA.search(name):
            raise faults.header_missing(column)
        if len(name) > limits.header_characters:
            raise faults.long_header(column, limits.header_characters)
        if name in first:
            raise faults.duplicate_header(first[name], column)
        first[name] = column
    if not any(_LETTER.search(name) for name in header):
        raise faults.header_missing(1)
    return header
