"""Labeled rows: what is read, and how what is wrong is refused without quoting it."""

import io
import json
from typing import Any

import pytest

from governance.errors import InvalidError
from governance.measurement.labels import (
    LONGEST_LINE,
    Label,
    LabeledRow,
    Shape,
    lines_of,
    read_rows,
)

TEXT = "患者王小明，手机13800138000"
GOOD: dict[str, Any] = {
    "text": TEXT,
    "language": "zh",
    "shape": "prose",
    "header": "",
    "spans": [[8, 19, "CN_MOBILE"], [2, 5, "PERSON"]],
}


def line(**changed: Any) -> bytes:
    return json.dumps({**GOOD, **changed}, ensure_ascii=False).encode()


def test_a_row_is_read_and_written_back() -> None:
    (row,) = read_rows([b"\xef\xbb\xbf" + line(), b"\n"])
    assert row == LabeledRow(
        TEXT, "zh", Shape.PROSE, "", (Label(2, 5, "PERSON"), Label(8, 19, "CN_MOBILE"))
    )
    assert list(read_rows([row.as_line()])) == [row]


def test_a_line_without_an_end_is_not_read_into_memory() -> None:
    file = io.BytesIO(b"x" * (3 * LONGEST_LINE))
    with pytest.raises(InvalidError, match="line 1 is longer"):
        list(read_rows(lines_of(file)))
    assert file.tell() == LONGEST_LINE + 1


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"{" + b" " * LONGEST_LINE + b"}", "line_too_long"),
        (TEXT.encode(), "not_json"),
        (TEXT.encode("gb18030"), "not_json"),
        (b"[" * 200_000, "not_json"),
        (b'["text"]', "not_json"),
        (line(text=""), "row_invalid"),
        (line(text=7), "row_invalid"),
        (line(header="x" * 201), "row_invalid"),
        (line(header=[TEXT]), "row_invalid"),
        (line(language=TEXT), "row_invalid"),
        (line(language=None), "row_invalid"),
        (line(shape="cell"), "row_invalid"),
        (line(shape=["prose"]), "row_invalid"),
        (line(spans=None), "span_invalid"),
        (line(spans=["PERSON"]), "span_invalid"),
        (line(spans=[[2, 5]]), "span_invalid"),
        (line(spans=[[2.0, 5, "PERSON"]]), "span_invalid"),
        (line(spans=[[True, 5, "PERSON"]]), "span_invalid"),
        (line(spans=[[5, 2, "PERSON"]]), "span_invalid"),
        (line(spans=[[2, 99, "PERSON"]]), "span_invalid"),
        (line(spans=[[-2, 5, "PERSON"]]), "span_invalid"),
        (line(spans=[[2, 5, "王小明"]]), "span_invalid"),
        (line(spans=[[2, 5, "PERSON"], [4, 8, "PERSON"]]), "span_invalid"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(bad: bytes, code: str) -> None:
    rows = read_rows([line(), b"", bad])
    next(rows)
    with pytest.raises(InvalidError) as caught:
        next(rows)
    assert caught.value.stable_code == f"measurement.{code}"
    assert "line 3 " in caught.value.detail
    assert "王小明" not in caught.value.detail
    assert "13800138000" not in caught.value.detail
