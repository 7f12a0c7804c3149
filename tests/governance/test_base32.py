"""Base32 of many codes is that of the standard library of each."""

import random
from base64 import b32encode

from governance.anonymization.base32 import base32


def test_the_same_as_one_by_one() -> None:
    rng = random.Random(1)
    for length in (5, 15, 20):
        codes = [rng.randbytes(length) for _ in range(200)]
        codes += [bytes(length), b"\xff" * length]
        assert base32(codes) == [b32encode(code).decode() for code in codes]
    assert base32([]) == []
