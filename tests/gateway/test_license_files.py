"""Files that a customer downloads and checks offline: issued, recorded, and what they hold."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from audit.checkpoint import VerifierKey
from audit.errors import DomainError
from audit.keys import log_verifier
from audit.license_files import Checked, check_license
from audit.models import AuditEntry
from audit.reports.verification import Result
from audit.sequencer import sequence_once
from gateway.actions.license_files import NEXT_UPDATE, issue_license_file, issue_revocations
from gateway.actions.licenses import (
    amend_license,
    renew_license,
    revoke_license,
    suspend_license,
)
from gateway.agreements import Agreement
from gateway.models import RevocationList
from gateway.moments import microseconds
from governance.models import User
from governance.rbac import UserActor
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import Shop, make_customer, make_license, make_shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(settings: Any, tmp_path: Path) -> Shop:
    """A shop with a log of its own: a key signs no second log that begins anew."""
    settings.LOG_KEY_FILE = tmp_path / "keys" / "log.key"
    settings.RECEIPT_KEY_FILE = tmp_path / "keys" / "receipt.key"
    made = make_shop()
    sequence_once()
    return made


def file_of(shop: Shop, **options: Any) -> str:
    with tenant_scope(shop.house.id):
        return issue_license_file(shop.house.platform, shop.license, **options)


def list_of(shop: Shop) -> str:
    with tenant_scope(shop.house.id):
        return issue_revocations(shop.house.platform, shop.license)


def checked(text: str, *, days: float = 0, revocations: str | None = None) -> Checked:
    from django.utils import timezone

    now = microseconds(timezone.now() + timedelta(days=days))
    keys: list[VerifierKey] = [log_verifier()]
    return check_license(text, trusted=keys, now=now, revocations=revocations)


def last(event: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(
        bytes(AuditEntry.objects.filter(event=event).latest("at").body)
    )
    return body


def test_a_file_says_the_terms_and_is_recorded_by_its_digest(shop: Shop) -> None:
    with tenant_scope(shop.house.id):
        amend_license(shop.house.platform, shop.license, changes={"regions": ["de"], "seats": 2})
    text = file_of(shop, days=3)
    found = checked(text)
    assert found.result is Result.VERIFIED
    assert found.file is not None
    agreed = Agreement.of(shop.reload())
    assert found.file.terms == agreed.told()
    assert (found.file.model, found.file.amended) == ("income", 1)
    assert found.file.size > 0
    facts = last("license.file_issued")["facts"]
    assert facts["file"] == hashlib.sha256(text.encode()).hexdigest()
    assert facts["terms"] == agreed.digest
    assert checked(text, days=2.9).result is Result.VERIFIED
    late = checked(text, days=3.1).error
    assert late is not None
    assert late.stable_code == "license_file.expired"


def test_a_file_never_outlives_its_license(shop: Shop) -> None:
    found = checked(file_of(shop, days=300)).file
    assert found is not None
    assert found.valid_until == microseconds(shop.license.expires_at)


@pytest.mark.parametrize(("act", "code"), [("revoke", "revoked"), ("suspend", "suspended")])
def test_what_happens_later_stands_in_the_list(shop: Shop, act: str, code: str) -> None:
    text, before = file_of(shop), list_of(shop)
    assert checked(text, revocations=before).result is Result.VERIFIED
    with tenant_scope(shop.house.id):
        if act == "revoke":
            revoke_license(shop.house.platform, shop.license)
        else:
            suspend_license(shop.house.platform, shop.license, reason="misuse")
    after = checked(text, revocations=list_of(shop))
    assert after.error is not None
    assert after.error.stable_code == f"license_file.{code}"
    with pytest.raises(DomainError) as error:
        file_of(shop)
    assert error.value.stable_code == f"license.{code}"


def test_lists_are_numbered_for_each_customer_and_name_no_other_customers(shop: Shop) -> None:
    other, _ = make_customer("globex")
    foreign = make_license(shop.house, other, shop.version.model)
    with tenant_scope(shop.house.id):
        revoke_license(shop.house.platform, foreign)
        theirs = issue_revocations(shop.house.platform, foreign)
    assert str(foreign.id) in theirs
    first, second = list_of(shop), list_of(shop)
    assert str(foreign.id) not in first + second
    numbers = [
        found.revocations and found.revocations.number
        for found in (checked(file_of(shop), revocations=text) for text in (first, second))
    ]
    assert numbers == [1, 2]
    with across_tenants(reason="a test looks"):
        rows = RevocationList.objects.filter(customer=shop.customer).order_by("number")
        assert [row.digest for row in rows] == [
            hashlib.sha256(text.encode()).hexdigest() for text in (first, second)
        ]
        assert all(row.next_update - row.issued_at == NEXT_UPDATE for row in rows)
    old = checked(file_of(shop, days=20), days=8, revocations=second).error
    assert old is not None
    assert old.stable_code == "license_file.list_old"


def test_nothing_is_signed_before_the_log_was() -> None:
    with pytest.raises(DomainError) as error:
        file_of(make_shop())
    assert error.value.stable_code == "audit.log_empty"


@pytest.mark.parametrize("days", [0, -1, 367])
def test_how_long_a_file_may_be_good(shop: Shop, days: int) -> None:
    with pytest.raises(DomainError) as error:
        file_of(shop, days=days)
    assert error.value.stable_code == "license.file_days_invalid"


# Doors

WHO = {"platform": 201, "owner": 201, "customer": 201, "officer": 403, "auditor": 403}


@pytest.mark.parametrize("caller", WHO)
@pytest.mark.parametrize("what", ["file", "revocations"])
def test_who_may_download(shop: Shop, caller: str, what: str) -> None:
    actor: UserActor = shop.admin if caller == "customer" else getattr(shop.house, caller)
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(pk=actor.user_id))
    address = f"/api/v1/licenses/{shop.license.id}/{what}"
    response = client.post(address, {}, content_type="application/json")
    assert response.status_code == WHO[caller], response.content
    page = client.post(f"/admin/gateway/license/{shop.license.id}/{what}/")
    assert page.status_code == (200 if WHO[caller] == 201 else 403)
    if WHO[caller] == 201:
        for told in (response, page):
            assert told["Content-Disposition"].startswith("attachment; ")
            text = told.content.decode()
            found = checked(text) if what == "file" else checked(file_of(shop), revocations=text)
            assert found.result is Result.VERIFIED


def test_another_customer_finds_nothing_to_download(shop: Shop) -> None:
    _, admin = make_customer("globex")
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(pk=admin.user_id))
    for what in ("file", "revocations"):
        address = f"/api/v1/licenses/{shop.license.id}/{what}"
        response = client.post(address, {}, content_type="application/json")
        assert response.status_code == 404


def test_the_commands_write_new_files(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, as_platform = str(shop.license.id), ("--as", "house-platform", "--json")
    file, listed = tmp_path / "a.license", tmp_path / "a.revocations"
    call_command("export_license", name, "--out", str(file), *as_platform)
    call_command("export_revocations", name, "--out", str(listed), *as_platform)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["file"] for one in told] == [str(file), str(listed)]
    assert checked(file.read_text(), revocations=listed.read_text()).result is Result.VERIFIED
    with pytest.raises(SystemExit) as stopped:
        call_command("export_license", name, "--out", str(file), *as_platform)
    assert stopped.value.code == 2
    assert json.loads(capsys.readouterr().err)["code"] == "file.exists"
    refused = tmp_path / "b.license"
    with pytest.raises(SystemExit):
        call_command("export_license", name, "--out", str(refused), "--as", "house-auditor")
    assert not refused.exists()


def test_a_renewed_license_needs_a_fresh_file(shop: Shop) -> None:
    old = checked(file_of(shop, days=5)).file
    with tenant_scope(shop.house.id):
        end = shop.license.expires_at + timedelta(days=9)
        renew_license(shop.house.platform, shop.license, expires_at=end)
    fresh = checked(file_of(shop, days=5)).file
    assert old is not None
    assert fresh is not None
    assert (old.amended, fresh.amended) == (0, 1)
    assert fresh.terms["expires_at"] == microseconds(end)
