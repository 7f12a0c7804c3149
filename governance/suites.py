"""Cipher suites: which algorithms a sealed object, a wrapped key or a keyed hash was made with.

| id | sealing     | keyed hash, derivation | deterministic sealing (tokens)     |
|----|-------------|------------------------|------------------------------------|
| 1  | AES-256-GCM | HMAC-SHA-256           | AES-256-SIV                        |
| 2  | SM4-GCM     | HMAC-SM3               | SM4 in the SIV mode of RFC 5297    |

The id travels with everything made under a suite, so that a tenant can move from one to the other
and what was made before still opens. Sources: NIST SP 800-38D (GCM), RFC 8998 (SM4-GCM), FIPS 198-1
and GM/T 0042-2015 (HMAC, with SM3), RFC 5869 (HKDF-Expand), RFC 5297 (SIV).
"""

import hmac as stdlib_hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import cmac, constant_time, hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from governance.errors import SealError, SuiteError

Octets = bytes | bytearray | memoryview

NONCE_LENGTH: Final = 12
TAG_LENGTH: Final = 16
HASH_LENGTH: Final = 32  # of SHA-256 and of SM3, and of every key that is hashed with

_BLOCK: Final = 16
_HALF_MASK: Final = bytes.fromhex("ffffffffffffffff7fffffff7fffffff")


class SuiteId(IntEnum):
    """What stands in headers and rows. Numbers are never reused."""

    AES_256_GCM = 1
    SM4_GCM = 2


class Aead(Protocol):
    """Authenticated encryption under one key: nonces of 12 bytes, a tag of 16 at the end."""

    def encrypt_into(
        self, nonce: Octets, data: Octets, associated_data: Octets | None, buf: Octets
    ) -> int:
        """Write ciphertext and tag into `buf`, which is exactly 16 bytes longer than `data`."""

    def decrypt_into(
        self, nonce: Octets, data: Octets, associated_data: Octets | None, buf: Octets
    ) -> int:
        """Write the plaintext into `buf`, which is exactly 16 bytes shorter than `data`.

        Raises:
            InvalidTag: the data is not authentic. `buf` may then hold unverified plaintext, which
                the caller must wipe.
        """


class Deterministic(Protocol):
    """Deterministic authenticated encryption under one key: equal inputs give equal outputs."""

    def encrypt(self, data: Octets, associated_data: Sequence[Octets] | None) -> bytes:
        """Return the synthetic IV and the ciphertext; `data` is not empty."""

    def decrypt(self, data: Octets, associated_data: Sequence[Octets] | None) -> bytes:
        """Return the plaintext.

        Raises:
            InvalidTag: the data is not authentic.
        """


@dataclass(frozen=True, slots=True)
class Suite:
    """One row of the table above. Lengths are in bytes."""

    id: SuiteId
    slug: str  # in rows and facts
    name: str
    key_length: int
    token_key_length: int
    _aead: Callable[[bytes], Aead]
    _siv: Callable[[bytes], Deterministic]
    _hash: hashes.HashAlgorithm
    _mac: Callable[[bytes, bytes], bytes]

    def aead(self, key: bytes) -> Aead:
        """The suite's authenticated encryption under `key`.

        Raises:
            SuiteError: the key is not `key_length` bytes long.
        """
        self._check_length(key, self.key_length)
        return self._aead(key)

    def deterministic(self, key: bytes) -> Deterministic:
        """The suite's deterministic authenticated encryption under `key`.

        Raises:
            SuiteError: the key is not `token_key_length` bytes long.
        """
        self._check_length(key, self.token_key_length)
        return self._siv(key)

    def keyed_hash(self, key: bytes, data: bytes) -> bytes:
        """HMAC of `data`, 32 bytes. Compare two of them with `hmac.compare_digest`."""
        return self._mac(key, data)

    def derive(self, key: bytes, info: bytes, length: int) -> bytes:
        """HKDF-Expand (RFC 5869 §2.3): `length` bytes that stand for `key` in the use named `info`.

        `key` is uniformly random already, so the extract step is left out, as §3.3 allows.
        """
        return HKDFExpand(algorithm=self._hash, length=length, info=info).derive(key)

    @staticmethod
    def _check_length(key: bytes, expected: int) -> None:
        if len(key) != expected:
            raise SuiteError(f"the key must be {expected} bytes long", code="crypto.key_length")


