"""A rotated key keeps its id, its budget and its history; the old secret ends in its time."""

import hmac
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from audit.models import AuditEntry
from gateway import keys
from gateway.actions.keys import Issued, revoke_key, rotate_key
from gateway.errors import CredentialError, RequestError
from gateway.keys import KeyCache
from gateway.models import ApiKey, KeyMode, KeyRotation
from governance.errors import ConflictError, InvalidError, NotFoundError
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import Shop, charge, make_customer, make_license, make_shop

HOUR = timedelta(hours=1)


@pytest.fixture
def shop() -> Shop:
    return make_shop()


def rotate(shop: Shop, **terms: Any) -> Issued:
    with tenant_scope(shop.house.id):
        rotated: Issued = rotate_key(
            shop.house.platform, shop.license, key=shop.issued.key, **terms
        )
    keys.CACHE.clear()  # a test's transaction never commits, and `on_commit` never runs
    return rotated


def opens(secret: str) -> bool:
    try:
        keys.authenticate(secret)
    except CredentialError as error:
        if error.stable_code != "key.unknown":
            raise
        return False
    return True


def row(shop: Shop) -> ApiKey:
    with across_tenants(reason="a test looks"):
        found: ApiKey = ApiKey.objects.get(pk=shop.issued.key.pk)
    return found


def later(shop: Shop, how_much: timedelta) -> None:
    """Let time pass for the old secret."""
    with across_tenants(reason="a test lets time pass"):
        found = row(shop)
        assert found.previous_not_after is not None
        ApiKey.objects.filter(pk=found.pk).update(
            previous_not_after=found.previous_not_after - how_much
        )
    keys.CACHE.clear()


