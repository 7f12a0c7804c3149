"""Published vectors of every primitive, and what a suite refuses."""

import os
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given
from hypothesis import strategies as st

from governance import suites
from governance.errors import SealError, SuiteError
from governance.suites import SuiteId, suite

AES = SuiteId.AES_256_GCM
SM4 = SuiteId.SM4_GCM

# McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13 to 16; RFC 8998 A.1.
GCM_VECTORS = {
    "aes-256 case 13": (AES, "00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    "aes-256 case 14": (
        AES,
        "00" * 32,
        "00" * 12,
        "",
        "00" * 16,
        "cea7403d4d606b6e074ec5d3baf39d18",
        "d0d1c8a799996bf0265b98b5d48ab919",
    ),
    "aes-256 case 16": (
        AES,
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        (
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        ),
        (
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        ),
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
    "sm4 RFC 8998 A.1": (
        SM4,
        "0123456789abcdeffedcba9876543210",
        "00001234567800000000abcd",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        "aa" * 8 + "bb" * 8 + "cc" * 8 + "dd" * 8 + "ee" * 8 + "ff" * 8 + "ee" * 8 + "aa" * 8,
        (
            "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
            "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
        ),
        "83de3541e4c2b58177e065a9bf7b62ec",
    ),
}

# RFC 4231 cases 1, 2 and 6; GM/T 0042-2015 appendix D.3.
HMAC_VECTORS = [
    (
        AES,
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        AES,
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        AES,
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        SM4,
        bytes(range(1, 33)),
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq" * 2,
        "ca05e144ed05d1857840d1f318a4a8669e559fc8391f414485bfdf7bb408963a",
    ),
    (
        SM4,
        bytes(range(1, 38)),
        b"\xcd" * 50,
        "220bf579ded555393f0159f66c99877822a3ecf610d1552154b41d44b94db3ae",
    ),
    (
        SM4,
        b"Jefe",
        b"what do ya want for nothing?",
        "2e87f1d16862e6d964b50a5200bf2b10b764faa9680a296a2405f24bec39f882",
    ),
]


@pytest.mark.parametrize("name", GCM_VECTORS)
def test_gcm_gives_the_published_ciphertext_and_opens_it(name: str) -> None:
    suite_id, *texts = GCM_VECTORS[name]
    key, nonce, associated, plaintext, ciphertext, tag = map(bytes.fromhex, texts)
    aead = suite(suite_id).aead(key)
    sealed = suites.seal_with(aead, nonce, plaintext, associated)
    assert sealed == ciphertext + tag
    assert suites.open_with(aead, nonce, sealed, associated) == plaintext


@pytest.mark.parametrize("suite_id", SuiteId)
def test_gcm_refuses_every_flipped_bit_and_every_length(suite_id: SuiteId) -> None:
    chosen = suite(suite_id)
    aead = chosen.aead(os.urandom(chosen.key_length))
    sealed = suites.seal_with(aead, bytes(12), b"nine byte", b"identity")
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealError):
            suites.open_with(aead, bytes(12), bytes(changed), b"identity")
    for length in range(len(sealed)):
        with pytest.raises(SealError):
            suites.open_with(aead, bytes(12), sealed[:length], b"identity")
    for nonce, associated in ((b"\1" * 12, b"identity"), (bytes(12), b"another")):
        with pytest.raises(SealError):
            suites.open_with(aead, nonce, sealed, associated)


@pytest.mark.parametrize(("suite_id", "key", "data", "expected"), HMAC_VECTORS)
def test_keyed_hash_gives_the_published_mac(
    suite_id: SuiteId, key: bytes, data: bytes, expected: str
) -> None:
    assert suite(suite_id).keyed_hash(key, data).hex() == expected


def test_sm3_gives_the_published_digest() -> None:
    """GM/T 0004-2012 appendix A, example 1."""
    digest = hashes.Hash(hashes.SM3())
    digest.update(b"abc")
    assert (
        digest.finalize().hex()
        == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    )


