"""Receipts, manifest notes and key certificates: signed, read after verification, not confused."""

import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest

from audit.checkpoint import SigningKey, TreeHead, VerifierKey, sign_note, verify_checkpoint
from audit.errors import CanonicalError, ProofError
from audit.merkle import leaf_hash
from audit.receipts import (
    Receipt,
    certify_receipt_key,
    receipt_key_name,
    sign_manifest,
    sign_receipt,
    verify_certificate,
    verify_manifest,
    verify_receipt,
)

ORIGIN = "example.com/log"
LOG = SigningKey.generate(ORIGIN)
KEY = SigningKey.generate(receipt_key_name(ORIGIN))
RECEIPT = Receipt(
    leaf_hash=leaf_hash(b"entry"),
    entry_id=uuid.UUID(int=7),
    event="model.predicted",
    request_id="request-1",
    tenant="tenant:1",
    at=1_790_000_000_000_000,
    merge_by=1_790_000_060_000_000,
    facts={"model": "ab" * 32, "guarantee": "dp", "epsilon": "0.998"},
)
DIGEST = "ab" * 32


@pytest.mark.parametrize(
    "receipt", [RECEIPT, replace(RECEIPT, request_id=None, tenant=None, facts={})]
)
def test_a_receipt_is_read_back(receipt: Receipt) -> None:
    note = sign_receipt(KEY, receipt)
    assert verify_receipt(note, [KEY.verifier]) == receipt
    first, body, *_ = note.split("\n")
    assert first == "example.com/log/receipts"
    assert body.startswith('{"at":1790000000000000,"entry":"00000000-0000-0000-0000-000000000007"')


def test_every_changed_byte_is_refused() -> None:
    data = sign_receipt(KEY, RECEIPT).encode()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises((ProofError, UnicodeDecodeError)):
            verify_receipt(changed.decode(), [KEY.verifier])


BODY = sign_receipt(KEY, RECEIPT).split("\n")[1]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        "null",
        BODY.replace('":', '": ', 1),
        BODY.replace('"v":1', '"v":2'),
        BODY[:-1] + ',"more":1}',
        BODY.replace(RECEIPT.leaf_hash.hex(), "ab"),
        BODY.replace("1790000000000000", "1.5"),
    ],
)
def test_a_signed_body_in_another_form_is_refused(body: str) -> None:
    note = sign_note(f"{KEY.name}\n{body}\n", KEY)
    with pytest.raises(ProofError):
        verify_receipt(note, [KEY.verifier])


def test_manifests_and_certificates_are_read_back() -> None:
    assert verify_manifest(sign_manifest(KEY, DIGEST), [KEY.verifier]) == DIGEST
    certificate = certify_receipt_key(LOG, KEY.verifier)
    assert verify_certificate(certificate, [LOG.verifier]) == KEY.verifier


def test_no_kind_of_note_passes_for_another() -> None:
    receipt, manifest = sign_receipt(KEY, RECEIPT), sign_manifest(KEY, DIGEST)
    certificate = certify_receipt_key(LOG, KEY.verifier)
    checkpoint = sign_note(str(TreeHead(ORIGIN, 1, leaf_hash(b""))), LOG)
    keys = [LOG.verifier, KEY.verifier]
    table: list[tuple[str, list[Callable[[str, list[VerifierKey]], object]]]] = [
        (receipt, [verify_manifest, verify_certificate]),
        (manifest, [verify_receipt, verify_certificate]),
        (certificate, [verify_receipt, verify_manifest]),
        (checkpoint, [verify_receipt, verify_manifest, verify_certificate]),
    ]
    for note, readers in table:
        for reader in readers:
            with pytest.raises(ProofError):
                reader(note, keys)
    for note in (receipt, manifest, certificate):
        with pytest.raises(ProofError):
            verify_checkpoint(note, ORIGIN, keys)


def test_only_a_receipt_key_signs_and_only_of_its_own_log() -> None:
    other = SigningKey.generate(receipt_key_name("example.com/other"))
    for misuse in (
        lambda: sign_receipt(LOG, RECEIPT),
        lambda: sign_manifest(LOG, DIGEST),
        lambda: certify_receipt_key(LOG, other.verifier),
        lambda: certify_receipt_key(LOG, LOG.verifier),
        lambda: verify_certificate(
            sign_note(f"{ORIGIN}/keys\n{other.verifier}\n", LOG), [LOG.verifier]
        ),
        lambda: verify_manifest(sign_note(f"{ORIGIN}/bundle\nno\n", KEY), [KEY.verifier]),
    ):
        with pytest.raises(ProofError):
            misuse()


def test_facts_are_canonical() -> None:
    with pytest.raises(CanonicalError):
        sign_receipt(KEY, replace(RECEIPT, facts={"score": 0.5}))
