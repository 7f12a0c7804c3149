"""Tables live sealed: read and written through the real envelope, and no plaintext file appears."""

import io
import tempfile
from pathlib import Path

import pytest

from governance.envelope import SEALED_SEGMENT, Identity, OpeningReader, SealingWriter, seal
from governance.errors import SealError
from governance.suites import SuiteId, suite
from governance.tables.reading import open_table
from governance.tables.table import ColumnKind, Format
from governance.tables.writing import ParquetChunkWriter, chunk_writer, read_version

VECTORS = Path(__file__).parents[2] / "vectors" / "tables"
SUITE = suite(SuiteId.AES_256_GCM)
KEY = bytes(range(32))
OBJECT = Identity("tenant-a", "upload", "2b5c")


@pytest.fixture(autouse=True)
def _no_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A temporary directory that is not there fails whoever asks for a file in it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))


def opened(sealed: bytes) -> OpeningReader:
    return OpeningReader(io.BytesIO(sealed), KEY, OBJECT)


@pytest.mark.parametrize("name", ["gbk.csv", "typed.jsonl", "people.parquet", "people.xlsx"])
def test_a_sealed_table_reads_like_a_plain_one(name: str) -> None:
    data = (VECTORS / name).read_bytes()
    plain = list(open_table(io.BytesIO(data)).chunks())
    assert list(open_table(opened(seal(SUITE, KEY, OBJECT, data))).chunks()) == plain


@pytest.mark.parametrize("format_", [Format.CSV, Format.JSONL, Format.PARQUET])
def test_a_changed_byte_is_a_seal_error_and_not_a_bad_table(format_: Format) -> None:
    made = io.BytesIO()
    writer = chunk_writer(made, format_, ["id", "name"])
    # Incompressible enough that Parquet needs several segments too.
    names: list[str | None] = [str(pow(3, number, 2**521 - 1)) for number in range(30_000)]
    writer.write({"id": [str(number) for number in range(30_000)], "name": names})
    writer.close()
    sealed = bytearray(seal(SUITE, KEY, OBJECT, made.getvalue()))
    sealed[SEALED_SEGMENT + 1000] ^= 1
    with pytest.raises(SealError):
        for _ in open_table(opened(bytes(sealed))).chunks():
            pass


def test_a_version_is_sealed_as_it_is_written() -> None:
    sink = io.BytesIO()
    sealing = SealingWriter(sink, SUITE, KEY, OBJECT)
    writer = ParquetChunkWriter(sealing, ["age", "name"], {"age": ColumnKind.INTEGER})
    for start in range(0, 100_000, 4096):
        rows = range(start, min(start + 4096, 100_000))
        writer.write({"age": [str(row) for row in rows], "name": [f"张{row}" for row in rows]})
    writer.close()
    sealing.finish()
    assert b"PAR1" not in sink.getvalue()
    frames = list(read_version(opened(sink.getvalue())))
    assert sum(frame.height for frame in frames) == 100_000
    assert frames[-1].row(-1) == (99_999, "张99999")
