"""The STREAM construction: layout, every manipulation, and the reader as a file."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from governance import envelope
from governance.envelope import (
    HEADER_LENGTH,
    SEALED_SEGMENT,
    SEGMENT,
    Identity,
    OpeningReader,
    SealingWriter,
    open_,
    seal,
    sealed_size,
)
from governance.errors import SealError, SuiteError
from governance.suites import TAG_LENGTH, SuiteId, seal_with, suite

SUITE = suite(SuiteId.AES_256_GCM)
KEY = bytes(range(32))
OBJECT = Identity("tenant-a", "upload", "2b5c")
SIZES = [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 2 * SEGMENT + 17]
LONG = os.urandom(3 * SEGMENT + 1234)
SEALED = seal(SUITE, KEY, OBJECT, LONG)


def segment(number: int) -> bytes:
    start = HEADER_LENGTH + number * SEALED_SEGMENT
    return SEALED[start : start + SEALED_SEGMENT]


@pytest.mark.parametrize("suite_id", SuiteId)
def test_segments_are_gcm_messages_under_the_declared_nonces(
    suite_id: SuiteId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The format, rebuilt by hand from the published primitive."""
    monkeypatch.setattr(os, "urandom", lambda length: b"\xa5" * length)
    chosen = suite(suite_id)
    key = bytes(range(chosen.key_length))
    plaintext = b"x" * SEGMENT + b"tail"
    sealed = seal(chosen, key, OBJECT, plaintext)
    header = b"PTCS" + bytes([1, suite_id]) + b"\xa5" * 7
    associated = header + (b"\0\0\0\x08tenant-a" + b"\0\0\0\x06upload" + b"\0\0\0\x042b5c")
    aead = chosen.aead(key)
    first = seal_with(aead, b"\xa5" * 7 + b"\0\0\0\0" + b"\0", plaintext[:SEGMENT], associated)
    last = seal_with(aead, b"\xa5" * 7 + b"\0\0\0\1" + b"\1", b"tail", associated)
    assert sealed == header + first + last


def test_a_golden_object_still_opens() -> None:
    """Bytes sealed by this format's first version; it must open for ever."""
    sealed = bytes.fromhex(GOLDEN)
    assert open_(KEY, OBJECT, sealed) == b"sealed at version 1"


GOLDEN = (
    "505443530101f4377178e3b6645d0b6f7616cd47ad7c1fd16c76ab5ce101ff5d"
    "83294a16165024c133b28fa2dd923c97"
)


@pytest.mark.parametrize("suite_id", SuiteId)
@pytest.mark.parametrize("size", SIZES)
def test_what_is_sealed_opens(suite_id: SuiteId, size: int) -> None:
    chosen = suite(suite_id)
    key = os.urandom(chosen.key_length)
    plaintext = LONG[:size]
    sealed = seal(chosen, key, OBJECT, plaintext)
    assert len(sealed) == sealed_size(size)
    assert open_(key, OBJECT, sealed) == plaintext


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunk", [4093, SEGMENT, SEGMENT + 1, 5 * SEGMENT])
def test_the_writer_makes_the_same_segments_whatever_the_chunks(size: int, chunk: int) -> None:
    sink = io.BytesIO()
    writer = SealingWriter(sink, SUITE, KEY, OBJECT)
    for start in range(0, size, chunk):
        piece = LONG[start : min(size, start + chunk)]
        assert writer.write(piece) == len(piece)
    writer.finish()
    writer.finish()  # a second time changes nothing
    assert writer.size == size
    assert len(sink.getvalue()) == sealed_size(size)
    assert open_(KEY, OBJECT, sink.getvalue()) == LONG[:size]
    with pytest.raises(ValueError, match="finished"):
        writer.write(b"more")


def test_the_writer_holds_back_one_segment_at_most() -> None:
    sink = io.BytesIO()
    writer = SealingWriter(sink, SUITE, KEY, OBJECT)
    for start in range(0, len(LONG), 65536):
        writer.write(LONG[start : start + 65536])
        given = (len(sink.getvalue()) - HEADER_LENGTH) // SEALED_SEGMENT * SEGMENT
        assert writer.size - given <= SEGMENT


