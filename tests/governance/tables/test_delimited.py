import io
from pathlib import Path

import pytest

from governance.errors import TableError
from governance.tables.limits import Limits
from governance.tables.reading import open_table

VECTORS = Path(__file__).parents[2] / "vectors" / "tables"


def table(name: str) -> dict[str, list[str | None]]:
    with (VECTORS / name).open("rb") as file:
        reader = open_table(file)
        columns: dict[str, list[str | None]] = {column: [] for column in reader.columns}
        for chunk in reader.chunks(2):
            for column, values in chunk.columns.items():
                columns[column] += values
    return columns


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mixed_newlines.csv", {"name": ["Ada", "Bob", "Cy", "Dee"], "age": ["36", "2", "3", "4"]}),
        (
            "quoted_newlines.csv",
            {"name": ["Ada", "Bob"], "note": ['one\ntwo\r\nthree "four"', "a,b"]},
        ),
        ("semicolon.csv", {"name": ["Ada", "Bob"], "amount": ["1,5", "2,5"]}),
        ("tabs.tsv", {"name": ["Ada", "Bob"], "note": ["a,b", "c,d"]}),
        ("pipes.csv", {"name": ["Ada", "Bob"], "note": ["a;b", "c"]}),
        ("one_column.csv", {"name": ["Ada", None, "Bob"]}),
    ],
)
def test_a_good_file_reads_as_written(name: str, expected: dict[str, list[str | None]]) -> None:
    assert table(name) == expected


def test_chunks_number_their_rows() -> None:
    file = io.BytesIO(b"n\n" + b"".join(b"%d\n" % number for number in range(1, 11)))
    chunks = list(open_table(file).chunks(4))
    assert [(chunk.first_row, chunk.rows) for chunk in chunks] == [(1, 4), (5, 4), (9, 2)]
    assert chunks[2].columns == {"n": ["9", "10"]}


def test_a_row_is_named_by_its_number_in_whatever_chunk() -> None:
    lines = [b"a,b"] + [b"1,2"] * 9 + [b"1,2,3"]
    reader = open_table(io.BytesIO(b"\n".join(lines)))
    with pytest.raises(TableError, match="row 10 has 3 cells"):
        list(reader.chunks(4))


def test_a_quoted_line_break_counts_as_one_row() -> None:
    reader = open_table(io.BytesIO(b'a,b\n"1\n1\n1",2\n1,2\n3\n'))
    with pytest.raises(TableError, match="row 3 has 1 cells"):
        list(reader.chunks())


def test_an_unclosed_quote_is_refused_within_the_bound() -> None:
    body = b'a,b\n1,2\n"' + b"1,2\n" * 5000
    reader = open_table(io.BytesIO(body), limits=Limits(line_characters=200_000))
    with pytest.raises(TableError) as caught:
        list(reader.chunks())
    assert (caught.value.stable_code, "row 2 " in caught.value.detail) == (
        "table.unbalanced_quotes",
        True,
    )


def test_a_chunk_of_large_cells_ends_early() -> None:
    cell = b"x" * 400_000
    file = io.BytesIO(b"a,b\n" + (cell + b",1\n") * 30)
    limits = Limits(chunk_characters=2_000_000)
    sizes = [chunk.rows for chunk in open_table(file, limits=limits).chunks()]
    assert sum(sizes) == 30
    assert max(sizes) <= 8  # two blocks of 1 MiB beyond the bound, at 400 kB a row


@pytest.mark.parametrize("width", [3, 4])
def test_columns_are_bounded(width: int) -> None:
    names = ",".join(f"c{number}" for number in range(width))
    file = io.BytesIO(f"{names}\n{names}\n".encode())
    limits = Limits(columns=3)
    if width == 3:
        assert len(open_table(file, limits=limits).columns) == 3
    else:
        with pytest.raises(TableError) as caught:
            open_table(file, limits=limits)
        assert caught.value.stable_code == "table.too_many_columns"


def test_a_long_name_is_not_a_name() -> None:
    with pytest.raises(TableError) as caught:
        open_table(io.BytesIO(b"a," + b"b" * 300 + b"\n1,2\n"))
    assert caught.value.stable_code == "table.long_header"


@pytest.mark.parametrize("name", ["2019-2020", "2024-01-31", "Q1 2024", "0.5", "A1", "张伟"])
def test_years_and_dates_may_name_columns(name: str) -> None:
    assert open_table(io.BytesIO(f"id,{name}\n1,2\n".encode())).columns == ["id", name]


@pytest.mark.parametrize("name", ["a@b", "138 0013 8000", "212-555-0123", "11010518991231004X"])
def test_a_person_may_not(name: str) -> None:
    with pytest.raises(TableError) as caught:
        open_table(io.BytesIO(f"id,{name}\n1,2\n".encode()))
    assert caught.value.stable_code == "table.header_missing"
    assert name not in caught.value.detail
