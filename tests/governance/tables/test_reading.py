"""Every bad file gets one stable code and a sentence in which nobody of the file is named."""

import io
import traceback
from pathlib import Path

import pytest

from audit.errors import Kind
from governance.errors import TableError
from governance.tables.reading import format_of, mask, open_table, preview
from governance.tables.table import Format

VECTORS = Path(__file__).parents[2] / "vectors" / "tables"

# Who stands in every bad file. If any part of it reaches a message, a person does.
MARKERS = ("Zelda", "Quixby", "zelda", "张", "三丰")

BAD = [
    # file, stated format, code, what the detail must say
    ("ragged_row.csv", None, "table.ragged_row", "row 2 has 3 cells where the header has 2"),
    ("short_row.csv", None, "table.ragged_row", "row 3 has 1 cells where the header has 2"),
    ("undecodable_byte.csv", None, "table.undecodable", "row 3 "),
    ("undecodable_header.csv", None, "table.undecodable", "the header row "),
    ("nul_byte.csv", None, "table.nul_byte", "row 2 "),
    ("nul_in_header.csv", None, "table.nul_byte", "the header row "),
    ("duplicate_header.csv", None, "table.duplicate_header", "columns 1 and 3 "),
    ("blank_header.csv", None, "table.blank_header", "column 2 "),
    ("header_missing.csv", None, "table.header_missing", "column 2 "),
    ("header_of_numbers.csv", None, "table.header_missing", "not a header"),
    ("empty.csv", None, "table.empty", "empty"),
    ("only_newlines.csv", None, "table.empty", "empty"),
    ("only_bom.csv", None, "table.empty", "empty"),
    ("header_only.csv", None, "table.no_rows", "no rows"),
    ("unbalanced_quote.csv", None, "table.unbalanced_quotes", "row 2 "),
    ("text_after_quote.csv", None, "table.unbalanced_quotes", "row 2 "),
    ("latin1.csv", None, "table.encoding_unknown", "state its encoding"),
    ("gzip_renamed.csv", "parquet", "table.format_mismatch", "Parquet, its content is a gzip"),
    ("gzip_renamed.csv", "jsonl", "table.bad_json", "row 1 "),
    ("truncated.csv.gz", "csv.gz", "table.not_gzip", "cut short"),
    ("cut_in_trailer.csv.gz", "gz", "table.not_gzip", "cut short"),
    ("trailing_garbage.csv.gz", None, "table.not_gzip", "followed by something else"),
    ("bad_checksum.csv.gz", None, "table.not_gzip", "damaged"),
    ("gzip_in_gzip.csv.gz", None, "table.format_mismatch", "a gzip archive of a gzip archive"),
    ("parquet_in_gzip.gz", None, "table.format_mismatch", "a gzip archive of Parquet"),
    ("zip_in_gzip.gz", "gz", "table.format_mismatch", "a gzip archive of a zip archive"),
    ("empty.csv.gz", "csv.gz", "table.empty", "empty"),
    ("undecodable_byte.csv.gz", None, "table.undecodable", "row 2 "),
    ("gb18030_then_utf8.csv", None, "table.mixed_encodings", "row 4 is not in gb18030"),
    ("gb18030_with_a_utf8_cell.csv", None, "table.mixed_encodings", "row 4 "),
    ("gb18030_then_utf8.jsonl", None, "table.mixed_encodings", "row 3 "),
    ("utf8_then_gb18030.csv", None, "table.undecodable", "row 4 "),
    ("utf8_then_utf16.csv", None, "table.undecodable", "row 4 "),
    ("bidi_header.csv", None, "table.hidden_header", "column 2 "),
    ("zero_width_duplicate.csv", None, "table.duplicate_header", "columns 1 and 3 "),
    ("full_width_duplicate.csv", None, "table.duplicate_header", "columns 1 and 3 "),
    ("invisible_header.csv", None, "table.blank_header", "column 2 "),
    ("full_width_mail_header.csv", None, "table.header_missing", "column 2 "),
    ("hidden_duplicate.jsonl", None, "table.duplicate_header", "columns 1 and 2 "),
    ("deep_nesting.jsonl", None, "table.too_deep", "row 2 is nested more than 32 deep"),
    ("nul_byte.txt", "txt", "table.nul_byte", "row 2 "),
    ("undecodable_byte.txt", "text", "table.undecodable", "row 2 "),
    ("only_blank_lines.txt", "txt", "table.empty", "empty"),
    ("parquet_renamed.csv", "csv", "table.format_mismatch", "its content is Parquet"),
    ("json_renamed.csv", "csv", "table.format_mismatch", "its content is JSON Lines"),
    ("zip_renamed.parquet", "parquet", "table.format_mismatch", "Parquet, its content is a zip"),
    ("zip_renamed.xlsx", "xlsx", "table.format_mismatch", "workbook, its content is a zip"),
    ("csv_renamed.parquet", "parquet", "table.format_mismatch", "delimited text"),
    ("people.xlsx", "parquet", "table.format_mismatch", "an .xlsx workbook"),
    ("people.parquet", "jsonl", "table.format_mismatch", "Parquet"),
    ("truncated.parquet", "parquet", "table.not_parquet", "damaged"),
    ("damaged_footer.parquet", None, "table.not_parquet", "damaged"),
    ("bytes.parquet", None, "table.unsupported_type", "column 2 is of type binary"),
    ("nul_byte.parquet", None, "table.nul_byte", "row 2 "),
    ("undecodable.parquet", None, "table.undecodable", "row 2 "),
    ("one_bad_line.jsonl", None, "table.bad_json", "row 3 "),
    ("csv_renamed.parquet", "jsonl", "table.bad_json", "row 1 "),
    ("nan.jsonl", None, "table.bad_json", "row 1 "),
    ("array.jsonl", None, "table.bad_json", "row 1 "),
    ("named_twice.jsonl", None, "table.bad_json", "row 2 names a field twice"),
    ("half_surrogate.jsonl", None, "table.bad_json", "row 2 "),
    ("deep.jsonl", None, "table.bad_json", "row 1 "),
    ("nul_escape.jsonl", None, "table.nul_byte", "row 2 "),
    ("undecodable_byte.jsonl", None, "table.undecodable", "row 2 "),
    ("header_missing.jsonl", None, "table.header_missing", "column 1 "),
    ("empty_objects.jsonl", None, "table.empty", "empty"),
    ("doctype.xlsx", None, "table.bomb", "document type"),
    ("truncated.xlsx", "xlsx", "table.not_workbook", "damaged"),
    ("truncated.xlsx", "parquet", "table.format_mismatch", "a damaged zip archive"),
    ("damaged_sheet.xlsx", None, "table.not_workbook", "damaged"),
    ("ragged_row.xlsx", None, "table.ragged_row", "row 2 has 3 cells where the header has 2"),
    ("blank_header.xlsx", None, "table.blank_header", "column 2 "),
    ("empty.xlsx", None, "table.empty", "empty"),
    ("header_only.xlsx", None, "table.no_rows", "no rows"),
]