def test_an_unfinished_object_does_not_open() -> None:
    for size in (0, 10, SEGMENT, SEGMENT + 1, 3 * SEGMENT):
        sink = io.BytesIO()
        writer = SealingWriter(sink, SUITE, KEY, OBJECT)
        writer.write(LONG[:size])
        writer.discard()
        with pytest.raises(SealError):
            open_(KEY, OBJECT, sink.getvalue())


def test_two_objects_of_one_plaintext_share_nothing() -> None:
    first, second = (seal(SUITE, KEY, OBJECT, LONG[:5000]) for _ in range(2))
    assert first[6:] != second[6:]


MANIPULATIONS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "header alone": lambda: SEALED[:HEADER_LENGTH],
    "header and tag's worth": lambda: SEALED[: HEADER_LENGTH + TAG_LENGTH],
    "last byte gone": lambda: SEALED[:-1],
    "last segment gone": lambda: SEALED[: HEADER_LENGTH + 3 * SEALED_SEGMENT],
    "last segment a bare tag": lambda: SEALED[: HEADER_LENGTH + 3 * SEALED_SEGMENT + 16],
    "two segments gone": lambda: SEALED[: HEADER_LENGTH + 2 * SEALED_SEGMENT],
    "first segment gone": lambda: SEALED[:HEADER_LENGTH] + SEALED[HEADER_LENGTH + SEALED_SEGMENT :],
    "middle segment gone": lambda: SEALED[:HEADER_LENGTH] + segment(0) + segment(2) + segment(3),
    "first two in the other order": lambda: (
        SEALED[:HEADER_LENGTH] + segment(1) + segment(0) + segment(2) + segment(3)
    ),
    "a segment twice": lambda: (
        SEALED[:HEADER_LENGTH] + segment(0) + segment(0) + segment(2) + segment(3)
    ),
    "last segment first": lambda: (
        SEALED[:HEADER_LENGTH] + segment(3) + segment(0) + segment(1) + segment(2)
    ),
    "last segment twice": lambda: SEALED + segment(3),
    "a byte more": lambda: SEALED + b"\0",
    "a tag's worth more": lambda: SEALED + bytes(16),
    "a segment of zeros more": lambda: SEALED + bytes(SEALED_SEGMENT),
    "another object behind": lambda: SEALED + seal(SUITE, KEY, OBJECT, b"more"),
    "another magic": lambda: b"PTCX" + SEALED[4:],
    "another version": lambda: SEALED[:4] + b"\x02" + SEALED[5:],
    "another suite": lambda: SEALED[:5] + b"\x02" + SEALED[6:],
    "an unknown suite": lambda: SEALED[:5] + b"\x09" + SEALED[6:],
    "another nonce prefix": lambda: SEALED[:6] + bytes(7) + SEALED[13:],
    "the last segment of another sealing": lambda: (
        SEALED[:-1250] + seal(SUITE, KEY, OBJECT, LONG)[-1250:]
    ),
    "a segment of another object": lambda: (
        SEALED[:HEADER_LENGTH]
        + seal(SUITE, KEY, Identity("tenant-a", "upload", "9999"), LONG)[
            HEADER_LENGTH : HEADER_LENGTH + SEALED_SEGMENT
        ]
        + SEALED[HEADER_LENGTH + SEALED_SEGMENT :]
    ),
}


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_a_manipulated_object_fails_in_one_way(name: str) -> None:
    with pytest.raises(SealError) as caught:
        open_(KEY, OBJECT, MANIPULATIONS[name]())
    assert caught.value.as_dict() == {
        "code": "crypto.open_failed",
        "detail": "the sealed data does not open",
    }
    assert caught.value.kind == "failed"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("key", "identity"),
    [
        (bytes(32), OBJECT),
        (KEY[:16], OBJECT),
        (b"", OBJECT),
        (KEY, Identity("tenant-b", "upload", "2b5c")),
        (KEY, Identity("tenant-a", "artifact", "2b5c")),
        (KEY, Identity("tenant-a", "upload", "2b5d")),
        (KEY, Identity("tenant-aupload", "", "2b5c")),
    ],
)
def test_another_key_or_identity_fails_in_the_same_way(key: bytes, identity: Identity) -> None:
    with pytest.raises(SealError):
        open_(key, identity, SEALED)