def joined(*parts: str) -> bytes:
    """Each part behind its length: no two lists of parts have the same bytes."""
    encoded = (part.encode() for part in parts)
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def seal_with(aead: Aead, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """Ciphertext and tag of one short message."""
    out = bytearray(len(plaintext) + TAG_LENGTH)
    aead.encrypt_into(nonce, plaintext, associated_data, out)
    return bytes(out)


def open_with(aead: Aead, nonce: bytes, sealed: bytes, associated_data: bytes) -> bytes:
    """The plaintext of what `seal_with` made.

    Raises:
        SealError: whatever is wrong.
    """
    if len(sealed) < TAG_LENGTH:
        raise SealError
    out = bytearray(len(sealed) - TAG_LENGTH)
    try:
        aead.decrypt_into(nonce, sealed, associated_data, out)
    except InvalidTag:
        raise SealError from None
    return bytes(out)


def suite(suite_id: int) -> Suite:
    """The suite with this id.

    Raises:
        SuiteError: there is none.
    """
    try:
        return _SUITES[SuiteId(suite_id)]
    except ValueError:
        raise SuiteError(f"there is no suite {suite_id}") from None


def suite_named(slug: str) -> Suite:
    """The suite that rows and facts call `slug`.

    Raises:
        SuiteError: there is none.
    """
    for known in _SUITES.values():
        if known.slug == slug:
            return known
    raise SuiteError("there is no suite of this name")


class _Sm4Gcm:
    """SM4-GCM in the shape of `AESGCM`, which `cryptography` offers for AES alone."""

    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.SM4(key)

    def encrypt_into(
        self, nonce: Octets, data: Octets, associated_data: Octets | None, buf: Octets
    ) -> int:
        encryptor = Cipher(self._algorithm, modes.GCM(bytes(nonce))).encryptor()
        encryptor.authenticate_additional_data(associated_data or b"")
        out = memoryview(buf)
        written = encryptor.update_into(data, out[:-TAG_LENGTH])
        encryptor.finalize()
        out[-TAG_LENGTH:] = encryptor.tag
        return written + TAG_LENGTH

    def decrypt_into(
        self, nonce: Octets, data: Octets, associated_data: Octets | None, buf: Octets
    ) -> int:
        sealed = memoryview(data)
        decryptor = Cipher(self._algorithm, modes.GCM(bytes(nonce))).decryptor()
        decryptor.authenticate_additional_data(associated_data or b"")
        written = decryptor.update_into(sealed[:-TAG_LENGTH], buf)
        decryptor.finalize_with_tag(bytes(sealed[-TAG_LENGTH:]))
        return written


class _CmacSiv:
    """The SIV mode of RFC 5297 over any 128-bit block cipher. With AES it agrees with `AESSIV`."""

    def __init__(
        self, block: Callable[[bytes], algorithms.SM4 | algorithms.AES], key: bytes
    ) -> None:
        half = len(key) // 2
        self._mac_cipher = block(key[:half])
        self._data_cipher = block(key[half:])

    def encrypt(self, data: Octets, associated_data: Sequence[Octets] | None) -> bytes:
        plaintext = bytes(data)
        synthetic = self._s2v(plaintext, associated_data or ())
        return synthetic + self._counter_mode(synthetic, plaintext)

    def decrypt(self, data: Octets, associated_data: Sequence[Octets] | None) -> bytes:
        sealed = bytes(data)
        synthetic, ciphertext = sealed[:_BLOCK], sealed[_BLOCK:]
        plaintext = self._counter_mode(synthetic, ciphertext)
        if not constant_time.bytes_eq(synthetic, self._s2v(plaintext, associated_data or ())):
            raise InvalidTag
        return plaintext

    def _counter_mode(self, synthetic: bytes, data: bytes) -> bytes:
        # RFC 5297 §2.5 clears two bits of the counter so that 32-bit adders never carry over.
        counter = _and(synthetic, _HALF_MASK)
        return Cipher(self._data_cipher, modes.CTR(counter)).encryptor().update(data)

    def _s2v(self, plaintext: bytes, associated_data: Sequence[Octets]) -> bytes:
        """RFC 5297 §2.4."""
        mixed = self._cmac(bytes(_BLOCK))
        for component in associated_data:
            mixed = _xor(_double(mixed), self._cmac(bytes(component)))
        if len(plaintext) >= _BLOCK:
            tail = _xor(plaintext[-_BLOCK:], mixed)
            return self._cmac(plaintext[:-_BLOCK] + tail)
        padded = plaintext + b"\x80" + bytes(_BLOCK - 1 - len(plaintext))
        return self._cmac(_xor(_double(mixed), padded))

    def _cmac(self, data: bytes) -> bytes:
        mac = cmac.CMAC(self._mac_cipher)
        mac.update(data)
        return mac.finalize()


def _double(block: bytes) -> bytes:
    """Multiply by x in GF(2^128), RFC 5297 §2.3."""
    number = int.from_bytes(block, "big") << 1
    if number >> 128:
        number ^= (1 << 128) | 0x87
    return number.to_bytes(_BLOCK, "big")


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(_BLOCK, "big")


def _and(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") & int.from_bytes(right, "big")).to_bytes(_BLOCK, "big")


def _hmac_sha256(key: bytes, data: bytes) -> bytes:
    return stdlib_hmac.digest(key, data, "sha256")


def _hmac_sm3(key: bytes, data: bytes) -> bytes:
    # Not every Python's hashlib is built with SM3; cryptography's own OpenSSL always is.
    mac = hmac.HMAC(key, hashes.SM3())
    mac.update(data)
    return mac.finalize()


def _sm4_siv(key: bytes) -> Deterministic:
    return _CmacSiv(algorithms.SM4, key)


_SUITES: Final = {
    SuiteId.AES_256_GCM: Suite(
        id=SuiteId.AES_256_GCM,
        slug="aes-gcm",
        name="AES-256-GCM/HMAC-SHA-256",
        key_length=32,
        token_key_length=64,
        _aead=AESGCM,
        _siv=AESSIV,
        _hash=hashes.SHA256(),
        _mac=_hmac_sha256,
    ),
    SuiteId.SM4_GCM: Suite(
        id=SuiteId.SM4_GCM,
        slug="sm4-gcm",
        name="SM4-GCM/HMAC-SM3",
        key_length=16,
        token_key_length=32,
        _aead=_Sm4Gcm,
        _siv=_sm4_siv,
        _hash=hashes.SM3(),
        _mac=_hmac_sm3,
    ),
}
DEFAULT_SUITE: Final = _SUITES[SuiteId.AES_256_GCM]