@pytest.mark.parametrize(("name", "stated", "code", "says"), BAD)
def test_a_bad_file_has_one_stable_code_and_names_nobody(
    name: str, stated: str | None, code: str, says: str
) -> None:
    with (VECTORS / name).open("rb") as file, pytest.raises(TableError) as caught:
        for _ in open_table(file, format=stated).chunks(1):
            pass
    error = caught.value
    assert (error.stable_code, error.kind) == (code, Kind.INVALID)
    assert says in error.detail
    # The whole chain as a log would print it, without the source lines of this test.
    printed = "".join(
        "".join(part.format_exception_only())
        for part in _chain(traceback.TracebackException.from_exception(error))
    )
    assert not [marker for marker in MARKERS if marker in printed]


def _chain(error: traceback.TracebackException | None) -> list[traceback.TracebackException]:
    if error is None:
        return []
    shown = [] if error.__suppress_context__ else _chain(error.__context__)
    return [error, *_chain(error.__cause__), *shown]


def test_every_bad_vector_is_in_the_table() -> None:
    good = {"people.parquet", "people.xlsx", "formula.xlsx", "one_column.csv", "typed.jsonl"}
    good |= {"mixed_newlines.csv", "quoted_newlines.csv", "semicolon.csv", "tabs.tsv", "pipes.csv"}
    good |= {path.name for path in VECTORS.glob("utf*")} | {"gbk.csv", "big5.csv", "bom_utf8.csv"}
    good |= {"gb18030_four_byte.csv", "big5_hkscs.csv", "bom_utf8.jsonl"}
    good |= {"nested.parquet", "nested.jsonl", "people.csv.gz", "notes.txt", "table.txt", "app.log"}
    assert {path.name for path in VECTORS.iterdir()} == good | {name for name, *_ in BAD}


