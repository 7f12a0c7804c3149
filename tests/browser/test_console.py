"""Steward, officer and auditor walk through the console in a real browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_django.live_server_helper import LiveServer

from audit import sequencer
from audit.keys import ensure_keys, log_verifier
from audit.verify import main
from governance import leases
from governance.models import Dataset
from governance.models.datasets import DatasetState
from governance.scoping import across_tenants
from tests.factories.datasets import PEOPLE_CSV
from tests.factories.people import PASSWORD, make_house

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
]


def _dataset() -> Dataset:
    with across_tenants(reason="a test looks"):
        found: Dataset = Dataset.objects.get(name="people")
    return found


def _sign_in(page: "Page", address: str, username: str) -> None:
    page.goto(f"{address}/admin/")
    page.fill("[name=username]", username)
    page.fill("[name=password]", PASSWORD)
    page.click("form [type=submit]")
    page.wait_for_selector("#nav-sidebar-apps")


def test_from_upload_to_a_verified_bundle(
    live_server: LiveServer, home: Path, tmp_path: Path, browser: Any
) -> None:
    ensure_keys()
    make_house()
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE_CSV)
    address = live_server.url

    # 1. The steward uploads a table, in English.
    steward = browser.window()
    steward.do(lambda page: _sign_in(page, address, "house-steward"))
    steward.do(lambda page: page.click("text=Upload a table"))

    def upload(page: "Page") -> str:
        page.set_input_files("input[name=file]", file)
        page.fill("[name=name]", "people")
        page.check("[name=purposes]")
        page.fill("[name=subject_column]", "national_id")
        page.click("button:has-text('Upload and profile')")
        page.wait_for_url("**/governance/dataset/*-*/")
        return page.inner_text(".pc-title")

    assert "quarantined" in steward.do(upload)

    # 2. A worker profiles it; the steward sees the plan, with masked samples and no value.
    leases.run_here(_dataset().reference)
    assert _dataset().state == DatasetState.PROPOSED
    steward.do(lambda page: page.wait_for_selector(".pc-plan"))  # the page renews itself
    plan = steward.do(lambda page: page.inner_text(".pc-plan"))
    assert "999-99-9999" in plan
    everything = steward.do(lambda page: page.content())
    for value in ("王小明", "John Carter", "219-09-9990", "13800138000"):
        assert value not in everything

    # 3. The officer finds it among the approvals, in Chinese, and approves.
    officer = browser.window(language="zh-CN")
    officer.do(lambda page: _sign_in(page, address, "house-officer"))
    assert "等待我处理" in officer.do(lambda page: page.inner_text("#content"))
    officer.do(lambda page: page.click(".pc-rows a:has-text('列方案')"))
    officer.do(lambda page: page.click("button:has-text('批准')"))
    officer.do(lambda page: page.wait_for_selector("text=您已批准。"))

    # 4. A worker anonymizes; the steward sees a sealed version without leaks.
    leases.run_here(_dataset().reference)
    assert _dataset().state == DatasetState.SEALED
    steward.do(lambda page: page.reload())
    steward.do(lambda page: page.wait_for_selector(".pc-title .pc-badge:has-text('sealed')"))
    assert "v1" in steward.do(lambda page: page.inner_text("#content"))

    # 5. The auditor takes the bundle away, and checks it without this system.
    sequencer.sequence_once()
    auditor = browser.window()
    auditor.do(lambda page: _sign_in(page, address, "house-auditor"))
    auditor.do(lambda page: page.goto(f"{address}/admin/audit/auditentry/"))
    bundle = tmp_path / "bundle.zip"

    def download(page: "Page") -> None:
        with page.expect_download() as coming:
            page.click("button:has-text('Download report bundle')")
        coming.value.save_as(bundle)

    auditor.do(download)
    assert main([str(bundle), "--vkey", str(log_verifier())]) == 0

    # 6. Nothing that the browser was told to load or run was refused.
    assert browser.errors == []