@pytest.mark.django_db
class TestRotation:
    """By the action."""

    def test_the_id_the_budget_and_the_history_stay(self, shop: Shop) -> None:
        assert charge(shop.secret, "ab") == 2
        before = row(shop)
        rotated = rotate(shop)
        after = row(shop)
        for kept in ("id", "public_id", "license_id", "mode", "expires_at", "last_used_at"):
            assert getattr(after, kept) == getattr(before, kept)
        assert after.last_used_at is not None
        assert keys.parse(rotated.secret).public_id == keys.parse(shop.secret).public_id
        assert charge(rotated.secret, "c") == 1
        assert shop.reload().used == 3

    def test_both_secrets_open_until_the_overlap_ends(self, shop: Shop) -> None:
        rotated = rotate(shop, overlap=HOUR)
        assert rotated.secret != shop.secret
        assert opens(shop.secret)
        assert opens(rotated.secret)
        later(shop, HOUR)
        assert not opens(shop.secret)
        assert opens(rotated.secret)

    def test_the_overlap_ends_in_a_process_that_remembers_the_key(self, shop: Shop) -> None:
        rotate(shop, overlap=HOUR)
        known, parsed = keys.authenticate(shop.secret), keys.parse(shop.secret)
        assert keys._matches(parsed, known)
        assert not keys._matches(parsed, replace(known, previous_not_after=timezone.now()))

    def test_without_an_overlap_the_old_secret_ends_at_once(self, shop: Shop) -> None:
        rotated = rotate(shop, overlap=timedelta(0))
        assert not opens(shop.secret)
        assert opens(rotated.secret)
        assert row(shop).previous_digest is None

    def test_the_default_is_a_day(self, shop: Shop) -> None:
        rotate(shop)
        until = row(shop).previous_not_after
        assert until is not None
        assert timedelta(hours=23, minutes=59) < until - timezone.now() <= timedelta(days=1)

    def test_within_an_overlap_one_says_which_secret_stays(self, shop: Shop) -> None:
        lost = rotate(shop)
        with pytest.raises(ConflictError) as caught:
            rotate(shop)
        assert caught.value.stable_code == "key.overlap_open"
        assert opens(shop.secret)
        assert opens(lost.secret)
        newest = rotate(shop, keep="previous")  # the answer with `lost` never arrived
        assert opens(shop.secret)
        assert not opens(lost.secret)
        assert opens(newest.secret)
        last = rotate(shop, keep="current")
        assert not opens(shop.secret)
        assert opens(newest.secret)
        assert opens(last.secret)

    def test_no_overlap_needs_no_choice(self, shop: Shop) -> None:
        middle, last = rotate(shop), rotate(shop, overlap=timedelta(0))
        assert [opens(secret) for secret in (shop.secret, middle.secret, last.secret)] == [
            False,
            False,
            True,
        ]

    def test_the_same_request_again_rotates_nothing(self, shop: Shop) -> None:
        rotated = rotate(shop, idempotency_key="once")
        before = row(shop)
        with pytest.raises(ConflictError) as caught:
            rotate(shop, idempotency_key="once")
        assert caught.value.stable_code == "key.rotated_already"
        assert bytes(row(shop).digest) == bytes(before.digest)
        assert opens(rotated.secret)
        # As well after another rotation, and after the key has ended.
        rotate(shop, keep="current", idempotency_key="twice")
        with pytest.raises(ConflictError) as caught:
            rotate(shop, idempotency_key="once")
        assert caught.value.stable_code == "key.rotated_already"
        with across_tenants(reason="a test counts"):
            assert KeyRotation.objects.count() == 2
            assert not KeyRotation.objects.filter(request__contains="once").exists()

    def test_the_entry_says_what_was_done_and_no_secret(self, shop: Shop) -> None:
        rotated = rotate(shop, overlap=HOUR, idempotency_key="mine")
        entry = AuditEntry.objects.get(event="key.rotated")
        assert json.loads(bytes(entry.body))["facts"] == {
            "key": shop.issued.key.reference,
            "overlap": 3600,
            "kept": "current",
        }
        for entry in AuditEntry.objects.all():
            body = bytes(entry.body).decode()
            assert rotated.secret[20:63] not in body
            assert "mine" not in body

    @pytest.mark.parametrize(
        ("terms", "error", "code"),
        [
            ({"overlap": timedelta(seconds=-1)}, InvalidError, "key.overlap_invalid"),
            ({"overlap": timedelta(days=30, seconds=1)}, InvalidError, "key.overlap_invalid"),
            ({"keep": "both"}, InvalidError, "key.keep_unknown"),
            ({"idempotency_key": "two words"}, RequestError, "request.idempotency_key_invalid"),
            ({"idempotency_key": ""}, RequestError, "request.idempotency_key_invalid"),
        ],
    )
    def test_a_rotation_that_cannot_be_meant(
        self, shop: Shop, terms: dict[str, Any], error: type[Exception], code: str
    ) -> None:
        with pytest.raises(error) as caught:
            rotate(shop, **terms)
        assert caught.value.stable_code == code  # type: ignore[attr-defined]  # a DomainError
        assert row(shop).previous_digest is None

    def test_an_ended_key_and_one_of_another_license_are_not_rotated(self, shop: Shop) -> None:
        other, _ = make_customer("other")
        license_ = make_license(shop.house, other, shop.version.model)
        with tenant_scope(shop.house.id):
            with pytest.raises(NotFoundError):
                rotate_key(shop.house.platform, license_, key=shop.issued.key)
            revoke_key(shop.house.platform, shop.license, key=shop.issued.key)
        with pytest.raises(ConflictError) as caught:
            rotate(shop)
        assert caught.value.stable_code == "key.revoked"
        with across_tenants(reason="a test lets time pass"):
            ApiKey.objects.update(revoked_at=None, expires_at=timezone.now())
        with pytest.raises(ConflictError) as caught:
            rotate(shop)
        assert caught.value.stable_code == "key.expired"

    def test_the_old_secret_takes_as_many_comparisons(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not by a clock, which a busy machine would fool: by what is hashed and compared."""
        rotate(shop, overlap=HOUR)
        done: list[str] = []
        digest_of, compare = keys.digest_of, hmac.compare_digest

        def hashed(*args: Any, **kwargs: Any) -> bytes:
            done.append("hash")
            return digest_of(*args, **kwargs)

        def compared(one: bytes, other: bytes) -> bool:
            done.append("compare")
            return compare(one, other)

        monkeypatch.setattr(keys, "digest_of", hashed)
        monkeypatch.setattr(keys, "compare_digest", compared)
        body = shop.secret[:20] + keys.generate(KeyMode.LIVE).text[20:63]
        sent = {
            "good": shop.secret,
            "wrong": body + keys.checksum(body),
            "unknown": keys.generate(KeyMode.LIVE).text,
        }
        told = {}
        for name, text in sent.items():
            keys.CACHE.clear()
            done.clear()
            opens(text)
            told[name] = list(done)
        assert told["good"] == ["hash", "compare", "compare"]
        assert told["wrong"] == told["unknown"] == told["good"]


@pytest.mark.django_db
class TestDoors:
    """By API, console and command."""

    def client(self, shop: Shop) -> Client:
        client = Client(raise_request_exception=False)
        client.force_login(shop.house.user(shop.house.platform))
        return client

    def post(self, client: Client, shop: Shop, body: Any = None, **headers: str) -> Any:
        return client.post(
            f"/api/v1/keys/{shop.issued.key.public_id}/rotate",
            data=body or {},
            content_type="application/json",
            headers=headers or None,
        )

    def test_over_http(self, shop: Shop) -> None:
        client = self.client(shop)
        first = self.post(client, shop, **{"Idempotency-Key": "a"})
        assert first.status_code == 200, first.content
        assert first.json()["public_id"] == shop.issued.key.public_id
        assert first["Cache-Control"] == "no-store"
        keys.CACHE.clear()
        assert opens(first.json()["secret"])
        again = self.post(client, shop, **{"Idempotency-Key": "a"})
        assert (again.status_code, again.json()["code"]) == (409, "key.rotated_already")
        shown = client.get(f"/api/v1/keys/{shop.issued.key.public_id}")
        assert "secret" not in shown.json()
        assert shown.json()["previous_not_after"] is not None

    @pytest.mark.parametrize(
        "body", [{"overlap_hours": 721}, {"overlap_hours": -1}, {"keep": "x"}, {"secret": "x"}]
    )
    def test_a_bad_body(self, shop: Shop, body: dict[str, Any]) -> None:
        assert self.post(self.client(shop), shop, body).status_code == 422

    def test_by_command(self, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
        from tests.gateway.test_commands import AS_PLATFORM, run

        name = shop.issued.key.public_id
        code, told = run(capsys, "rotate_key", name, *AS_PLATFORM, "--idempotency-key", "a")
        assert code == 0
        assert told.keys() == {"key", "secret", "license", "old_secret_until", "expires"}
        keys.CACHE.clear()
        assert opens(told["secret"])
        code, told = run(capsys, "rotate_key", name, *AS_PLATFORM, "--idempotency-key", "a")
        assert (code, told["code"]) == (3, "key.rotated_already")
        for hours in ("721", "-1", str(10**30)):
            code, told = run(capsys, "rotate_key", name, *AS_PLATFORM, "--overlap-hours", hours)
            assert (code, told["code"]) == (2, "key.overlap_invalid")

    def test_in_the_console(self, shop: Shop) -> None:
        client = self.client(shop)
        page = f"/admin/gateway/apikey/{shop.issued.key.pk}/"
        token = re.search(
            r'name="request" value="([0-9a-f]{32})"', client.get(page).content.decode()
        )
        assert token is not None
        form = {"request": token[1], "overlap_hours": "2"}
        response = client.post(page + "rotate/", form)
        secret = re.search(keys.PATTERN, response.content.decode())
        assert response.status_code == 200
        assert "no-store" in response["Cache-Control"]
        assert secret is not None
        keys.CACHE.clear()
        assert opens(secret[0])
        assert not re.search(keys.PATTERN, client.get(page).content.decode())
        again = client.post(page + "rotate/", form)
        assert again.status_code == 409
        assert "key.rotated_already" in again.content.decode()
        assert client.post(page + "rotate/", {**form, "overlap_hours": "9999"}).status_code == 422


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_rotates(shop: Shop) -> None:
    def work(_: int) -> str:
        try:
            with tenant_scope(shop.house.id):
                return rotate_key(
                    shop.house.platform, shop.license, key=shop.issued.key, idempotency_key="once"
                ).secret
        except ConflictError as error:
            return error.stable_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        told = sorted(pool.map(work, range(8)))
    assert told[:-1] == ["key.rotated_already"] * 7
    assert opens(told[-1])
    assert opens(shop.secret)


@pytest.mark.django_db
def test_a_process_that_remembers_the_old_secret_takes_the_new_one_at_once(shop: Shop) -> None:
    """No denial is made from remembered rows; a flood of wrong secrets is one read a second."""
    clock = [100.0]
    elsewhere = KeyCache(clock=lambda: clock[0])
    keys.authenticate(shop.secret, cache=elsewhere)
    rotated = rotate(shop, overlap=timedelta(0))
    assert keys.authenticate(rotated.secret, cache=elsewhere).public_id == row(shop).public_id
    reads = _reads_of_a_flood(shop.secret, elsewhere)
    assert reads == 0  # it was read again a moment ago
    clock[0] += keys.PAUSE
    assert _reads_of_a_flood(shop.secret, elsewhere) == 1


def _reads_of_a_flood(text: str, cache: KeyCache) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as asked:
        for _ in range(50):
            with pytest.raises(CredentialError):
                keys.authenticate(text, cache=cache)
    return sum("SELECT 1 FROM gateway_apikey" in query["sql"] for query in asked)
