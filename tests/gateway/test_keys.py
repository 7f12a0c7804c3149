"""Keys: the checksum before everything, one opaque failure, and nothing remembered for too long."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from audit.models import AuditEntry
from gateway import keys
from gateway.actions.keys import Issued, revoke_key
from gateway.aging import LIFE
from gateway.errors import CredentialError
from gateway.keys import KeyCache, KeyFacts
from gateway.models import ApiKey, KeyMode, Pepper
from governance.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from governance.scoping import across_tenants, tenant_scope
from governance.vault import rotate_root
from tests.factories.gateway import Shop, make_customer, make_key, make_license, make_shop

# CRC-32/ISO-HDLC of "123456789" is 0xCBF43926: the catalog's check value, in base 62.
CRC_CHECK = "3jZRME"

VECTORS = {
    "pck_live_0123456789_0000000000000000000000000000000000000000000": "3uDa4c",
    "pck_test_abcdefghij_0000000000000000000000000000000000000000001": "0yg65n",
}


def refused(text: str) -> str:
    with pytest.raises(CredentialError) as caught:
        keys.authenticate(text)
    return caught.value.stable_code


def test_the_checksum_is_the_catalogs_crc() -> None:
    assert keys.checksum("123456789") == CRC_CHECK


@pytest.mark.parametrize("body", VECTORS)
def test_golden_keys_parse(body: str) -> None:
    parsed = keys.parse(body + VECTORS[body])
    assert parsed.public_id == body[9:19]
    assert parsed.mode == body[4:8]


def test_a_new_key_has_the_published_shape_and_its_own_secret() -> None:
    made = [keys.generate(mode) for mode in KeyMode for _ in range(50)]
    assert all(re.fullmatch(keys.PATTERN, key.text) for key in made)
    assert len({key.text for key in made}) == len(made)
    assert all(key.text not in repr(key) for key in made)
    assert {keys.parse(key.text).mode for key in made} == set(KeyMode)


def test_a_change_of_any_character_is_caught_without_a_query() -> None:
    """No database mark: a query here would fail the test."""
    text = keys.generate(KeyMode.LIVE).text
    for place, letter in enumerate(text):
        for other in ("0", "z", "_", "é", "\n"):
            if other != letter:
                assert refused(text[:place] + other + text[place + 1 :]) == "key.malformed"


@pytest.mark.parametrize(
    "text",
    ["", "pck_", "Bearer", "pck_live", "x" * 10_000, "pck_live_0123456789_" + "0" * 49, "\x00"],
    ids=["empty", "prefix", "word", "mode", "long", "no-crc", "nul"],
)
def test_garbage_is_refused_without_a_query(text: str) -> None:
    assert refused(text) == "key.malformed"


@pytest.mark.django_db
class TestAuthentication:
    """With rows."""

    @pytest.fixture
    def shop(self) -> Shop:
        return make_shop()

    def test_the_right_secret_says_whose_it_is(self, shop: Shop) -> None:
        facts = keys.authenticate(shop.secret)
        assert facts.public_id == shop.issued.key.public_id
        assert facts.tenant_id == shop.customer.id
        assert facts.license_id == shop.license.id

    def test_the_secret_rests_nowhere(self, shop: Shop) -> None:
        secret = shop.secret.split("_")[3].encode()
        with across_tenants(reason="a test looks"):
            row = ApiKey.objects.get().__dict__
        assert secret not in repr(row).encode()
        assert all(secret not in bytes(entry.body) for entry in AuditEntry.objects.all())
        assert shop.secret not in repr(shop)

    def test_wrong_secret_and_unknown_id_look_alike(self, shop: Shop) -> None:
        body, fresh = shop.secret[:20], keys.generate(KeyMode.LIVE).text
        forged = body + fresh[20:63]
        assert refused(forged + keys.checksum(forged)) == "key.unknown"
        assert refused(fresh) == "key.unknown"

    def test_a_live_key_is_no_test_key(self, shop: Shop) -> None:
        other = shop.secret.replace("_live_", "_test_")[:-6]
        assert refused(other + keys.checksum(other)) == "key.unknown"

    def test_without_the_pepper_the_digest_says_nothing(self, shop: Shop) -> None:
        with across_tenants(reason="a test looks"):
            row = ApiKey.objects.get()
        body = shop.secret[:-6]
        assert keys.digest_of(body.encode(), pepper_key=bytes(32)) != bytes(row.digest)

    def test_keys_outlive_a_rotation_of_the_root_key(self, shop: Shop) -> None:
        before = Pepper.objects.get()
        rotate_root()
        after = Pepper.objects.get()
        assert after.root_version == before.root_version + 1
        assert bytes(after.wrapped) != bytes(before.wrapped)
        assert keys.authenticate(shop.secret).license_id == shop.license.id

    def test_revoked_here_is_revoked_at_once(
        self, shop: Shop, django_capture_on_commit_callbacks: object
    ) -> None:
        keys.authenticate(shop.secret)
        with (
            tenant_scope(shop.house.id),
            django_capture_on_commit_callbacks(execute=True),  # type: ignore[operator]  # a fixture
        ):
            revoke_key(shop.house.platform, shop.license, key=shop.issued.key)
        assert keys.authenticate(shop.secret).revoked_at is not None

    def test_a_key_is_revoked_once_and_under_its_own_license(self, shop: Shop) -> None:
        other, _ = make_customer("other")
        license_ = make_license(shop.house, other, shop.version.model)
        with tenant_scope(shop.house.id):
            with pytest.raises(NotFoundError):
                revoke_key(shop.house.platform, license_, key=shop.issued.key)
            revoke_key(shop.house.platform, shop.license, key=shop.issued.key)
            with pytest.raises(ConflictError) as caught:
                revoke_key(shop.house.platform, shop.license, key=shop.issued.key)
        assert caught.value.stable_code == "key.revoked"

    @pytest.mark.parametrize(
        ("asked", "code"),
        [
            ({"name": " "}, "key.name_invalid"),
            ({"name": "n" * 81}, "key.name_invalid"),
            ({"mode": "free"}, "key.mode_unknown"),
            ({"expires_at": datetime(2001, 1, 1, tzinfo=UTC)}, "key.term_invalid"),
            ({"expires_at": datetime(2999, 1, 1, tzinfo=UTC)}, "key.term_invalid"),
        ],
    )
    def test_a_key_that_cannot_be_meant(
        self, shop: Shop, asked: dict[str, object], code: str
    ) -> None:
        from gateway.actions.keys import issue_key

        with tenant_scope(shop.house.id), pytest.raises(InvalidError) as caught:
            issue_key(shop.house.platform, shop.license, **{"name": "n", **asked})  # type: ignore[arg-type]  # a table of bad arguments
        assert caught.value.stable_code == code
        entry = AuditEntry.objects.filter(event="key.issued").latest("at")
        assert (entry.outcome, json_reason(entry)) == ("failed", code)

    def test_the_customers_admin_issues_and_revokes(self, shop: Shop) -> None:
        from gateway.actions.keys import issue_key

        with tenant_scope(shop.customer.id):
            issued: Issued = issue_key(shop.admin, shop.license, name="ours")
            revoke_key(shop.admin, shop.license, key=issued.key)
        assert make_key(shop.house, shop.license).key.public_id != issued.key.public_id

    def test_a_customer_does_not_issue_what_is_never_charged(self, shop: Shop) -> None:
        """A test key opens the real model: only who sells it may give calls away."""
        from gateway.actions.keys import issue_key

        with tenant_scope(shop.customer.id), pytest.raises(RefusedError) as caught:
            issue_key(shop.admin, shop.license, name="free", mode=KeyMode.TEST)
        assert caught.value.stable_code == "key.mode_refused"
        entry = AuditEntry.objects.filter(event="key.issued").latest("at")
        assert (entry.outcome, json_reason(entry)) == ("denied", "key.mode_refused")
        assert make_key(shop.house, shop.license, mode=KeyMode.TEST).key.mode == KeyMode.TEST


def json_reason(entry: AuditEntry) -> str:
    import json

    return str(json.loads(bytes(entry.body))["reason"])


def facts(public_id: str = "0123456789", **changed: object) -> KeyFacts:
    found = KeyFacts(
        id=uuid4(),
        public_id=public_id,
        tenant_id=UUID(int=1),
        license_id=UUID(int=2),
        mode=KeyMode.LIVE,
        digest=b"",
        pepper_version=1,
        expires_at=datetime.now(UTC) + timedelta(days=1),
        revoked_at=None,
    )
    return replace(found, **changed)  # type: ignore[arg-type]  # fields by name


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TestCache:
    """Law 6: an entry dies five seconds after its database read began, at the latest."""

    def test_an_entry_is_read_once_and_dies_in_time(self) -> None:
        clock, reads = Clock(), []
        cache = KeyCache(clock=clock)

        def read(public_id: str) -> KeyFacts:
            reads.append(clock.now)
            return facts(public_id)

        for later in (0.0, 1.0, 3.9, 4.0, 7.9, 8.0):
            clock.now = 100.0 + later
            cache.find("0123456789", read)
        assert reads == [100.0, 104.0, 108.0]
        assert LIFE < 5

    def test_age_counts_from_when_the_read_began(self) -> None:
        clock = Clock()
        cache = KeyCache(clock=clock)

        def slow(public_id: str) -> KeyFacts:
            clock.now += 3.0  # the revocation is committed meanwhile
            return facts(public_id)

        cache.find("0123456789", slow)
        clock.now += 1.5
        assert cache.find("0123456789", lambda _: None) is None

    def test_an_older_read_does_not_overwrite_a_newer_one(self) -> None:
        clock = Clock()
        cache = KeyCache(clock=clock)
        revoked = facts(revoked_at=datetime.now(UTC))

        def slow(public_id: str) -> KeyFacts:
            stale = facts(public_id)
            clock.now += 1.0
            cache.find(public_id, lambda _: revoked)  # another thread, later and faster
            return stale

        cache.find("0123456789", slow)
        assert cache.find("0123456789", lambda _: None) is revoked

    def test_unknown_ids_are_remembered_apart_and_bounded(self) -> None:
        clock, reads = Clock(), []
        cache = KeyCache(clock=clock, negative_capacity=10)
        known = facts("AAAAAAAAAA")
        cache.find("AAAAAAAAAA", lambda _: known)

        def nobody(public_id: str) -> None:
            reads.append(public_id)

        for number in range(1000):
            cache.find(f"{number:010}", nobody)
            cache.find(f"{number:010}", nobody)
        assert len(reads) == 1000
        assert len(cache._unknown._entries) == 10
        assert cache.find("AAAAAAAAAA", nobody) is known  # a scanner evicts nobody

    def test_known_keys_are_bounded(self) -> None:
        cache = KeyCache(clock=Clock(), capacity=10)
        for number in range(100):
            cache.find(f"{number:010}", facts)
        assert len(cache._known._entries) == 10
