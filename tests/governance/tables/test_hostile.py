"""Cells and names made to hurt: hidden, in two encodings, run by a spreadsheet."""

import csv
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.errors import TableError
from governance.tables.reading import open_table
from governance.tables.table import Format
from governance.tables.writing import chunk_writer, defused


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("\ufeffname", "name"),  # a second byte order mark
        ("na\u200bme", "name"),
        ("\u200ename\u200f", "name"),
        ("full\nname", "full name"),
        ("na\x1b[31mme", "na [31mme"),
        ("\u3000姓名\u3000", "姓名"),
        ("姓名（必填）", "姓名（必填）"),
    ],
)
def test_a_name_loses_what_cannot_be_seen(name: str, seen: str) -> None:
    body = f'id,"{name}"\n1,2\n'.encode()
    assert open_table(io.BytesIO(body)).columns == ["id", seen]


@pytest.mark.parametrize("mark", "\u202a\u202b\u202d\u202e\u2066\u2067\u2068")
def test_a_name_that_reorders_what_is_read_is_refused(mark: str) -> None:
    with pytest.raises(TableError) as caught:
        open_table(io.BytesIO(f"id,{mark}eman\n1,2\n".encode()))
    assert caught.value.stable_code == "table.hidden_header"


EVERYDAY = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工"


@pytest.mark.parametrize("codec", ["gb18030", "big5"])
def test_a_row_of_utf8_amid_another_encoding_is_refused(codec: str) -> None:
    """Whether its bytes decode by chance or not, it is refused, and by its own number."""
    rng = random.Random(7)
    word = "".join
    refused = 0
    for _ in range(60):
        before = [
            word(rng.choices("中文人名大小山水王林", k=3)) for _ in range(rng.randint(25, 40))
        ]
        foreign = word(rng.choices(EVERYDAY, k=rng.randint(3, 12)))
        body = ("姓名\n" + "\n".join(before) + "\n").encode(codec) + foreign.encode() + b"\nx\n"
        with pytest.raises(TableError) as caught:
            list(open_table(io.BytesIO(body)).chunks())
        assert caught.value.stable_code in {"table.mixed_encodings", "table.undecodable"}
        assert f"row {len(before) + 1} " in caught.value.detail
        refused += caught.value.stable_code == "table.mixed_encodings"
    assert codec != "gb18030" or refused > 20


def test_rare_characters_of_gb18030_are_no_mixture() -> None:
    """All characters of GB 2312, in any order, in names of two to four."""
    rng = random.Random(7)
    table = [
        bytes((lead, trail)).decode("gb2312")
        for lead in range(0xB0, 0xF8)
        for trail in range(0xA1, 0xFF)
        if (lead, trail) < (0xF8, 0) and not (lead == 0xD7 and trail > 0xF9)
    ]
    names = ["".join(rng.choices(table, k=rng.randint(2, 4))) for _ in range(100_000)]
    body = ("姓名\n" + "\n".join(names) + "\n").encode("gb18030")
    read = [
        name
        for chunk in open_table(io.BytesIO(body), encoding="gbk").chunks()
        for name in chunk.columns["姓名"]
    ]
    assert read == names


@pytest.mark.parametrize(
    "cell",
    [" =1+1", "\u200b=1+1", "\ufeff@SUM(A1)", "\u3000＋1", "\u00a0-2+3", "+1=2", "-1-1", "＠x"],
)
def test_what_a_spreadsheet_might_run_is_neutralized(cell: str) -> None:
    assert defused(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["-3", "+8613800138000", "-1.5e-7", "1=1", "a@b.cn", "", "'=1"])
def test_numbers_and_plain_texts_survive(cell: str) -> None:
    assert defused(cell) == cell


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
COLUMNS = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.none() | TEXT, min_size=width, max_size=width), min_size=1, max_size=6
    )
)


@settings(max_examples=80, deadline=None)
@given(COLUMNS, st.sampled_from([Format.CSV, Format.JSONL, Format.PARQUET]))
def test_arbitrary_cells_come_back(rows: list[list[str | None]], form: Format) -> None:
    names = [f"column {number}" for number in range(len(rows[0]))]
    sink = io.BytesIO()
    writer = chunk_writer(sink, form, names)
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    writer.write(columns)
    writer.close()
    if form is Format.CSV:
        # An empty cell has no value, and what could be run has its apostrophe.
        columns = {
            name: [defused(cell) or None if cell else None for cell in values]
            for name, values in columns.items()
        }
    read: dict[str, list[str | None]] = {name: [] for name in names}
    for chunk in open_table(io.BytesIO(sink.getvalue()), format=form.value).chunks(2):
        for name, values in chunk.columns.items():
            read[name] += values
    assert read == columns


@settings(max_examples=80, deadline=None)
@given(TEXT)
def test_no_cell_of_a_csv_begins_like_a_formula(cell: str) -> None:
    sink = io.StringIO(newline="")
    csv.writer(sink).writerow([defused(cell)])
    try:
        float(cell)
    except ValueError:
        assert (
            not sink.getvalue()
            .lstrip('" \u3000\u200b\ufeff')
            .startswith(("=", "+", "-", "@", "\t", "＝", "＋", "－", "＠"))
        )
