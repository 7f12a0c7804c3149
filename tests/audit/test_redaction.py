"""Private facts: committed in the log, sealed beside it, openable only under the subject's key."""

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import IntegrityError, transaction

from audit import redaction
from audit.errors import KeyMissingError, ProofError
from audit.models import PrivateFact
from audit.redaction import (
    commit_private,
    commitment,
    open_private,
    register_subject_keys,
    verify_private,
)
from tests.factories.entries import make_entry

ENTRY = uuid.UUID("01890000-0000-7000-8000-000000000001")
SALT = bytes(range(32))


class Keys:
    """A key a subject, AES-256-GCM; deleting one shreds what it sealed."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}

    def seal(self, key_ref: str, plaintext: bytes, aad: bytes) -> bytes:
        key = self.keys.setdefault(key_ref, AESGCM.generate_key(256))
        nonce = os.urandom(12)
        return nonce + AESGCM(key).encrypt(nonce, plaintext, aad)

    def open(self, key_ref: str, sealed: bytes, aad: bytes) -> bytes:
        if key_ref not in self.keys:
            raise KeyMissingError("the subject's key is gone")
        try:
            return AESGCM(self.keys[key_ref]).decrypt(sealed[:12], sealed[12:], aad)
        except InvalidTag:
            raise ProofError("a private fact does not open") from None


@pytest.fixture
def keys() -> Iterator[Keys]:
    before = list(redaction._providers)
    keys = Keys()
    register_subject_keys(keys)
    yield keys
    redaction._providers[:] = before


def recorded(value: Any, key_ref: str = "subject:1") -> uuid.UUID:
    """An entry with one private fact, as an action records it."""
    entry_id = uuid.uuid4()
    committed = commit_private(entry_id, "name", value, key_ref)
    return make_entry(1, entry_id=entry_id, private={"name": committed}).pk


def test_a_commitment_is_pinned() -> None:
    """A golden vector: the format may never change, old entries must stay verifiable."""
    assert commitment(SALT, ENTRY, "name", "张伟") == GOLDEN
    verify_private(GOLDEN, SALT, ENTRY, "name", "张伟")


# HMAC-SHA256(00 01 … 1f, '01890000-0000-7000-8000-000000000001' 1f 'name' 1f '"张伟"'), by OpenSSL:
# printf '01890000-0000-7000-8000-000000000001\037name\037"张伟"' |
#   openssl dgst -sha256 -mac HMAC -macopt hexkey:000102…1f
GOLDEN = "d0ce23c573f001f439c4aea511eee27151654dc0d843b1dae4fe9e0defcdecc5"


@pytest.mark.parametrize(
    ("salt", "entry", "field", "value"),
    [
        (bytes(32), ENTRY, "name", "张伟"),
        (SALT[:31], ENTRY, "name", "张伟"),
        (SALT, uuid.UUID(int=1), "name", "张伟"),
        (SALT, ENTRY, "nam", "张伟"),
        (SALT, ENTRY, "name", "张炜"),
        (SALT, ENTRY, "name", None),
    ],
)
def test_another_disclosure_is_refused(
    salt: bytes, entry: uuid.UUID, field: str, value: object
) -> None:
    with pytest.raises(ProofError):
        verify_private(GOLDEN, salt, entry, field, value)


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["张伟", "", None, 42, {"b": [1, None], "a": "x"}])
def test_a_fact_is_sealed_and_opens_again(keys: Keys, value: object) -> None:
    entry_id = recorded(value)
    fact = PrivateFact.objects.get()
    assert str(value).encode() not in bytes(fact.sealed) or not value
    salt, opened = open_private(entry_id, "name")
    assert (len(salt), opened) == (32, value)


@pytest.mark.django_db
def test_equal_values_have_unequal_commitments(keys: Keys) -> None:
    one, two = (commit_private(uuid.uuid4(), "name", "张伟", "k") for _ in range(2))
    assert one != two


@pytest.mark.django_db
def test_without_its_key_a_fact_is_gone_and_the_entry_stands(keys: Keys) -> None:
    entry_id = recorded("张伟")
    del keys.keys["subject:1"]
    with pytest.raises(KeyMissingError):
        open_private(entry_id, "name")
    assert PrivateFact.objects.filter(entry_id=entry_id).exists()


@pytest.mark.django_db
def test_a_fact_moved_to_another_entry_does_not_open(keys: Keys) -> None:
    """The place is authenticated: whoever can write rows cannot swap two people's facts."""
    first = recorded("张伟")
    other = make_entry(2, private={"name": GOLDEN})
    fact = PrivateFact.objects.get(entry_id=first)
    PrivateFact.objects.create(
        entry_id=other.pk, field="name", key_ref=fact.key_ref, sealed=bytes(fact.sealed)
    )
    with pytest.raises(ProofError):
        open_private(other.pk, "name")


@pytest.mark.django_db
def test_a_fact_that_was_not_committed_to_is_refused(keys: Keys) -> None:
    other = make_entry(2, private={"name": GOLDEN})
    commit_private(other.pk, "name", "someone else", "k")
    with pytest.raises(ProofError):
        open_private(other.pk, "name")
    with pytest.raises(ProofError):
        open_private(other.pk, "mobile")


@pytest.mark.django_db
def test_a_field_is_committed_once(keys: Keys) -> None:
    entry_id = uuid.uuid4()
    commit_private(entry_id, "name", "a", "k")
    with pytest.raises(IntegrityError), transaction.atomic():
        commit_private(entry_id, "name", "b", "k")


@pytest.mark.django_db
def test_without_a_key_provider_nothing_is_stored(keys: Keys) -> None:
    redaction._providers.clear()
    with pytest.raises(KeyMissingError):
        commit_private(ENTRY, "name", "张伟", "k")
    assert not PrivateFact.objects.exists()
