"""A statement's lines follow from the log, for whoever holds the file; and each sees their own."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from audit.keys import log_verifier
from audit.models import AuditEntry
from audit.reports.bundle import BundleResult, write_bundle
from audit.reports.statements import Month
from audit.reports.verification import Result, verify
from audit.sequencer import sequence_once
from gateway import statements
from gateway.actions.statements import grant_statement
from gateway.errors import NoLicenseError, StatementError
from gateway.models import KeyMode, License, UsageRollup
from gateway.rollups import roll_up
from gateway.statements import StatementGrant
from governance.errors import NotFoundError
from governance.models import User
from governance.rbac import UserActor
from governance.scoping import across_tenants, tenant_scope
from tests.append_only import create_triggers, drop_triggers
from tests.factories.gateway import Shop, charge, make_customer, make_key, make_license, make_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("home")]

THIS = str(datetime.now(UTC))[:7]


@pytest.fixture
def shop() -> Shop:
    made = make_shop()
    charge(made.secret, "abc")
    charge(make_key(made.house, made.license, mode=KeyMode.TEST).secret, ["t"])
    sequence_once()
    roll_up()
    return made


@pytest.fixture
def priced() -> Iterator[None]:
    def pricing(_license: License, sku: str) -> tuple[str, str] | None:
        return ("0.015", "EUR") if sku == "predict" else None

    statements.register_pricing(pricing)
    yield
    statements._pricing.clear()


def grant(actor: UserActor, shop: Shop, month: str = THIS) -> StatementGrant:
    own = shop.customer if actor is shop.admin else shop.house.tenant
    with tenant_scope(own.id):
        return grant_statement(actor, own, customer=shop.customer, month=Month.parse(month))


def client(actor: UserActor) -> Client:
    made = Client(raise_request_exception=False)
    made.force_login(User.objects.get(pk=actor.user_id))
    return made


def written(shop: Shop, tmp_path: Path) -> Path:
    out = tmp_path / "statement.zip"
    with tenant_scope(shop.house.id):
        grant(shop.house.owner, shop).write(out)
    return out


def test_a_line_tells_what_was_charged(shop: Shop, priced: None) -> None:
    del priced
    with tenant_scope(shop.house.id):
        statement = grant(shop.house.owner, shop).statement()
    [line] = statement.lines
    assert (line.license, line.model, line.sku) == (str(shop.license.pk), "income", "predict")
    assert (line.calls, line.units, line.charged) == (4, 4, 3)
    assert (line.price, line.currency, line.amount) == ("0.015", "EUR", "0.045")
    assert statement.amounts() == {"EUR": "0.045"}
    assert (statement.pending, statement.complete) == (0, False), "the month goes on"
    entry = AuditEntry.objects.get(event="usage.statement_exported")
    facts = json.loads(bytes(entry.body))["facts"]
    assert (facts["lines"], facts["calls"], facts["charged"]) == (1, 4, 3)
    assert entry.tenant == str(shop.house.id)


def test_nobody_names_a_price_and_there_is_none(shop: Shop) -> None:
    with tenant_scope(shop.house.id):
        [line] = grant(shop.house.owner, shop).statement().lines
    assert (line.price, line.currency, line.amount) == (None, None, None)


def test_what_is_not_in_the_log_yet_is_pending(shop: Shop) -> None:
    charge(shop.secret, "de")
    with tenant_scope(shop.house.id):
        statement = grant(shop.house.owner, shop).statement()
    assert (statement.pending, statement.lines[0].calls, statement.complete) == (2, 4, False)


def test_another_month_is_empty(shop: Shop) -> None:
    with tenant_scope(shop.house.id):
        statement = grant(shop.house.owner, shop, "2026-01").statement()
    assert (statement.lines, statement.complete) == ((), True)


def test_the_bundle_verifies_and_holds_three_forms(
    shop: Shop, priced: None, tmp_path: Path
) -> None:
    del priced
    out = written(shop, tmp_path)
    verdict = verify(out, trusted=[log_verifier()])
    assert (verdict.result, verdict.error) == (Result.VERIFIED, None)
    step, found = verdict.passed[-1]
    assert (step, found) == ("statement", f"{THIS}, 1 lines, 3 units charged, not final")
    with zipfile.ZipFile(out) as archive:
        names = set(archive.namelist())
        table = archive.read("statement.csv").decode("utf-8-sig")
        page = archive.read("statement.pdf")
    assert {"statement.json", "statement.csv", "statement.pdf", "manifest.note"} <= names
    [row] = csv.DictReader(io.StringIO(table))
    assert (row["charged"], row["amount"], row["currency"]) == ("3", "0.045", "EUR")
    assert page.startswith(b"%PDF-1.4")
    assert b"0.045 EUR" in page


@pytest.mark.parametrize("name", ["statement.json", "statement.csv"])
def test_a_lie_that_is_signed_is_found_out(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Who holds every key may sign any sums: the entries still say others."""
    lying = write_bundle

    def lie(*args: Any, extra: dict[str, bytes], **options: Any) -> BundleResult:
        old, new = (b'"charged":3', b'"charged":4') if name.endswith("json") else (b",3,", b",4,")
        assert old in extra[name]
        return lying(*args, extra={**extra, name: extra[name].replace(old, new)}, **options)

    monkeypatch.setattr(statements, "write_bundle", lie)
    verdict = verify(written(shop, tmp_path), trusted=[log_verifier()])
    assert (verdict.result, verdict.failed) == (Result.BROKEN, "statement")


