"""Memory does not grow with the file, nor with what is wrong with it."""

import io
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import openpyxl
import pytest

from governance.errors import TableError
from governance.tables.limits import MIB, Limits
from governance.tables.reading import open_table


class Made(io.RawIOBase):
    """A seekable file of `size` bytes that are made as they are read, and never all there."""

    def __init__(self, size: int, piece: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._size, self._piece, self._at = size, piece, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        wanted = min(len(buffer), self._size - self._at)
        buffer[:wanted] = self._piece(self._at, wanted)
        self._at += wanted
        return wanted


ROW = f"0000001,张伟,13800138000,user@example.com,{'北京市朝阳区' * 40},41\r\n".encode()
HEADER = b"id,name,mobile,mail,address,age".ljust(len(ROW) - 2) + b"\r\n"


def rows(at: int, wanted: int) -> bytes:
    """The header once and then one row over and over."""
    start = at % len(ROW)
    cycle = ROW * (wanted // len(ROW) + 2)
    if at >= len(HEADER):
        return cycle[start : start + wanted]
    return (HEADER[at:] + cycle)[:wanted]


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("mebibytes", [5, 50])
def test_memory_is_constant_with_the_size_of_a_csv(mebibytes: int, peak: Callable[[], int]) -> None:
    size = mebibytes * MIB // len(ROW) * len(ROW)
    count = 0
    for chunk in open_table(Made(size, rows)).chunks():
        count += chunk.rows
    assert count == size // len(ROW) - 1
    assert peak() < 20 * MIB


@pytest.mark.parametrize("stated", ["csv", "jsonl"])
def test_a_line_of_200_mb_is_refused_in_bounded_memory(
    stated: str, peak: Callable[[], int]
) -> None:
    file = Made(200 * MIB, lambda _, wanted: b"x" * wanted)
    with pytest.raises(TableError) as caught:
        open_table(file, format=stated)
    assert caught.value.stable_code == "table.line_too_long"
    assert peak() < 80 * MIB


def test_a_long_line_far_down_is_refused_by_its_row(peak: Callable[[], int]) -> None:
    def piece(at: int, wanted: int) -> bytes:
        return (b"a,b\n1,2\n3,4\n"[at:] + b"y" * wanted)[:wanted]

    with pytest.raises(TableError, match="row 3 is longer than 16777216 characters"):
        list(open_table(Made(200 * MIB, piece)).chunks())
    assert peak() < 80 * MIB


LARGE = 10_000_000
WORDS = b"word " * (LARGE // 5)


def repeated(header: bytes, row: bytes, times: int) -> Made:
    """A file of a header and a row over and over, made as it is read."""

    def piece(at: int, wanted: int) -> bytes:
        made = bytearray(header[at : at + wanted])
        while len(made) < wanted:
            start = (at + len(made) - len(header)) % len(row)
            made += row[start : start + wanted - len(made)]
        return bytes(made)

    return Made(len(header) + times * len(row), piece)


@pytest.mark.parametrize(
    ("stated", "header", "row"),
    [
        ("csv", b"id,note\n", b"1," + WORDS + b"\n"),
        ("jsonl", b"", b'{"id":1,"note":"' + WORDS + b'"}\n'),
        ("jsonl", b"", b'{"p":{"notes":[{"note":"' + WORDS + b'"}]}}\n'),
        ("text", b"", WORDS + b"\n\n"),
    ],
    ids=["csv", "jsonl", "nested", "text"],
)
def test_a_column_of_ten_megabyte_cells_takes_bounded_memory(
    stated: str, header: bytes, row: bytes, peak: Callable[[], int]
) -> None:
    held = 0
    for chunk in open_table(repeated(header, row, 14), format=stated).chunks():
        held += sum(len(cell or "") for cell in [*chunk.columns.values()][-1])
    assert held >= 14 * LARGE * 0.99
    assert peak() < 260 * MIB, peak()


def _zip(parts: dict[str, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file


@pytest.mark.parametrize(
    ("parts", "limits", "says"),
    [
        ({"xl/worksheets/sheet1.xml": bytes(8 * MIB)}, Limits(), "times its size"),
        ({f"xl/{number}.bin": b"" for number in range(2001)}, Limits(), "2000 entries"),
        ({"xl/media/a.bin": bytes(2 * MIB)}, Limits(workbook_bytes=MIB), "unpacks to more than"),
        (
            {"xl/sharedStrings.xml": bytes(2 * MIB)},
            Limits(workbook_part_bytes=MIB, workbook_ratio=10_000),
            "a part of it is larger",
        ),
    ],
)
def test_a_bomb_is_refused_unread(
    parts: dict[str, bytes], limits: Limits, says: str, peak: Callable[[], int]
) -> None:
    file = _zip({"xl/workbook.xml": b"<workbook/>", **parts})
    before = peak()
    with pytest.raises(TableError) as caught:
        open_table(file, limits=limits)
    assert (caught.value.stable_code, says in caught.value.detail) == ("table.bomb", True)
    assert peak() - before < 6 * MIB


def test_a_sheet_of_empty_rows_is_bounded() -> None:
    book = openpyxl.Workbook()
    sheet = book.create_sheet("people", 0)
    sheet.append(["name"])
    sheet.append(["Ada"])
    sheet.cell(row=1_000_000, column=1, value="Bob")
    file = io.BytesIO()
    book.save(file)
    with pytest.raises(TableError) as caught:
        list(open_table(file, limits=Limits(workbook_rows=1000)).chunks())
    assert caught.value.stable_code == "table.bomb"
