"""A labeled row: a text, and which of its characters are what.

One JSON object a line, offsets in characters:

    {"text", "language", "shape": "structured|prose", "header", "spans": [[start, end, "ENTITY"]]}

Rows may be a tenant's own and then are personal data: they are read a line at a time, kept nowhere,
and no error quotes them.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import pairwise
from typing import Any, BinaryIO, Final, NoReturn

from governance.errors import InvalidError

LONGEST_LINE: Final = 1 << 20  # bytes
_LANGUAGE: Final = re.compile(r"[a-z]{2}(?:-[A-Z][a-z]{3})?|mixed")  # "zh", "zh-Hant", "mixed"
_ENTITY: Final = re.compile(r"[A-Z][A-Z0-9_]{1,39}")
_LONGEST_HEADER: Final = 200


class Shape(StrEnum):
    """Where a text stands: alone in a cell, or as sentences."""

    STRUCTURED = "structured"
    PROSE = "prose"


@dataclass(frozen=True, slots=True)
class Label:
    """Characters [start, end) of a text are `entity`."""

    start: int
    end: int
    entity: str


@dataclass(frozen=True, slots=True)
class LabeledRow:
    """One text with everything personal in it; `header` is its column's, or empty."""

    text: str
    language: str
    shape: Shape
    header: str
    spans: tuple[Label, ...]

    def as_line(self) -> bytes:
        """The row as a line of a labeled file."""
        shown = {
            "text": self.text,
            "language": self.language,
            "shape": self.shape.value,
            "header": self.header,
            "spans": [[label.start, label.end, label.entity] for label in self.spans],
        }
        return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; one that is too long comes broken off, for `read_rows` to refuse."""
    return iter(partial(file.readline, LONGEST_LINE + 1), b"")


def read_rows(lines: Iterable[bytes]) -> Iterator[LabeledRow]:
    """The rows of a labeled file; empty lines are passed over.

    Raises:
        InvalidError: `measurement.line_too_long`, `.not_json`, `.row_invalid`, `.span_invalid`,
            each with the number of the line, from 1, and nothing that stands in it.
    """
    for number, line in enumerate(lines, start=1):
        if len(line) > LONGEST_LINE:
            _refuse(number, "measurement.line_too_long", f"is longer than {LONGEST_LINE} bytes")
        if line.strip():
            yield _row(number, line)


def _row(number: int, line: bytes) -> LabeledRow:
    try:
        read = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (ValueError, RecursionError):
        _refuse(number, "measurement.not_json", "is not a JSON object in UTF-8")
    if not isinstance(read, dict):
        _refuse(number, "measurement.not_json", "is not a JSON object in UTF-8")
    text, header, language = read.get("text"), read.get("header") or "", read.get("language")
    if not isinstance(text, str) or not text:
        _refuse(number, "measurement.row_invalid", "has no text")
    if not isinstance(header, str) or len(header) > _LONGEST_HEADER:
        _refuse(number, "measurement.row_invalid", "has a header that is no short text")
    if not isinstance(language, str) or not _LANGUAGE.fullmatch(language):
        _refuse(
            number,
            "measurement.row_invalid",
            'names no language such as "zh", "zh-Hant" or "mixed"',
        )
    if read.get("shape") not in list(Shape):
        _refuse(number, "measurement.row_invalid", "is neither structured nor prose")
    spans = read.get("spans")
    if not isinstance(spans, list):
        _refuse(number, "measurement.span_invalid", "has no list of spans")
    labels = tuple(sorted((_label(number, text, span) for span in spans), key=_place))
    for one, next_ in pairwise(labels):
        if next_.start < one.end:
            _refuse(number, "measurement.span_invalid", "has spans that overlap")
    return LabeledRow(text, language, Shape(read["shape"]), header, labels)


def _label(number: int, text: str, span: Any) -> Label:
    match span:
        case [int(start), int(end), str(entity)] if not isinstance(start, bool):
            pass
        case _:
            _refuse(
                number, "measurement.span_invalid", "has a span that is not [start, end, entity]"
            )
    if not 0 <= start < end <= len(text):
        _refuse(number, "measurement.span_invalid", "has a span outside its text")
    if not _ENTITY.fullmatch(entity):
        _refuse(number, "measurement.span_invalid", "names an entity that is no upper-case code")
    return Label(start, end, entity)


def _place(label: Label) -> int:
    return label.start


def _refuse(number: int, code: str, why: str) -> NoReturn:
    raise InvalidError(f"line {number} {why}", code=code)