def test_a_statement_that_leaves_its_forms_out_is_refused(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying = write_bundle

    def lie(*args: Any, extra: dict[str, bytes], **options: Any) -> BundleResult:
        return lying(*args, extra={"statement.csv": extra["statement.csv"]}, **options)

    monkeypatch.setattr(statements, "write_bundle", lie)
    verdict = verify(written(shop, tmp_path), trusted=[log_verifier()])
    assert (verdict.result, verdict.failed) == (Result.BROKEN, "statement")


def edit_entry(old: bytes, new: bytes) -> None:
    entry = AuditEntry.objects.filter(event="prediction.served").latest("at")
    body = bytes(entry.body).replace(old, new)
    assert body != bytes(entry.body)
    AuditEntry.objects.filter(pk=entry.pk).update(body=body)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "change",
    [
        lambda: UsageRollup.objects.update(charged=4),
        lambda: UsageRollup.objects.all().delete(),
        lambda: edit_entry(b'"units":1', b'"units":9'),
    ],
    ids=["rollup", "no rollup", "entry"],
)
def test_log_and_rollups_must_agree(shop: Shop, change: Callable[[], object]) -> None:
    drop_triggers(connection)
    with across_tenants(reason="the owner of the database sees everything"):
        change()
    create_triggers(connection)
    with tenant_scope(shop.house.id), pytest.raises(StatementError, match="add up"):
        grant(shop.house.owner, shop).statement()


class TestWhoseItIs:
    """The license's owner, and its customer; nobody else."""

    def test_owner_and_customer_get_the_same_lines(self, shop: Shop) -> None:
        lines = []
        for actor, tenant in ((shop.house.owner, shop.house.id), (shop.admin, shop.customer.id)):
            with tenant_scope(tenant):
                lines.append(grant(actor, shop).statement().lines)
        assert lines[0] == lines[1] != ()

    def test_a_customer_of_two_houses_is_told_to_each_house_its_own(self, shop: Shop) -> None:
        other, admin = make_customer("bolt")
        second = make_license(shop.house, other, shop.version.model)
        charge(make_key(shop.house, second).secret, "xy")
        sequence_once()
        roll_up()
        with tenant_scope(other.id):
            with pytest.raises(NotFoundError):
                statements.customer_named(admin, "acme")
            with pytest.raises(NoLicenseError):
                statements.granted(admin, shop.customer, Month.parse(THIS))
            told = statements.granted(admin, other, Month.parse(THIS)).statement()
        assert [(line.license, line.charged) for line in told.lines] == [(str(second.pk), 2)]

    @pytest.mark.parametrize(
        ("who", "status"),
        [("owner", 201), ("platform", 201), ("officer", 201), ("auditor", 201), ("engineer", 403),
         ("steward", 403)],
    )  # fmt: skip
    def test_roles(self, shop: Shop, who: str, status: int) -> None:
        response = client(getattr(shop.house, who)).post(
            "/api/v1/statements",
            data={"month": THIS, "customer": "acme", "format": "csv"},
            content_type="application/json",
        )
        assert response.status_code == status