def test_every_flipped_bit_of_a_small_object_fails() -> None:
    sealed = seal(SUITE, KEY, OBJECT, b"short")
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealError):
            open_(KEY, OBJECT, bytes(changed))


def test_every_truncation_of_a_small_object_fails() -> None:
    sealed = seal(SUITE, KEY, OBJECT, b"short and cut anywhere")
    for length in range(len(sealed)):
        with pytest.raises(SealError):
            open_(KEY, OBJECT, sealed[:length])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(SEALED) * 8 - 1))
def test_any_flipped_bit_of_a_long_object_fails(bit: int) -> None:
    changed = bytearray(SEALED)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealError):
        open_(KEY, OBJECT, bytes(changed))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(SEALED) - 1))
def test_any_truncation_of_a_long_object_fails_at_the_start(length: int) -> None:
    """Before a single byte is given out."""
    with pytest.raises(SealError):
        OpeningReader(io.BytesIO(SEALED[:length]), KEY, OBJECT)


def test_a_failing_segment_gives_nothing_out() -> None:
    changed = bytearray(SEALED)
    changed[HEADER_LENGTH + SEALED_SEGMENT + 100] ^= 1
    with OpeningReader(io.BytesIO(bytes(changed)), KEY, OBJECT) as reader:
        assert reader.read(SEGMENT) == LONG[:SEGMENT]  # the first segment is whole
        whole = bytearray(b"\xee" * SEGMENT)
        with pytest.raises(SealError):
            reader.readinto(whole)
        assert bytes(whole) == bytes(SEGMENT)  # wiped: OpenSSL had already decrypted into it
        part = bytearray(b"\xee" * 50)
        with pytest.raises(SealError):
            reader.readinto(part)
        assert bytes(part) == b"\xee" * 50
        reader.seek(2 * SEGMENT)
        assert reader.read(10) == LONG[2 * SEGMENT : 2 * SEGMENT + 10]  # and so is the third


def test_a_source_that_shrinks_while_it_is_read_fails(tmp_path: Path) -> None:
    path = tmp_path / "object"
    path.write_bytes(SEALED)
    with OpeningReader(path.open("rb"), KEY, OBJECT) as reader:
        os.truncate(path, HEADER_LENGTH + SEALED_SEGMENT + 5)
        with pytest.raises(SealError):
            reader.readall()


def test_the_source_is_closed_with_the_reader_and_after_a_failure() -> None:
    good, bad = io.BytesIO(SEALED), io.BytesIO(SEALED[:-1])
    OpeningReader(good, KEY, OBJECT).close()
    with pytest.raises(SealError):
        OpeningReader(bad, KEY, OBJECT)
    assert good.closed
    assert bad.closed


def test_a_closed_reader_refuses() -> None:
    reader = OpeningReader(io.BytesIO(SEALED), KEY, OBJECT)
    reader.close()
    reader.close()
    for call in (reader.tell, reader.readall, lambda: reader.seek(0), lambda: reader.read(1)):
        with pytest.raises(ValueError, match="closed"):
            call()


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 2 * SEGMENT + 5)),
        st.tuples(st.just("set"), st.integers(0, len(LONG) + 10)),
        st.tuples(st.just("current"), st.integers(-SEGMENT, SEGMENT)),
        st.tuples(st.just("end"), st.integers(-len(LONG), 10)),
    ),
    max_size=12,
)


@settings(max_examples=80, deadline=None)
@given(OPERATIONS, st.sampled_from([*SIZES, len(LONG)]))
@example([("set", SEGMENT - 1), ("read", 2), ("read", -1), ("read", 1)], len(LONG))
def test_the_reader_behaves_as_a_file_of_the_plaintext(
    operations: list[tuple[str, int]], size: int
) -> None:
    plain = io.BytesIO(LONG[:size])
    whence = {"set": os.SEEK_SET, "current": os.SEEK_CUR, "end": os.SEEK_END}
    with OpeningReader(io.BytesIO(seal(SUITE, KEY, OBJECT, LONG[:size])), KEY, OBJECT) as reader:
        assert reader.size == size
        for name, number in operations:
            if name == "read":
                assert reader.read(number) == plain.read(number)
            elif name != "set" and _target(name, number, plain, size) < 0:
                with pytest.raises(ValueError, match="before the start"):
                    reader.seek(number, whence[name])
            else:
                assert reader.seek(number, whence[name]) == plain.seek(number, whence[name])
            assert reader.tell() == plain.tell()


