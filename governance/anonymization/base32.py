"""Base32 (RFC 4648 §6) of many short codes at once; the standard library loops over each."""

from collections.abc import Sequence
from typing import Final

import numpy as np

_ALPHABET: Final = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", np.uint8)
_GROUP: Final = 5  # bytes that become eight characters
_SHIFTS: Final = np.arange(35, -1, -5, dtype=np.uint64)


def base32(codes: Sequence[bytes]) -> list[str]:
    """Each code in Base32, without padding.

    Args:
        codes: of one length, a multiple of five bytes.
    """
    if not codes:
        return []
    length = len(codes[0]) // _GROUP * 8
    groups = np.frombuffer(b"".join(codes), np.uint8).reshape(-1, _GROUP).astype(np.uint64)
    numbers = groups @ (np.uint64(256) ** np.arange(_GROUP - 1, -1, -1, dtype=np.uint64))
    digits = (numbers[:, None] >> _SHIFTS) & np.uint64(31)
    text = _ALPHABET[digits].tobytes().decode("ascii")
    return [text[start : start + length] for start in range(0, len(text), length)]
