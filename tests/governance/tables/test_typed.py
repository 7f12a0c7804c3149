"""The formats that know types: what their values look like as text, and what they say of them."""

import datetime as dt
import decimal
import io
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from governance.errors import TableError
from governance.tables.limits import Limits
from governance.tables.reading import open_table

VECTORS = Path(__file__).parents[2] / "vectors" / "tables"

NAIVE = dt.datetime.fromisoformat("2024-02-29T13:14:15.000600")
WHEN = dt.datetime(2024, 2, 29, 13, 14, 15, 600, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("values", "of", "texts", "kind"),
    [
        ([7, None, -3], pa.int64(), ["7", None, "-3"], "integer"),
        ([2**64 - 1], pa.uint64(), ["18446744073709551615"], "integer"),
        ([1.0, 0.1, 1e22, None], pa.float64(), ["1.0", "0.1", "1e+22", None], "real"),
        ([decimal.Decimal("1.50")], pa.decimal128(9, 2), ["1.50"], "real"),
        ([True, None, False], pa.bool_(), ["true", None, "false"], "boolean"),
        (["张伟", "", None], pa.string(), ["张伟", "", None], "text"),
        (["x"], pa.large_string(), ["x"], "text"),
        (["x", None], pa.string_view(), ["x", None], "text"),
        (["x", "", "x", None], pa.string(), ["x", "", "x", None], "text"),
        ([3, None, 3], pa.dictionary(pa.int8(), pa.int64()), ["3", None, "3"], "integer"),
        ([None, None], pa.string(), [None, None], "text"),
        (["b", "a", "b"], pa.dictionary(pa.int8(), pa.string()), ["b", "a", "b"], "text"),
        ([dt.date(2024, 2, 29)], pa.date32(), ["2024-02-29"], "text"),
        ([NAIVE], pa.timestamp("us"), ["2024-02-29 13:14:15.000600"], "text"),
        ([WHEN], pa.timestamp("us", "UTC"), ["2024-02-29 13:14:15.000600Z"], "text"),
        ([dt.time(1, 2, 3)], pa.time32("s"), ["01:02:03.000"], "text"),
        ([None], pa.null(), [None], "text"),
    ],
)
def test_parquet_values_have_one_text_form(
    values: list[object], of: pa.DataType, texts: list[str | None], kind: str
) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"c": pa.array(values, of)}), file)
    reader = open_table(file, format="parquet")
    assert [chunk.columns["c"] for chunk in reader.chunks()] == [texts]
    assert reader.kinds == {"c": kind}
    assert reader.encoding is None


def test_parquet_is_read_in_chunks() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"n": range(10)}), file, row_group_size=3)
    chunks = list(open_table(file).chunks(4))
    assert [value for chunk in chunks for value in chunk.columns["n"]] == [
        str(n) for n in range(10)
    ]
    assert [chunk.first_row for chunk in chunks] == [
        1 + sum(chunk.rows for chunk in chunks[:index]) for index in range(len(chunks))
    ]
    assert max(chunk.rows for chunk in chunks) <= 4


def test_a_parquet_chunk_of_large_cells_ends_early() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"n": ["x" * 100_000] * 64}), file, use_dictionary=False)
    limits = Limits(chunk_characters=200_000)
    sizes = [chunk.rows for chunk in open_table(file, limits=limits).chunks(64)]
    assert sizes == [2] * 32


def test_one_large_text_behind_every_row_is_not_multiplied() -> None:
    """Four megabytes, once in the file's dictionary, in each of 512 rows."""
    file = io.BytesIO()
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 512, pa.int32()), ["x" * 4_000_000])
    pq.write_table(pa.table({"n": text}), file)
    before = pa.total_allocated_bytes()
    rows = 0
    for chunk in open_table(file).chunks():
        rows += chunk.rows
        assert pa.total_allocated_bytes() - before < 100_000_000
        assert chunk.rows <= 8
    assert rows == 512


@pytest.mark.parametrize(
    "options", [{}, {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"}]
)
def test_a_value_is_blamed_on_its_first_row_across_chunks(options: dict[str, Any]) -> None:
    names = ["Ada", "Bob", "Bob", "Cy\0", "Bob"]
    file = io.BytesIO()
    pq.write_table(pa.table({"n": names}), file, **options)
    with pytest.raises(TableError, match="row 4 holds a NUL"):
        list(open_table(file).chunks(3))


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(line_characters=99), "table.cell_too_long"),
        (Limits(parquet_bytes=99), "table.bomb"),
        (Limits(parquet_footer_bytes=99), "table.bomb"),
        (Limits(columns=1), "table.too_many_columns"),
    ],
)
def test_parquet_is_bounded(limits: Limits, code: str) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": ["x", "y" * 100], "b": [1, 2]}), file)
    with pytest.raises(TableError) as caught:
        list(open_table(file, limits=limits).chunks())
    assert caught.value.stable_code == code


