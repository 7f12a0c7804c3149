"""`issue_license` and `issue_key`: one object on stdout, or a code on stderr and an exit status."""

import json
from typing import Any

import pytest
from django.core.management import call_command

from gateway import keys
from tests.factories.gateway import PURPOSE, Shop, make_shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Shop:
    return make_shop()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    try:
        call_command(*arguments, "--json")
    except SystemExit as stopped:
        return int(stopped.code or 0), json.loads(capsys.readouterr().err)
    return 0, json.loads(capsys.readouterr().out)


KEY = ("issue_key", "{license}", "--name")
LIMIT = ("set_limit", "--quota", "1")
LICENSE = ("issue_license", "income", "--customer", "acme", "--purpose", PURPOSE)
AS_PLATFORM = ("--as", "house-platform")


def test_a_license_and_its_key(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    code, license_ = run(capsys, *LICENSE, *AS_PLATFORM, "--quota", "7")
    assert code == 0
    assert license_.keys() == {
        "license", "customer", "model", "features", "purposes", "regions", "version", "seats",
        "trial", "quota", "rate", "burst", "expires",
    }  # fmt: skip
    assert (license_["customer"], license_["quota"]) == ("acme", 7)
    code, key = run(capsys, "issue_key", license_["license"], "--name", "n", *AS_PLATFORM)
    assert code == 0
    assert key.keys() == {
        "key", "secret", "license", "mode", "expires", "scopes", "addresses",
    }  # fmt: skip
    assert str(keys.authenticate(key["secret"]).license_id) == license_["license"]


def test_a_rate_and_a_limit(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    code, license_ = run(capsys, *LICENSE, *AS_PLATFORM, "--rate", "5")
    assert (code, license_["rate"], license_["burst"]) == (0, 5, 5)
    terms = ("--quota", "9", "--period", "month", "--rate", "2", "--burst", "3")
    code, limit = run(capsys, "set_limit", "key", shop.issued.key.public_id, *terms, *AS_PLATFORM)
    assert code == 0
    assert limit.pop("limit")
    assert limit == {
        "scope": "key", "of": shop.issued.key.public_id, "rate": 2, "burst": 3, "quota": 9,
        "period": "month",
    }  # fmt: skip


def test_a_person_reads_lines(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    call_command(*LICENSE, *AS_PLATFORM)
    assert "customer: acme" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ((*LICENSE, "--as", "nobody"), 2, "actor.unknown"),
        ((*LICENSE, "--as", "house-auditor"), 2, "not_found"),
        ((*LICENSE, "--as", "house-tenant_admin"), 2, "not_found"),
        ((*LICENSE, *AS_PLATFORM, "--quota", "0"), 2, "license.quota_invalid"),
        ((*LICENSE, *AS_PLATFORM, "--quota", str(2**60)), 2, "license.quota_invalid"),
        ((*LICENSE, *AS_PLATFORM, "--rate", "0"), 2, "limit.rate_invalid"),
        ((*LICENSE, *AS_PLATFORM, "--burst", "3"), 2, "limit.rate_invalid"),
        ((*LICENSE, *AS_PLATFORM, "--days", "0"), 2, "term.invalid"),
        (("set_limit", "model", "nothing", "--quota", "1", *AS_PLATFORM), 2, "not_found"),
        (("set_limit", "model", "income", *AS_PLATFORM), 2, "limit.empty"),
        ((*LIMIT, "customer", "house", *AS_PLATFORM), 2, "license.not_a_customer"),
        ((*LIMIT, "customer", "acme", "--as", "house-auditor"), 2, "not_found"),
        ((*LIMIT, "license", "{license}", "--as", "house-auditor"), 3, "permission.role_missing"),
        ((*LICENSE, *AS_PLATFORM, "--days", str(10**12)), 2, "term.invalid"),
        (("issue_license", "nothing", *LICENSE[2:], *AS_PLATFORM), 2, "not_found"),
        ((*LICENSE[:3], "nobody", *LICENSE[4:], *AS_PLATFORM), 2, "not_found"),
        ((*LICENSE[:3], "house", *LICENSE[4:], *AS_PLATFORM), 2, "license.not_a_customer"),
        ((*LICENSE[:5], "marketing", *AS_PLATFORM), 3, "purpose.unknown"),
        (("issue_key", "nothing", "--name", "n", *AS_PLATFORM), 2, "not_found"),
        ((*KEY, "n", "--as", "house-auditor"), 3, "permission.role_missing"),
        ((*KEY, " ", *AS_PLATFORM), 2, "key.name_invalid"),
        ((*KEY, "n", "--days", "99", *AS_PLATFORM), 2, "key.term_invalid"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_what_is_refused(
    shop: Shop,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    code: str,
) -> None:
    filled = [argument.replace("{license}", str(shop.license.id)) for argument in arguments]
    exited, told = run(capsys, *filled)
    assert (exited, told["code"]) == (status, code)
    assert told.keys() <= {"code", "detail", "pointer"}


def test_a_license_is_amended_renewed_suspended_and_resumed(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    name = str(shop.license.id)
    terms = ("--quota", "777", "--region", "de", "--region", "fr", "--seats", "4")
    code, told = run(capsys, "amend_license", name, *terms, *AS_PLATFORM)
    assert (code, told["amendment"]) == (0, 1)
    assert told["terms"].items() >= {"quota": 777, "regions": ["de", "fr"], "seats": 4}.items()
    freed = ("--everywhere", "--any-seats", "--stable")
    _, told = run(capsys, "amend_license", name, *freed, *AS_PLATFORM)
    assert told["terms"].items() >= {"version": None, "regions": [], "seats": None}.items()
    assert run(capsys, "renew_license", name, "--days", "90", *AS_PLATFORM)[1]["amendment"] == 3
    code, told = run(capsys, "suspend_license", name, "--reason", "dispute", *AS_PLATFORM)
    assert (code, told["reason"]) == (0, "dispute")
    assert run(capsys, "resume_license", name, *AS_PLATFORM)[0] == 0
    assert (
        run(capsys, "amend_license", name, *AS_PLATFORM)[1]["code"] == "license.amendment_invalid"
    )
    assert run(capsys, "renew_license", name, "--days", "1", *AS_PLATFORM)[0] == 2