class TestApi:
    """`/api/v1/statements`."""

    def test_months(self, shop: Shop) -> None:
        for actor in (shop.admin, shop.house.owner):
            [month] = client(actor).get("/api/v1/statements").json()["results"]
            assert month == {
                "month": THIS, "customer": "acme", "licenses": 1, "calls": 4, "charged": 3,
            }  # fmt: skip
        keyed = Client().get(
            "/api/v1/statements", headers={"Authorization": f"Bearer {shop.secret}"}
        )
        assert keyed.status_code == 403

    @pytest.mark.parametrize(
        ("form", "kind"),
        [
            ("zip", "application/zip"),
            ("csv", "text/csv; charset=utf-8"),
            ("pdf", "application/pdf"),
        ],
    )
    def test_a_customer_downloads_its_own(
        self, shop: Shop, tmp_path: Path, form: str, kind: str
    ) -> None:
        response = client(shop.admin).post(
            "/api/v1/statements", data={"month": THIS, "format": form},
            content_type="application/json",
        )  # fmt: skip
        assert (response.status_code, response["Content-Type"]) == (201, kind)
        content = response.getvalue()
        if form == "zip":
            out = tmp_path / "it.zip"
            out.write_bytes(content)
            assert verify(out, trusted=[log_verifier()]).result is Result.VERIFIED

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"month": "2026-13"}, 422, "statement.month_invalid"),
            ({"month": "26-11"}, 422, "statement.month_invalid"),
            ({"month": "2026-1\0"}, 422, None),
            ({"month": THIS, "customer": "nobody"}, 404, "not_found"),
            ({"month": THIS, "customer": "house"}, 404, "not_found"),
            ({"month": THIS, "format": "exe"}, 422, "request.invalid"),
            ({}, 422, "request.invalid"),
        ],
    )
    def test_bad_input(
        self, shop: Shop, body: dict[str, str], status: int, code: str | None
    ) -> None:
        response = client(shop.admin).post(
            "/api/v1/statements", data=body, content_type="application/json"
        )
        assert response.status_code == status, response.content
        assert code in {None, response.json()["code"]}


def test_the_command_rolls_up_and_writes(shop: Shop, tmp_path: Path) -> None:
    charge(shop.secret, "d")
    sequence_once()
    out, told = tmp_path / "it.zip", io.StringIO()
    owner = User.objects.get(pk=shop.house.owner.user_id).username
    call_command(
        "statement", "--month", THIS, "--customer", "acme", "--out", str(out), "--as", owner,
        "--json", stdout=told,
    )  # fmt: skip
    result = json.loads(told.getvalue())
    assert (result["calls"], result["charged"], result["pending"]) == (5, 4, 0)
    assert verify(out, trusted=[log_verifier()]).result is Result.VERIFIED


class TestConsole:
    """The page of usage, and its form."""

    ADDRESS = "/admin/gateway/usagerollup/statement/"

    def test_the_list_shows_the_hours_and_leads_to_the_form(self, shop: Shop) -> None:
        text = client(shop.admin).get("/admin/gateway/usagerollup/").content.decode()
        assert "predict" in text
        assert self.ADDRESS in text
        assert client(shop.admin).get("/admin/gateway/usagerollup/1/").status_code == 404

    def test_a_customer_downloads_its_own(self, shop: Shop, tmp_path: Path) -> None:
        response = client(shop.admin).post(
            self.ADDRESS, data={"month": THIS, "customer": "acme", "format": "zip"}
        )
        assert response.status_code == 200
        out = tmp_path / "it.zip"
        out.write_bytes(response.getvalue())
        assert verify(out, trusted=[log_verifier()]).result is Result.VERIFIED

    @pytest.mark.parametrize(
        "change", [{"month": "11/2026"}, {"customer": "house"}, {"format": ""}]
    )
    def test_bad_input_comes_back_as_a_page(self, shop: Shop, change: dict[str, str]) -> None:
        said = {"month": THIS, "customer": "acme", "format": "zip", **change}
        response = client(shop.house.owner).post(self.ADDRESS, data=said)
        assert response.status_code == 422
        assert b"form" in response.content