def test_derivation_is_hkdf_expand() -> None:
    """RFC 5869 A.1: the expand step from its pseudorandom key."""
    key = bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
    expected = (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    info = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")
    assert suite(AES).derive(key, info, 42).hex() == expected
    assert suite(SM4).derive(key, info, 42).hex() != expected


# RFC 5297 A.1 and A.2 (AES-128 halves).
SIV_VECTORS: list[Any] = [
    (
        "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        ["101112131415161718191a1b1c1d1e1f2021222324252627"],
        "112233445566778899aabbccddee",
        "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c",
    ),
    (
        "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f",
        [
            "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
            "102030405060708090a0",
            "09f911029d74e35bd84156c5635688c0",
        ],
        "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
        "7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d",
    ),
]


@pytest.mark.parametrize(("key", "associated", "plaintext", "expected"), SIV_VECTORS)
def test_our_siv_mode_gives_the_published_vectors_with_aes(
    key: str, associated: list[str], plaintext: str, expected: str
) -> None:
    """The mode that serves SM4, for which no vector is published, is the RFC's."""
    mode = suites._CmacSiv(algorithms.AES, bytes.fromhex(key))
    parts = [bytes.fromhex(part) for part in associated]
    assert mode.encrypt(bytes.fromhex(plaintext), parts).hex() == expected
    assert mode.decrypt(bytes.fromhex(expected), parts).hex() == plaintext


@given(st.binary(min_size=1, max_size=70), st.lists(st.binary(max_size=40), max_size=4))
def test_our_siv_mode_agrees_with_the_library(plaintext: bytes, parts: list[bytes]) -> None:
    key = bytes(range(64))
    ours = suites._CmacSiv(algorithms.AES, key)
    assert ours.encrypt(plaintext, parts) == AESSIV(key).encrypt(plaintext, parts)


@pytest.mark.parametrize("suite_id", SuiteId)
def test_siv_is_deterministic_and_authenticates(suite_id: SuiteId) -> None:
    chosen = suite(suite_id)
    siv = chosen.deterministic(bytes(range(chosen.token_key_length)))
    sealed = siv.encrypt(b"a value", [b"tenant", b"CN_ID"])
    assert sealed == siv.encrypt(b"a value", [b"tenant", b"CN_ID"])
    assert siv.decrypt(sealed, [b"tenant", b"CN_ID"]) == b"a value"
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidTag):
            siv.decrypt(bytes(changed), [b"tenant", b"CN_ID"])
    with pytest.raises(InvalidTag):
        siv.decrypt(sealed, [b"tenantCN", b"_ID"])


@pytest.mark.parametrize("suite_id", SuiteId)
@pytest.mark.parametrize("length", [0, 15, 24, 31, 33, 65])
def test_a_key_of_another_length_is_refused(suite_id: SuiteId, length: int) -> None:
    chosen = suite(suite_id)
    with pytest.raises(SuiteError) as caught:
        chosen.aead(bytes(length))
    assert caught.value.stable_code == "crypto.key_length"
    with pytest.raises(SuiteError):
        chosen.deterministic(bytes(length))


@pytest.mark.parametrize("number", [0, 3, 255, -1])
def test_an_unknown_suite_is_refused(number: int) -> None:
    with pytest.raises(SuiteError) as caught:
        suite(number)
    assert caught.value.stable_code == "crypto.suite_unknown"


def test_ids_and_names_stay() -> None:
    """Rows and headers hold them."""
    assert {(int(i), suite(i).slug, suite(i).name, suite(i).key_length) for i in SuiteId} == {
        (1, "aes-gcm", "AES-256-GCM/HMAC-SHA-256", 32),
        (2, "sm4-gcm", "SM4-GCM/HMAC-SM3", 16),
    }
    assert all(suites.suite_named(suite(i).slug) is suite(i) for i in SuiteId)
    with pytest.raises(SuiteError):
        suites.suite_named("des")
    assert suites.DEFAULT_SUITE.id == 1