@pytest.mark.parametrize(
    ("stated", "format_"),
    [
        ("csv", Format.CSV),
        (".tsv", Format.CSV),
        ("people.TXT", Format.TEXT),
        ("README.md", Format.TEXT),
        ("a.b.ndjson", Format.JSONL),
        ("pq", Format.PARQUET),
        ("book.xlsx", Format.XLSX),
    ],
)
def test_formats_are_named_by_suffix(stated: str, format_: Format) -> None:
    assert format_of(stated) is format_


def test_an_unknown_format_lists_the_known_ones() -> None:
    with pytest.raises(TableError) as caught:
        open_table(io.BytesIO(b"a\n1\n"), format="xls")
    assert caught.value.stable_code == "table.format_unknown"
    assert "xlsx" in caught.value.detail


@pytest.mark.parametrize("name", ["people.csv.gz", "gz", "people"])
def test_what_is_only_read_is_no_format_to_write(name: str) -> None:
    with pytest.raises(TableError) as caught:
        format_of(name)
    assert caught.value.stable_code == "table.format_unknown"


def test_a_bracket_may_begin_delimited_text() -> None:
    file = io.BytesIO(b"[id],name\n1,Ada\n")
    assert open_table(file, format="csv").columns == ["[id]", "name"]


def test_the_file_is_left_open_and_may_be_read_again() -> None:
    with (VECTORS / "utf8.csv").open("rb") as file:
        reader = open_table(file)
        first, second = list(reader.chunks()), list(reader.chunks())
        del reader
        assert first == second
        assert not file.closed


class _Broken(io.BytesIO):
    """Storage that fails after the first block."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if self.reads == 1:
            raise TimeoutError("the store is away")
        self.reads += 1
        return super().read(min(size or 0, 64))


@pytest.mark.parametrize(
    "name", ["people.parquet", "people.xlsx", "utf8.csv", "typed.jsonl", "notes.txt"]
)
def test_a_failing_store_is_not_called_a_bad_table(name: str) -> None:
    with pytest.raises(TimeoutError):
        open_table(_Broken((VECTORS / name).read_bytes()))


class _Dribble(io.BytesIO):
    """A raw file that returns less than it is asked for, as raw files may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(7, size if size is not None and size >= 0 else 7))


@pytest.mark.parametrize(
    "name", ["people.parquet", "people.xlsx", "gbk.csv", "typed.jsonl", "people.csv.gz"]
)
def test_short_reads_change_nothing(name: str) -> None:
    data = (VECTORS / name).read_bytes()
    whole = list(open_table(io.BytesIO(data)).chunks(1))
    assert list(open_table(_Dribble(data)).chunks(1)) == whole


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("张伟明", "张〇〇"),
        ("Ada Lovelace", "Axx xxxxxxxx"),
        ("M", "x"),
        ("男", "〇"),
        ("13800138000", "99999999999"),
        ("11010518991231004X", "99999999999999999x"),
        ("ada@example.com", "axx@xxxxxxx.xxx"),
        ("三", "〇"),
        ("", ""),
        ("x" * 50, "x" * 40 + "…"),
    ],
)
def test_a_mask_keeps_the_shape(value: str, masked: str) -> None:
    assert mask(value) == masked


def test_a_preview_shows_shapes_only() -> None:
    with (VECTORS / "gbk.csv").open("rb") as file:
        look = preview(file, rows=2)
    assert look.format is Format.CSV
    assert look.encoding is not None
    assert look.encoding.name == "gb18030"
    assert look.columns == ["姓名", "城市", "备注"]
    assert look.rows == [["张〇", "北〇", "喜〇〇〇〇〇"], ["王〇", "上〇", "在〇〇〇〇〇〇"]]