def _target(name: str, number: int, plain: io.BytesIO, size: int) -> int:
    return number + (size if name == "end" else plain.tell())


def test_a_strange_whence_is_refused() -> None:
    with (
        OpeningReader(io.BytesIO(SEALED), KEY, OBJECT) as reader,
        pytest.raises(ValueError, match="whence"),
    ):
        reader.seek(0, 7)


def test_a_buffered_text_reader_reads_lines() -> None:
    lines = [f"row {number},值{number}\n" for number in range(200_000)]
    sealed = seal(SUITE, KEY, OBJECT, "".join(lines).encode())
    assert len(sealed) > 2 * SEGMENT
    reader = OpeningReader(io.BytesIO(sealed), KEY, OBJECT)
    with io.TextIOWrapper(io.BufferedReader(reader), encoding="utf-8") as text:
        assert list(text) == lines


def test_parquet_is_read_through_it() -> None:
    table = pa.table(
        {f"column{c}": [f"{c}-{r}-{r * 7919 % 104729}" for r in range(60_000)] for c in range(5)}
    )
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=7000, compression="none", use_dictionary=False)
    sealed = seal(SUITE, KEY, OBJECT, file.getvalue())
    assert len(sealed) > 3 * SEGMENT
    with OpeningReader(io.BytesIO(sealed), KEY, OBJECT) as reader:
        parquet = pq.ParquetFile(cast("BinaryIO", reader))
        assert parquet.read_row_group(3, ["column2"]).column(0).to_pylist() == (
            table.column("column2").slice(21_000, 7000).to_pylist()
        )
        assert parquet.read().equals(table)


def test_a_manipulated_parquet_file_fails_as_itself() -> None:
    """Our exception comes through pyarrow, which does not turn it into a message about offsets."""
    file = io.BytesIO()
    pq.write_table(pa.table({"a": list(range(400_000))}), file, compression="none")
    changed = bytearray(seal(SUITE, KEY, OBJECT, file.getvalue()))
    assert len(changed) > SEALED_SEGMENT + HEADER_LENGTH
    changed[HEADER_LENGTH + 50] ^= 1
    with (
        OpeningReader(io.BytesIO(bytes(changed)), KEY, OBJECT) as reader,
        pytest.raises(SealError),
    ):
        pq.ParquetFile(cast("BinaryIO", reader)).read()


def test_a_workbook_is_read_through_it() -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("people")
    rows = [[f"name{r}", r, f"{r * 7919 % 104729:06d}"] for r in range(3000)]
    for row in rows:
        sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    padded = io.BytesIO()
    with (
        zipfile.ZipFile(file) as source,
        zipfile.ZipFile(padded, "w", zipfile.ZIP_STORED) as target,
    ):  # stored and padded, so that the members lie in different segments
        target.writestr("padding.bin", os.urandom(2 * SEGMENT))
        for name in source.namelist():
            target.writestr(name, source.read(name))
    sealed = seal(SUITE, KEY, OBJECT, padded.getvalue())
    with OpeningReader(io.BytesIO(sealed), KEY, OBJECT) as reader:
        with zipfile.ZipFile(reader) as archive:
            assert archive.testzip() is None
        opened = openpyxl.load_workbook(reader, read_only=True)
        assert [list(row) for row in opened["people"].iter_rows(values_only=True)] == rows
        opened.close()


def test_a_counter_never_comes_round() -> None:
    writer = SealingWriter(io.BytesIO(), SUITE, KEY, OBJECT)
    writer._number = envelope.LARGEST_NUMBER + 1
    with pytest.raises(OverflowError):
        writer.finish()


def test_a_key_of_another_length_is_refused_when_sealing() -> None:
    with pytest.raises(SuiteError):
        seal(SUITE, KEY[:16], OBJECT, b"x")
    sink = io.BytesIO()
    with pytest.raises(SuiteError):
        SealingWriter(sink, SUITE, KEY[:16], OBJECT)
    assert sink.getvalue() == b""
