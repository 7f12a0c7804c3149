"""Sealing and opening beside raw AES-256-GCM of the same bytes, in the same process.

    ours   segments of 1 MiB, each with its own nonce, tag and identity
    raw    one AESGCM call over all the bytes: no segments, no identity, no reading from the middle

Both return a new bytes object. A B A B, one thread; a ratio is the median of pairwise ratios. The
rows below the first two stream, beside raw AES-GCM of one MiB at a time, and are not in the JSON.
"""

import io
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from typing_extensions import Buffer

from governance.envelope import SEGMENT, Identity, OpeningReader, SealingWriter, open_, seal
from governance.suites import DEFAULT_SUITE, SuiteId, suite

SIZE: Final = 64 << 20  # bytes
PAIRS: Final = 15
CHUNK: Final = 1 << 16
KEY: Final = os.urandom(32)
NONCE: Final = os.urandom(12)
RAW: Final = AESGCM(KEY)
IDENTITY: Final = Identity("tenant", "version", "object")

Rows = dict[str, tuple[float, float, float]]


class Sink(io.BytesIO):
    """Takes bytes and forgets them: what is measured is sealing, not a disk."""

    def write(self, data: Buffer, /) -> int:
        return memoryview(data).nbytes


def pairs(ours: Callable[[], object], raw: Callable[[], object]) -> tuple[float, float, float]:
    """Median of raw/ours seconds (so above 1 is faster than raw), and both medians in MiB/s."""
    ours(), raw()  # warm-up
    taken = [(_seconds(ours), _seconds(raw)) for _ in range(PAIRS)]
    ratio = statistics.median(theirs / mine for mine, theirs in taken)
    mine, theirs = (statistics.median(side) for side in zip(*taken, strict=True))
    mebibytes = SIZE / (1 << 20)
    return ratio, mebibytes / mine, mebibytes / theirs


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print the table, and the JSON object as the last line."""
    plaintext = os.urandom(SIZE)
    sealed = seal(DEFAULT_SUITE, KEY, IDENTITY, plaintext)
    rows = whole(plaintext, sealed) | streamed(plaintext, sealed)
    print(f"{SIZE >> 20} MiB, {PAIRS} pairs, one thread, segments of {SEGMENT >> 20} MiB")
    print(f"overhead: {len(sealed) - SIZE} bytes in {SIZE}")
    print(f"{'':32}{'ours MiB/s':>12}{'raw MiB/s':>12}{'ratio':>8}")
    for name, (ratio, ours, peer) in rows.items():
        print(f"{name:32}{ours:12.0f}{peer:12.0f}{ratio:8.2f}")
    national, few = suite(SuiteId.SM4_GCM), plaintext[: 8 << 20]
    slow = _seconds(lambda: seal(national, KEY[:16], IDENTITY, few))
    print(f"{'seal under ' + national.name:32}{8 / slow:12.0f}")
    print(
        json.dumps(
            {"seal_ratio": round(rows["seal"][0], 4), "open_ratio": round(rows["open"][0], 4)}
        )
    )


def whole(plaintext: bytes, sealed: bytes) -> Rows:
    """A whole object in, a whole object out."""
    raw_sealed = RAW.encrypt(NONCE, plaintext, b"")
    return {
        "seal": pairs(
            lambda: seal(DEFAULT_SUITE, KEY, IDENTITY, plaintext),
            lambda: RAW.encrypt(NONCE, plaintext, b""),
        ),
        "open": pairs(
            lambda: open_(KEY, IDENTITY, sealed), lambda: RAW.decrypt(NONCE, raw_sealed, b"")
        ),
    }


def streamed(plaintext: bytes, sealed: bytes) -> Rows:
    """Small pieces in and out, as uploads and table readers have them."""
    pieces = [plaintext[start : start + SEGMENT] for start in range(0, SIZE, SEGMENT)]
    raw_pieces = [RAW.encrypt(NONCE, piece, b"") for piece in pieces]

    def seal_in_chunks() -> None:
        writer = SealingWriter(Sink(), DEFAULT_SUITE, KEY, IDENTITY)
        for start in range(0, SIZE, CHUNK):
            writer.write(plaintext[start : start + CHUNK])
        writer.finish()

    def open_in_chunks() -> None:
        reader = OpeningReader(io.BytesIO(sealed), KEY, IDENTITY)
        while reader.read(CHUNK):
            pass

    def encrypt_pieces() -> None:
        for piece in pieces:
            RAW.encrypt(NONCE, piece, b"")

    def decrypt_pieces() -> None:
        for piece in raw_pieces:
            RAW.decrypt(NONCE, piece, b"")

    return {
        "seal a stream of 64 KiB chunks": pairs(seal_in_chunks, encrypt_pieces),
        "open a stream in 64 KiB reads": pairs(open_in_chunks, decrypt_pieces),
    }


if __name__ == "__main__":
    main()
