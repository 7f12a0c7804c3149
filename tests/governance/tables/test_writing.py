import csv
import io
import json

import polars as pl
import pytest

from governance.errors import TableError
from governance.tables.kinds import KindsSeen
from governance.tables.reading import open_table
from governance.tables.table import ColumnKind, Format
from governance.tables.writing import (
    CsvChunkWriter,
    JsonlChunkWriter,
    ParquetChunkWriter,
    chunk_writer,
    read_version,
)

KINDS = {
    "age": ColumnKind.INTEGER,
    "score": ColumnKind.REAL,
    "ok": ColumnKind.BOOLEAN,
    "name": ColumnKind.TEXT,
}
FIRST: dict[str, list[str | None]] = {
    "name": ["张伟", None],
    "age": ["41", ""],
    "score": ["1.5", None],
    "ok": ["true", "false"],
}
SECOND: dict[str, list[str | None]] = {
    "age": ["7"],
    "score": ["2"],
    "ok": [None],
    "name": ['a "b",\r\nc'],
}


class Tube:
    """A sink that takes bytes and can do nothing else, like a sealing writer."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def write(self, data: bytes, /) -> None:
        self.taken += data


@pytest.mark.parametrize("format_", [Format.CSV, Format.JSONL, Format.PARQUET])
def test_what_is_written_reads_back(format_: Format) -> None:
    tube = Tube()
    writer = chunk_writer(tube, format_, list(KINDS), KINDS)
    writer.write(FIRST)
    writer.write(SECOND)
    writer.close()
    reader = open_table(io.BytesIO(tube.taken), format=format_)
    (chunk,) = reader.chunks()
    two = "2" if format_ is Format.CSV else "2.0"
    assert chunk.columns == {
        "age": ["41", None, "7"],
        "score": ["1.5", None, two],
        "ok": ["true", "false", None],
        "name": ["张伟", None, 'a "b",\r\nc'],
    }


def test_a_format_that_is_only_read_is_refused() -> None:
    with pytest.raises(TableError) as caught:
        chunk_writer(Tube(), Format.XLSX, ["a"])
    assert caught.value.stable_code == "table.format_unknown"


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("＝1+1", "'＝1+1"),
        ("-3", "-3"),
        ("+3.5e-7", "+3.5e-7"),
        ("-.5", "-.5"),
        ("--1", "'--1"),
        ("a=1", "a=1"),
        ("", ""),
        (None, ""),
    ],
)
def test_no_cell_of_a_csv_runs_in_a_spreadsheet(cell: str | None, written: str) -> None:
    tube = Tube()
    CsvChunkWriter(tube, ["=name", "b"]).write({"=name": [cell], "b": ["x"]})
    rows = list(csv.reader(io.StringIO(tube.taken.decode(), newline="")))
    assert rows == [["'=name", "b"], [written, "x"]]


@pytest.mark.parametrize("mark", [True, False])
def test_the_byte_order_mark_is_a_choice(mark: bool) -> None:  # noqa: FBT001 - a column of the table
    tube = Tube()
    CsvChunkWriter(tube, ["姓名"], mark=mark)
    assert tube.taken.startswith(b"\xef\xbb\xbf") is mark


def test_json_values_are_bare_where_they_are_numbers() -> None:
    tube = Tube()
    writer = JsonlChunkWriter(tube, list(KINDS), KINDS)
    writer.write(FIRST)
    writer.write({"age": [], "score": [], "ok": [], "name": []})
    assert [json.loads(line) for line in tube.taken.decode().splitlines()] == [
        {"age": 41, "score": 1.5, "ok": True, "name": "张伟"},
        {"age": None, "score": None, "ok": False, "name": None},
    ]


def test_json_has_no_nan() -> None:
    tube = Tube()
    JsonlChunkWriter(tube, ["x"], {"x": ColumnKind.REAL}).write({"x": ["nan", "-inf", "1"]})
    assert tube.taken.decode().splitlines() == ['{"x":null}', '{"x":null}', '{"x":1.0}']


def test_a_version_is_typed_and_comes_back_in_frames() -> None:
    tube = Tube()
    writer = ParquetChunkWriter(tube, list(KINDS), KINDS)
    for _ in range(40):
        writer.write({name: values * 1000 for name, values in FIRST.items()})
    writer.close()
    frames = list(read_version(io.BytesIO(tube.taken)))
    assert [frame.height for frame in frames] == [65_536, 80_000 - 65_536]
    assert frames[0].schema == {
        "age": pl.Int64,
        "score": pl.Float64,
        "ok": pl.Boolean,
        "name": pl.String,
    }
    assert frames[0].row(0) == (41, 1.5, True, "张伟")
    assert frames[0].row(1) == (None, None, False, None)


def test_a_version_without_rows_reads_back_empty() -> None:
    tube = Tube()
    ParquetChunkWriter(tube, ["a"]).close()
    assert list(read_version(io.BytesIO(tube.taken))) == []


@pytest.mark.parametrize("kind", ["integer", "real", "boolean"])
@pytest.mark.parametrize("writer", [ParquetChunkWriter, JsonlChunkWriter])
def test_a_value_of_another_kind_is_refused_unquoted(
    writer: type[ParquetChunkWriter | JsonlChunkWriter], kind: str
) -> None:
    made = writer(Tube(), ["a", "b"], {"b": ColumnKind(kind)})
    with pytest.raises(TableError) as caught:
        made.write({"a": ["x"], "b": ["Zelda"]})
    assert caught.value.stable_code == "table.kind_mismatch"
    assert caught.value.detail == f"column 2 holds a value that is not {kind}"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "columns", [{"a": ["1"]}, {"a": ["1"], "c": ["1"]}, {"a": ["1"], "b": []}, {}]
)
def test_a_chunk_of_other_columns_is_refused(columns: dict[str, list[str | None]]) -> None:
    for format_ in (Format.CSV, Format.JSONL, Format.PARQUET):
        with pytest.raises(TableError) as caught:
            chunk_writer(Tube(), format_, ["a", "b"]).write(columns)
        assert caught.value.stable_code == "table.columns_differ"


@pytest.mark.parametrize(
    ("chunks", "kind"),
    [
        ([["1", "-20", None]], "integer"),
        ([["0", "999999999999999999"]], "integer"),
        ([["1"], ["2.5"]], "real"),
        ([["2.5"], ["1"], ["1e-3"]], "real"),
        ([["007"]], "text"),
        ([["+1"]], "text"),
        ([["1000000000000000000"]], "text"),
        ([["0.12345678901234567"]], "text"),
        ([["1"], ["x"], ["1"]], "text"),
        ([["１２"]], "text"),
        ([["nan"]], "text"),
        ([["1e400"]], "text"),
        ([[None, ""]], "text"),
        ([], "text"),
    ],
)
def test_a_column_is_a_number_only_if_nothing_is_lost(
    chunks: list[list[str | None]], kind: str
) -> None:
    seen = KindsSeen(["c"])
    for values in chunks:
        seen.observe({"c": values})
    assert seen.kinds() == {"c": kind}