def test_json_numbers_stay_as_written() -> None:
    with (VECTORS / "typed.jsonl").open("rb") as file:
        reader = open_table(file)
        (chunk,) = reader.chunks()
    assert chunk.columns == {
        "id": ["12345678901234567890", "-1"],
        "score": ["1.50", "2"],
        "ok": ["true", None],
        "name": ["007", None],
        "extra": [None, "x"],
    }
    assert reader.kinds == {
        "id": "integer",
        "score": "real",
        "ok": "boolean",
        "name": "text",
        "extra": "text",
    }


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "null", "2"], "integer"),
        (["1", "2.5"], "real"),
        (["2.5", "1"], "real"),
        (["1", '"x"'], "text"),
        (["true", "1"], "text"),
        (["null"], None),
    ],
)
def test_a_json_column_is_what_all_its_values_are(values: list[str], kind: str | None) -> None:
    body = "".join(f'{{"c": {value}}}\n' for value in values)
    assert open_table(io.BytesIO(body.encode())).kinds == {"c": kind}


def test_json_chunks_number_their_rows() -> None:
    body = "".join(f'{{"n": {number}}}\n\n' for number in range(5))
    chunks = list(open_table(io.BytesIO(body.encode())).chunks(2))
    assert [(chunk.first_row, chunk.rows) for chunk in chunks] == [(1, 2), (3, 2), (5, 1)]


def test_a_formula_is_what_it_last_came_to_and_other_sheets_are_told_of() -> None:
    with (VECTORS / "formula.xlsx").open("rb") as file:
        reader = open_table(file)
        (chunk,) = reader.chunks()
    # Nothing ever calculated this workbook, so its formulas have no values; none is run here.
    assert chunk.columns == {"name": ["Ada", "Zelda Quixby"], "total": [None, None]}
    assert reader.notes == ("1 further sheets were not read",)


def test_workbook_cells_have_one_text_form() -> None:
    book = openpyxl.Workbook()
    sheet = book.create_sheet("people", 0)
    sheet.append(["int", "real", "bool", "date", "time", "text", None])
    sheet.append([7, 1.5, True, dt.date(2024, 2, 29), NAIVE, "张伟", None])
    sheet.append([])
    sheet.append([8])
    file = io.BytesIO()
    book.save(file)
    (chunk,) = open_table(file, format="xlsx").chunks()
    assert chunk.columns == {
        "int": ["7", "8"],
        "real": ["1.5", None],
        "bool": ["true", None],
        "date": ["2024-02-29", None],
        "time": ["2024-02-29T13:14:15.001000", None],
        "text": ["张伟", None],
    }


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd", "row_group_size": 100},
        {"compression": "gzip", "data_page_version": "2.0", "data_page_size": 64},
        {"compression": "none", "use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
        {"compression": "brotli", "write_page_index": True, "write_page_checksum": True},
    ],
)
def test_parquet_is_read_however_it_was_written(options: dict[str, Any]) -> None:
    names = [f"name {number % 37}" for number in range(1000)]
    file = io.BytesIO()
    pq.write_table(pa.table({"name": names}), file, **options)
    read = [value for chunk in open_table(file).chunks(64) for value in chunk.columns["name"]]
    assert read == names


def test_a_text_that_each_row_repeats_is_not_multiplied() -> None:
    """Delta encoding stores only what differs from the row before: here nothing of 1 MB."""
    file = io.BytesIO()
    texts = ["x" * 1_000_000] * 300
    pq.write_table(
        pa.table({"n": texts}), file, use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY"
    )
    del texts
    rows = 0
    for chunk in open_table(file, limits=Limits(parquet_bytes=20_000_000)).chunks():
        rows += chunk.rows
        assert chunk.rows < 100
    assert rows == 300


def test_parquet_of_polars_is_read() -> None:
    frame = pl.DataFrame({"name": ["张伟", None], "age": [41, None]})
    file = io.BytesIO()
    frame.write_parquet(file)
    (chunk,) = open_table(file).chunks()
    assert chunk.columns == {"name": ["张伟", None], "age": ["41", None]}


def test_a_page_that_unpacks_to_gigabytes_is_refused_before_arrow_allocates_it() -> None:
    """A page header may claim any size; here the claim is changed in an honest file."""
    file = io.BytesIO()
    pq.write_table(pa.table({"n": ["x" * 70]}), file, use_dictionary=False, compression="none")
    data = bytearray(file.getvalue())
    # PageHeader: field 1 (type 0), field 2 (uncompressed size), each a zigzag varint.
    place = data.index(b"\x15\x00\x15", 4) + 3
    end = place + 1
    while data[end - 1] & 0x80:
        end += 1
    claimed = 2**31 - 1
    varint = bytes((claimed << 1 >> shift & 0x7F) | 0x80 for shift in (0, 7, 14, 21)) + b"\x0f"
    data[place:end] = varint
    with pytest.raises(TableError) as caught:
        open_table(io.BytesIO(bytes(data)))
    assert caught.value.stable_code == "table.bomb"
