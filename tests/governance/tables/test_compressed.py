"""Gzip around text: streamed, read again from the start, bounded while it is read."""

import gzip
import io
import tracemalloc
import zlib
from pathlib import Path

import pytest

from governance.errors import TableError
from governance.tables.compressed import Inflated
from governance.tables.limits import MIB, Limits
from governance.tables.reading import open_table, preview
from governance.tables.table import Format

VECTORS = Path(__file__).parents[2] / "vectors" / "tables"


@pytest.mark.parametrize(
    "stated", [None, "csv", "gz", "csv.gz", ".csv.gz", "people.CSV.GZ", "gzip"]
)
def test_gzip_is_seen_by_content(stated: str | None) -> None:
    with (VECTORS / "people.csv.gz").open("rb") as file:
        reader = open_table(file, format=stated)
        assert (reader.format, reader.columns) == (Format.CSV, ["name", "city"])
        first, second = list(reader.chunks()), list(reader.chunks(1))
    assert first[0].columns["name"] == ["张三丰", "Zelda Quixby"]
    assert [chunk.columns["city"] for chunk in second] == [["Wudang"], ["Toronto"]]


@pytest.mark.parametrize(
    ("name", "stated", "format_"),
    [
        ("gbk.csv", None, Format.CSV),
        ("utf16_le_bom.csv", "csv.gz", Format.CSV),
        ("tabs.tsv", "tsv.gz", Format.CSV),
        ("typed.jsonl", "jsonl.gz", Format.JSONL),
        ("nested.jsonl", "gz", Format.JSONL),
        ("notes.txt", "txt.gz", Format.TEXT),
        ("table.txt", "txt.gz", Format.CSV),
    ],
)
def test_what_is_packed_reads_as_if_it_were_not(
    name: str, stated: str | None, format_: Format
) -> None:
    data = (VECTORS / name).read_bytes()
    plain = open_table(io.BytesIO(data), format=stated)
    packed = open_table(io.BytesIO(gzip.compress(data)), format=stated)
    assert (packed.format, packed.encoding, packed.columns, packed.kinds) == (
        format_,
        plain.encoding,
        plain.columns,
        plain.kinds,
    )
    assert list(packed.chunks(2)) == list(plain.chunks(2))


def test_a_preview_looks_through_gzip() -> None:
    with (VECTORS / "people.csv.gz").open("rb") as file:
        assert preview(file, 1, format="gz").rows == [["张〇〇", "Wxxxxx"]]


TEXT = b"".join(b"%d,%d\n" % (number, number * number) for number in range(200_000))


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(TEXT),
        gzip.compress(TEXT[:100]) + gzip.compress(b"") + gzip.compress(TEXT[100:]),
        gzip.compress(TEXT) + bytes(100_000),
        b"".join(gzip.compress(TEXT[at : at + 999]) for at in range(0, len(TEXT), 999)),
    ],
    ids=["one member", "three", "zeros behind", "many"],
)
def test_members_follow_each_other(packed: bytes) -> None:
    inflated = Inflated(io.BytesIO(packed), Limits())
    pieces = list(iter(lambda: inflated.read(7919), b""))
    assert b"".join(pieces) == TEXT
    assert inflated.tell() == len(TEXT) == inflated.seek(0, io.SEEK_END)
    for place in (1_000_000, 5, 5, 700_001):
        assert inflated.seek(place) == place
        assert inflated.read(10) == TEXT[place : place + 10]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_file_cut_anywhere_is_refused(cut: int) -> None:
    packed = gzip.compress(b"name\n" + b"Zelda Quixby\n" * 3)
    with pytest.raises(TableError) as caught:
        list(open_table(io.BytesIO(packed[:-cut]), format="csv.gz").chunks())
    assert caught.value.stable_code in {"table.not_gzip", "table.format_mismatch", "table.empty"}


def zeros(mebibytes: int) -> bytes:
    """A table of one long column of zeros, packed about a thousand times smaller."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    rows = (b"0" * 4095 + b"\n") * (MIB // 4096)
    pieces = [packer.compress(b"n\n"), *(packer.compress(rows) for _ in range(mebibytes))]
    return b"".join(pieces) + packer.flush()


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(), "over 250 times its size"),
        (Limits(gzip_bytes=10 * MIB), "more than 10485760 bytes"),
    ],
)
def test_a_bomb_is_refused_while_it_is_read(limits: Limits, says: str) -> None:
    packed = zeros(80)
    tracemalloc.start()
    reader = open_table(io.BytesIO(packed), limits=limits, encoding="utf-8")
    with pytest.raises(TableError) as caught:
        for _ in reader.chunks():
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (caught.value.stable_code, says in caught.value.detail) == ("table.bomb", True)
    assert peak < 60 * MIB


def test_a_small_table_of_zeros_is_no_bomb() -> None:
    reader = open_table(io.BytesIO(zeros(2)))
    assert sum(chunk.rows for chunk in reader.chunks()) == 512
