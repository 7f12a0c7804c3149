"""Whatever the bytes, a table is read or refused by a `TableError`; nothing else comes out."""

import contextlib
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.errors import TableError
from governance.tables.reading import open_table

VECTORS = Path(__file__).parents[2] / "vectors" / "tables"
FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read(data: bytes) -> None:
    with contextlib.suppress(TableError):
        reader = open_table(io.BytesIO(data))
        for chunk in reader.chunks(2):
            assert list(chunk.columns) == reader.columns
            assert len({len(values) for values in chunk.columns.values()}) == 1


@FUZZ
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    read(data)


@FUZZ
@given(st.text(alphabet='ab,;"\n\r\t|{}[]: 0\ufeff张\0', max_size=60))
def test_any_text(text: str) -> None:
    read(text.encode())


@pytest.mark.parametrize(
    "name", ["people.parquet", "people.xlsx", "gbk.csv", "utf16_le.csv", "typed.jsonl"]
)
@FUZZ
@given(st.data())
def test_damaged_files(name: str, data: st.DataObject) -> None:
    damaged = bytearray((VECTORS / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(damaged[: data.draw(st.integers(len(damaged) // 2, len(damaged)))]))
    read(bytes(damaged))


@FUZZ
@given(st.data())
def test_damaged_parts_of_a_workbook(data: st.DataObject) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(VECTORS / "people.xlsx") as whole, zipfile.ZipFile(made, "w") as archive:
        names = whole.namelist()
        hurt = data.draw(st.sampled_from(names))
        for name in names:
            part = bytearray(whole.read(name))
            if name == hurt:
                place = data.draw(st.integers(0, len(part) - 1))
                part[place : place + data.draw(st.integers(0, 8))] = data.draw(
                    st.binary(max_size=8)
                )
            archive.writestr(name, bytes(part))
    read(made.getvalue())


@pytest.mark.parametrize("value", [0x00, 0x15, 0xFF])
def test_every_byte_of_a_footer(value: int) -> None:
    """Arrow aborts the process on some of these when it is asked for its metadata directly."""
    whole = (VECTORS / "people.parquet").read_bytes()
    length = int.from_bytes(whole[-8:-4], "little")
    for place in range(len(whole) - 8 - length, len(whole) - 4):
        read(whole[:place] + bytes([value]) + whole[place + 1 :])
