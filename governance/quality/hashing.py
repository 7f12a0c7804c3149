"""Keyed 64-bit hashes of many texts at once.

A sketch keeps hashes in the place of values, so they must tell nothing to whoever lacks the key:
a plain hash of a category or a telephone number is found by trying them all. Texts of up to 64
bytes are hashed with SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012),
computed on whole arrays; longer ones with keyed BLAKE2b (RFC 7693). Both stay the same for ever, as
a library's own table hash does not, and versions sealed years apart are compared by them.
"""

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]

KEY_BYTES: Final = 16
_WORD: Final = 8
_LONGEST: Final = 64  # bytes that the array form takes; beyond, a call a text is no slower
_BLOCK: Final = 8192  # texts at a time: their state stays in the processor's cache
_START: Final = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def subkey(key: bytes, domain: str) -> bytes:
    """A key of 16 bytes for one use of `key`, unrelated to those for other uses."""
    return hashlib.blake2b(domain.encode(), digest_size=KEY_BYTES, key=key[:64]).digest()


def text_hashes(texts: pl.Series, key: bytes) -> Hashes:
    """One hash a text, in their order.

    Args:
        texts: strings without nulls.
        key: 16 bytes.
    """
    if texts.is_empty():
        return np.empty(0, np.uint64)
    array = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(bytes(offsets or b""), np.int64)
    bounds = bounds[array.offset : array.offset + len(array) + 1]
    whole = bytes(data or b"") + bytes(_WORD)
    buffer = np.frombuffer(whole, np.uint8)
    starts, lengths = bounds[:-1], np.diff(bounds)
    hashes = np.empty(len(texts), np.uint64)
    for words in range(_LONGEST // _WORD + 1):
        chosen = np.flatnonzero((lengths // _WORD == words) & (lengths <= _LONGEST))
        for first in range(0, len(chosen), _BLOCK):
            block = chosen[first : first + _BLOCK]
            hashes[block] = siphash(buffer, starts[block], lengths[block], key)
    long = np.flatnonzero(lengths > _LONGEST)
    if len(long):
        keyed = hashlib.blake2b(digest_size=_WORD, key=key)
        digests = bytearray()
        for start, end in zip(bounds[long].tolist(), bounds[long + 1].tolist(), strict=True):
            one = keyed.copy()
            one.update(whole[start:end])
            digests += one.digest()
        hashes[long] = np.frombuffer(digests, "<u8")
    return hashes


def number_hashes(numbers: Hashes, key: bytes) -> Hashes:
    """One hash a number of eight bytes, in their order."""
    buffer = np.concatenate([numbers.astype("<u8"), np.zeros(1, "<u8")]).view(np.uint8)
    starts = np.arange(len(numbers)) * _WORD
    lengths = np.full(len(numbers), _WORD)
    hashes = np.empty(len(numbers), np.uint64)
    for first in range(0, len(numbers), _BLOCK):
        block = slice(first, first + _BLOCK)
        hashes[block] = siphash(buffer, starts[block], lengths[block], key)
    return hashes


def siphash(
    buffer: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    key: bytes,
) -> Hashes:
    """SipHash-2-4 of `buffer[start : start + length]` for every pair.

    Args:
        buffer: bytes, with at least eight after the last text.
        starts: where each text begins.
        lengths: how long it is; all in the same number of whole eight-byte words.
        key: 16 bytes.
    """
    words = int(lengths[0]) // _WORD
    # Every eight bytes of the buffer as a number, at any offset.
    at = np.ndarray((len(buffer) - _WORD + 1,), "<u8", buffer, strides=(1,))
    halves = np.frombuffer(key, "<u8")
    state = [
        np.full(len(starts), constant ^ int(halves[i % 2]), np.uint64)
        for i, constant in enumerate(_START)
    ]
    for word in range(words):
        _compress(state, at[starts + word * _WORD])
    rest = (lengths % _WORD).astype(np.uint64)
    tail = at[starts + words * _WORD] & ((np.uint64(1) << (rest * np.uint64(8))) - np.uint64(1))
    tail |= lengths.astype(np.uint64) << np.uint64(56)
    _compress(state, tail)
    state[2] ^= np.uint64(0xFF)
    for _ in range(4):
        _round(state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _compress(state: list[Hashes], word: Hashes) -> None:
    state[3] ^= word
    _round(state)
    _round(state)
    state[0] ^= word


def _round(state: list[Hashes]) -> None:
    """One SipRound, in place."""
    a, b, c, d = state
    a += b
    _turn(b, 13)
    b ^= a
    _turn(a, 32)
    c += d
    _turn(d, 16)
    d ^= c
    a += d
    _turn(d, 21)
    d ^= a
    c += b
    _turn(b, 17)
    b ^= c
    _turn(c, 32)


def _turn(words: Hashes, bits: int) -> None:
    """Rotate every word to the left."""
    fallen = words >> np.uint64(64 - bits)
    words <<= np.uint64(bits)
    words |= fallen
