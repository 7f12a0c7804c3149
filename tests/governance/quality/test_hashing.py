"""Keyed hashes: the published vectors, and texts of every length the same way each time."""

import hashlib
import struct

import numpy as np
import polars as pl
import pytest

from governance.quality.hashing import number_hashes, siphash, subkey, text_hashes

KEY = bytes(range(16))
_MASK = (1 << 64) - 1


def reference(data: bytes, key: bytes) -> int:
    """SipHash-2-4 as its paper writes it, one word after the other."""

    def turn(x: int, bits: int) -> int:
        return ((x << bits) | (x >> (64 - bits))) & _MASK

    k0, k1 = struct.unpack("<QQ", key)
    a, b, c, d = (
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    )

    def rounds(count: int) -> None:
        nonlocal a, b, c, d
        for _ in range(count):
            a, c = (a + b) & _MASK, (c + d) & _MASK
            b, d = turn(b, 13) ^ a, turn(d, 16) ^ c
            a = turn(a, 32)
            c, a = (c + b) & _MASK, (a + d) & _MASK
            b, d = turn(b, 17) ^ c, turn(d, 21) ^ a
            c = turn(c, 32)

    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        d ^= word
        rounds(2)
        a ^= word
    c ^= 0xFF
    rounds(4)
    return int(a ^ b ^ c ^ d)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0x726FDB47DD0E0E31),  # vectors.h of the reference implementation
        (bytes(range(8)), 0x93F5F5799A932462),
        (bytes(range(15)), 0xA129CA6149BE45E5),  # the paper's appendix A
    ],
)
def test_published_vectors(data: bytes, expected: int) -> None:
    buffer = np.frombuffer(data + bytes(8), np.uint8)
    assert int(siphash(buffer, np.array([0]), np.array([len(data)]), KEY)[0]) == expected
    assert reference(data, KEY) == expected


def test_texts_of_every_length() -> None:
    texts = ["汉" * (n // 3) + "a" * (n % 3) for n in range(100)]
    hashed = text_hashes(pl.Series(texts), KEY)
    for text, found in zip(texts, hashed.tolist(), strict=True):
        data = text.encode()
        long = hashlib.blake2b(data, digest_size=8, key=KEY).digest()
        wanted = reference(data, KEY) if len(data) <= 64 else int.from_bytes(long, "little")
        assert found == wanted, len(data)


def test_a_slice_is_hashed_as_itself() -> None:
    whole = pl.Series(["one", "", "three", "four"])
    assert text_hashes(whole[1:3], KEY).tolist() == text_hashes(whole, KEY).tolist()[1:3]
    assert text_hashes(pl.Series([], dtype=pl.String), KEY).tolist() == []


def test_numbers_and_subkeys() -> None:
    numbers = np.array([0, 1, 2**64 - 1], np.uint64)
    wanted = [reference(int(n).to_bytes(8, "little"), KEY) for n in numbers]
    assert number_hashes(numbers, KEY).tolist() == wanted
    assert len({subkey(KEY, "a"), subkey(KEY, "b"), subkey(b"x", "a")}) == 3
