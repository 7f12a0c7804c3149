"""Keys under attack: forged headers and ids, floods, replays, reads that come too late."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import AuditEntry
from gateway import keys, last_use
from gateway.actions.keys import revoke_key
from gateway.aging import LIFE
from gateway.errors import CredentialError
from gateway.keys import KeyCache
from gateway.lane import Lane
from gateway.models import ApiKey, KeyMode
from gateway.refusals import REFUSALS
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import Shop, make_shop
from tests.gateway.test_lane import ask, nobody

FLOOD = 100_000


def signed(body: str) -> str:
    return body + keys.checksum(body)


def refused(text: str) -> str:
    with pytest.raises(CredentialError) as caught:
        keys.authenticate(text)
    return caught.value.stable_code


def last_used(shop: Shop) -> Any:
    with across_tenants(reason="a test looks"):
        return ApiKey.objects.get(pk=shop.issued.key.pk).last_used_at


@pytest.mark.django_db(transaction=True)
class TestHeaders:
    """What comes as credentials, by both ways."""

    @pytest.fixture(autouse=True)
    def _closed(self) -> Any:
        yield
        connections.close_all()

    @pytest.mark.parametrize(
        "forge",
        [
            lambda secret: f"{secret}\r\nX-Evil: 1",
            lambda secret: f"{secret}\0",
            lambda secret: f"{secret} {secret}",
            lambda secret: f"{secret},{secret}",
            lambda secret: f"\u200b{secret}",
            lambda secret: secret.replace("_", "\uff3f"),
            lambda secret: secret.replace("pck", "PCK"),
            lambda secret: secret * 200,
            lambda secret: "pck_live_%%%%%%%%%%_" + secret[20:],
            lambda secret: "pck_live___________" + secret[19:],
            lambda secret: secret.replace("_live_", "_test_"),
            lambda _: "pck_live_" + "٣" * 10 + "_" + "٣" * 49,
            lambda _: "",
        ],
        ids=[
            "crlf", "nul", "twice", "list", "zero-width", "fullwidth", "case", "long", "wildcards",
            "underscores", "mode", "digits", "empty",
        ],
    )  # fmt: skip
    def test_no_forged_header_opens_anything(self, forge: Any) -> None:
        shop = make_shop()
        header = forge(shop.secret)
        for application in (Lane(nobody), WSGIHandler()):
            told = ask(application, header)
            assert (told.status, told.body["code"]) == ("401 Unauthorized", "key.malformed")
            assert "X-Evil" not in told.headers

    def test_an_id_of_wildcards_is_a_name_and_no_pattern(self) -> None:
        """Even past the shape: the id is a parameter of an equality."""
        make_shop()
        for public_id in ("%", "_" * 10, "%' OR '1'='1", "\\"):
            assert keys.read_key(public_id) is None


@pytest.mark.django_db
class TestReplays:
    """What was good once."""

    @pytest.fixture
    def shop(self) -> Shop:
        return make_shop()

    def test_the_other_mode_with_a_right_checksum_is_unknown(self, shop: Shop) -> None:
        assert refused(signed(shop.secret[:-6].replace("_live_", "_test_"))) == "key.unknown"

    def test_the_right_secret_under_another_id_is_unknown(self, shop: Shop) -> None:
        other = make_shop(slug="other", customer="third", model="other")
        assert refused(signed(other.secret[:20] + shop.secret[20:63])) == "key.unknown"

    def test_a_revoked_key_is_refused_at_every_door(self, shop: Shop) -> None:
        with tenant_scope(shop.house.id):
            revoke_key(shop.house.platform, shop.license, key=shop.issued.key)
        keys.CACHE.clear()
        client = Client(
            raise_request_exception=False, headers={"Authorization": f"Bearer {shop.secret}"}
        )
        for address in ("usage", "keys", "licenses", "models", "receipts/x", "tenants"):
            told = client.get(f"/api/v1/{address}")
            assert (told.status_code, told.json()["code"]) == (401, "key.revoked"), address
        for address in ("models/income/predict", "models/income/explain", "predictions/feedback"):
            told = client.post(f"/api/v1/{address}", data={}, content_type="application/json")
            assert (told.status_code, told.json()["code"]) == (401, "key.revoked"), address

    def test_a_fault_of_the_database_lets_nobody_in(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.db import OperationalError

        def gone(_: str) -> None:
            raise OperationalError("the database is gone")

        monkeypatch.setattr(keys, "read_key", gone)
        with pytest.raises(OperationalError):
            keys.authenticate(shop.secret)


@pytest.mark.django_db
class TestFloods:
    """Of bad keys."""

    def test_garbage_costs_no_query_no_memory_and_microseconds(self) -> None:
        """Ten times what it takes on an idle machine, and less than a tenth of one query."""
        texts = [f"pck_live_{number:010}_{number:049}" for number in range(FLOOD)]
        entries = len(keys.CACHE._known._entries) + len(keys.CACHE._unknown._entries)
        with CaptureQueriesContext(connection) as asked:
            began = time.process_time()
            malformed = 0
            for text in texts:
                try:
                    keys.authenticate(text)
                except CredentialError:
                    malformed += 1
            spent = time.process_time() - began
        assert malformed == FLOOD
        assert len(asked) == 0
        assert len(keys.CACHE._known._entries) + len(keys.CACHE._unknown._entries) == entries
        assert spent / FLOOD < 20e-6

    def test_random_ids_are_bounded_and_one_row_a_minute(self) -> None:
        """With a right checksum each: a hundred thousand ids that nobody has."""
        shop = make_shop()
        keys.authenticate(shop.secret)
        before = AuditEntry.objects.count()
        secret = keys.generate(KeyMode.LIVE).text[20:63]
        cache, asked = keys.CACHE, []

        def read(public_id: str) -> None:
            asked.append(public_id)

        for number in range(FLOOD):
            cache.found(f"{number:010}", read)
            REFUSALS.note("key.unknown")
        assert len(asked) == FLOOD
        assert len(cache._unknown._entries) == keys.NEGATIVE_CAPACITY
        assert len(cache._reread._entries) <= keys.NEGATIVE_CAPACITY
        assert len(REFUSALS._counted) == 1
        assert AuditEntry.objects.count() == before + 1
        # Whoever has a key is not pushed out by them; and one of these ids is no key by itself.
        assert cache._known.get(shop.issued.key.public_id, time.monotonic() - LIFE) is not None
        assert refused(signed(f"pck_live_{1:010}_{secret}")) == "key.unknown"


@pytest.mark.django_db(transaction=True)
class TestRevocationUnderLoad:
    """A read that began before the revocation is not served longer than `LIFE`."""

    def test_a_slow_read_that_is_put_after_the_drop_dies_in_time(self) -> None:
        shop, now = make_shop(), [100.0]
        cache = KeyCache(clock=lambda: now[0])

        def slow(public_id: str) -> keys.KeyFacts | None:
            before = keys.read_key(public_id)
            with tenant_scope(shop.house.id):
                revoke_key(shop.house.platform, shop.license, key=shop.issued.key)
            cache.drop(public_id)  # as the revocation's commit does, in this process
            now[0] += 1.5
            return before

        stale = cache.find(shop.issued.key.public_id, slow)
        assert stale is not None
        assert stale.revoked_at is None
        now[0] = 100.0 + LIFE - 0.01
        assert keys.authenticate(shop.secret, cache=cache).revoked_at is None  # within the law
        now[0] = 100.0 + LIFE
        assert keys.authenticate(shop.secret, cache=cache).revoked_at is not None

    def test_many_threads_and_a_revocation(self) -> None:
        """Each remembers by the one cache; after the commit and `LIFE` none lets the key in."""
        shop = make_shop()
        cache, life = KeyCache(life=0.3), 0.3
        ended: list[float] = []

        def work(_: int) -> float:
            """When this thread was last let in."""
            last = 0.0
            try:
                while not ended or time.monotonic() < ended[0] + 3 * life:
                    asked = time.monotonic()
                    if keys.authenticate(shop.secret, cache=cache).revoked_at is None:
                        last = asked
            finally:
                connections.close_all()
            return last

        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(work, worker) for worker in range(4)]
            time.sleep(0.5)
            with tenant_scope(shop.house.id):
                revoke_key(shop.house.platform, shop.license, key=shop.issued.key)
            ended.append(time.monotonic())
            assert all(0 < one.result() <= ended[0] + life for one in running)


@pytest.mark.django_db(transaction=True)
class TestLastUse:
    """At most one write a key and minute, and none missed."""

    def test_a_key_that_is_used_once_says_so_at_once(self) -> None:
        shop = make_shop()
        began = timezone.now()
        for address in ("usage", "models"):
            with across_tenants(reason="a test prepares"):
                ApiKey.objects.update(last_used_at=None)
            last_use.forget()
            told = Client().get(
                f"/api/v1/{address}", headers={"Authorization": f"Bearer {shop.secret}"}
            )
            assert told.status_code == 200
            assert last_used(shop) >= began

    def test_what_was_rolled_back_is_said_again(self) -> None:
        shop, now = make_shop(), timezone.now()
        facts = keys.authenticate(shop.secret)
        with transaction.atomic():
            last_use.touch(facts, at=now)
            transaction.set_rollback(True)
        assert last_used(shop) is None
        last_use.touch(facts, at=now)
        assert last_used(shop) == now

    def test_threads_of_several_processes_write_once(self) -> None:
        shop = make_shop()
        facts, now = keys.authenticate(shop.secret), timezone.now()

        def work(number: int) -> None:
            last_use.forget()  # as a process that has not seen the key
            last_use.touch(facts, at=now + timedelta(seconds=number))
            connections.close_all()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(32)))
        said = last_used(shop)
        assert now <= said <= now + timedelta(seconds=31)
        work(40)  # another process, within the minute of whichever was first
        assert last_used(shop) == said

    def test_within_a_minute_the_database_is_not_asked_again(self) -> None:
        shop = make_shop()
        facts, now = keys.authenticate(shop.secret), timezone.now()
        last_use.touch(facts, at=now)
        with CaptureQueriesContext(connection) as asked:
            for second in range(60):
                last_use.touch(facts, at=now + timedelta(seconds=second))
        assert len(asked) == 0
        last_use.touch(facts, at=now + timedelta(minutes=1))
        assert last_used(shop) == now + timedelta(minutes=1)
