"""The command line as a door: what it prints, how it exits, and that it tells nobody's secrets."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from django.core.management import call_command

from audit.keys import ensure_keys
from audit.models import AuditEntry
from audit.sequencer import sequence_once
from governance.models import Dataset, Job
from governance.permissions import Role
from governance.rbac import actor_named
from governance.scoping import tenant_scope
from tests.factories.datasets import DECLARATIONS, PEOPLE_CSV
from tests.factories.people import PASSWORD, House, make_house

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def house() -> House:
    return make_house()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE_CSV)
    return file


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json; its object, or {"exit", "code", "detail"}."""

    def call(*words: object) -> dict[str, Any]:
        try:
            call_command(*[str(word) for word in words], "--json")
        except SystemExit as error:
            told: dict[str, Any] = json.loads(capsys.readouterr().err)
            return told | {"exit": error.code}
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    return call


def ingest(run: Run, table: Path, *more: object) -> dict[str, Any]:
    return run(
        "ingest", table, "--name", "people", "--purpose", "credit-risk-scoring",
        "--as", "house-steward", "--subject-column", "national_id", *more,
    )  # fmt: skip


def test_ingest_approve_export(house: House, run: Run, table: Path, tmp_path: Path) -> None:
    declared = tmp_path / "declared.json"
    declared.write_text(json.dumps(DECLARATIONS))
    proposed = ingest(run, table, "--declare", declared)
    assert set(proposed) == {
        "dataset", "version", "proposal", "status", "rows", "entities", "undeclared_sensitive",
    }  # fmt: skip
    assert proposed["undeclared_sensitive"] == {"identity": ["national_id"]}
    assert (proposed["status"], proposed["version"], proposed["rows"]) == (
        "awaiting_approval", None, 5,
    )  # fmt: skip
    assert proposed["entities"]["name"]["PERSON"] >= 3
    approved = run("approve", proposed["proposal"], "--as", "house-officer")
    assert (approved["status"], approved["version"], approved["leaks"]) == ("sealed", 1, 0)
    for name in ("rows.csv", "rows.jsonl", "rows.parquet"):
        out = tmp_path / name
        told = run("export_version", "people", "--as", "house-engineer", "--out", out)
        assert told["rows"] == 5
        assert "王小明".encode() not in out.read_bytes()
    assert pl.read_parquet(tmp_path / "rows.parquet")["age"].to_list()[0] == "39"
    assert AuditEntry.objects.filter(event="dataset.version_exported", outcome="done").count() == 3


MORE = f"""{PEOPLE_CSV.splitlines()[0]}
赵敏,110101199003070054,13600136000,赵敏来电，咨询还款。,44,<=50K
"""
UNLIKE = f"""{PEOPLE_CSV.splitlines()[0]}
赵敏,110101199003070054,13600136000,赵敏来电。,44,赵敏 13600136000
"""


def test_declared_special_categories_are_no_news(house: House, table: Path, run: Run) -> None:
    assert ingest(run, table, "--sensitive", "identity")["undeclared_sensitive"] == {}
    unknown = ingest(run, table, "--sensitive", "shoe_size")
    assert (unknown["exit"], unknown["code"]) == (2, "dataset.sensitive_unknown")


def test_a_folder_is_one_table_and_takes_batches(
    house: House, run: Run, tmp_path: Path, table: Path
) -> None:
    folder = tmp_path / "months"
    folder.mkdir()
    (folder / "1.csv").write_text(PEOPLE_CSV)
    (folder / "2.csv").write_text(MORE)
    (folder / ".hidden").write_text("not a table")
    proposed = ingest(run, folder)
    assert (proposed["rows"], proposed["status"]) == (6, "awaiting_approval")
    assert run("approve", proposed["proposal"], "--as", "house-officer")["version"] == 1

    (tmp_path / "more.csv").write_text(MORE)
    words = ("--dataset", "people", "--as", "house-steward")
    assert run("append", tmp_path / "more.csv", table, *words) == {
        "dataset": "people", "batch": 2, "status": "sealed", "version": 2, "proposal": None,
        "rows": 12,
    }  # fmt: skip
    (tmp_path / "unlike.csv").write_text(UNLIKE)
    told = run("append", tmp_path / "unlike.csv", *words)
    assert (told["status"], told["version"]) == ("awaiting_approval", 2)
    approved = run("approve", told["proposal"], "--as", "house-officer")
    assert (approved["version"], approved["rows"], approved["leaks"]) == (3, 13, 0)


@pytest.mark.parametrize(
    ("content", "code"), [(None, "file.folder_empty"), ("a,b\n", "table.no_rows")]
)
def test_a_bad_folder(
    house: House, run: Run, tmp_path: Path, content: str | None, code: str
) -> None:
    folder = tmp_path / "months"
    folder.mkdir()
    if content is not None:
        (folder / "1.csv").write_text(content)
    told = ingest(run, folder)
    assert (told["code"], told["exit"]) == (code, 2)


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_how_far_it_is(
    house: House, run: Run, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from governance import following

    monkeypatch.setattr(following, "PAUSE", 0.01)
    screen = _Screen()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", screen)
        ingest(run, table)
    assert "reading: " in screen.getvalue()
    assert "rows" in screen.getvalue()
    assert "王小明" not in screen.getvalue()


def test_what_is_left_to_workers_can_be_waited_for(house: House, run: Run, table: Path) -> None:
    told = ingest(run, table, "--queue", "--wait", "--timeout", "0")
    assert (told["code"], told["exit"]) == ("dataset.wait_over", 3)
    assert Job.objects.model._base_manager.get().state == "waiting"


def test_export_bundle(house: House, run: Run, table: Path, tmp_path: Path) -> None:
    ensure_keys()
    ingest(run, table)
    sequence_once()
    told = run("export_bundle", "--as", "house-auditor", "--out", tmp_path / "bundle.zip")
    assert told["entries"] == 2
    assert (tmp_path / "bundle.zip").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (["--purpose", "marketing"], 3, "purpose.unknown"),
        (["--as", "nobody"], 2, "actor.unknown"),
        (["--as", "house-engineer"], 3, "permission.role_missing"),
        (["--tenant", "rival"], 2, "actor.unknown"),
        (["--regime", "mars"], 2, "dataset.regime_unknown"),
        (["--encoding", "klingon"], 2, "table.encoding_unsupported"),
        (["--subject-column", "nobody"], 2, "recognition.unknown_column"),
        (["--format", "parquet"], 2, "table.format_mismatch"),
        (["--declare", "/nowhere"], 2, "declarations.unreadable"),
    ],
)
def test_a_refused_ingest(
    house: House, run: Run, table: Path, words: list[str], exit_code: int, code: str
) -> None:
    make_house("rival")
    told = ingest(run, table, *words)
    assert (told["exit"], told["code"]) == (exit_code, code)
    assert not [name for name in ("王小明", "John Carter", "1399") if name in json.dumps(told)]


def test_another_tenants_dataset_looks_like_none(house: House, run: Run, table: Path) -> None:
    make_house("rival")
    ingest(run, table)
    with tenant_scope(house.id):
        dataset = Dataset.objects.get()
    answers = [
        run("export_version", which, "--as", "rival-steward", "--out", "/tmp/none.csv")  # noqa: S108
        for which in (dataset.id, "people", "00000000-0000-0000-0000-000000000000")
    ]
    assert {(told["exit"], told["code"], told["detail"]) for told in answers} == {
        (2, "not_found", "there is no such dataset here")
    }
    refused = AuditEntry.objects.filter(event="access.refused", outcome="denied")
    assert refused.count() == 3


def test_nobody_approves_their_own(house: House, run: Run, table: Path) -> None:
    proposed = ingest(run, table)
    told = run("approve", proposed["proposal"], "--as", "house-steward")
    assert (told["exit"], told["code"]) == (3, "permission.role_missing")


def test_an_export_never_overwrites(house: House, run: Run, table: Path, tmp_path: Path) -> None:
    proposed = ingest(run, table)
    run("approve", proposed["proposal"], "--as", "house-officer")
    told = run("export_version", "people", "--as", "house-steward", "--out", table)
    assert (told["exit"], told["code"]) == (2, "file.exists")
    assert table.read_text() == PEOPLE_CSV
    told = run("export_version", "people", "--as", "house-steward", "--out", tmp_path / "x.exe")
    assert told["code"] == "table.format_unknown"


def test_sweep_and_rotate_print_counts(house: House, run: Run, table: Path) -> None:
    ingest(run, table)
    assert run("rotate_keys", "--level", "root", "--as", "house-platform")["rewrapped"] >= 3


def test_a_first_day_from_the_command_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for whose in ("OFFICER", "PLATFORM", "USER"):
        monkeypatch.setenv(f"PORTCULLIS_{whose}_PASSWORD", PASSWORD)
    call_command(
        "bootstrap", "--tenant", "house", "--name", "House", "--officer", "olga",
        "--platform", "pat",
    )  # fmt: skip
    capsys.readouterr()  # what the bootstrap said
    assert run("add_user", "sam", "--as", "pat")["user"]
    proposed = run("propose_role", "sam", "steward", "--as", "pat")
    assert run("approve", proposed["proposal"], "--as", "olga")["complete"]
    assert run("create_tenant", "acme", "--name", "Acme", "--customer", "--as", "pat") == {
        "tenant": "acme",
        "suite": "aes-gcm",
    }
    declared = run(
        "declare_purpose", "scoring", "--title", "Scoring", "--basis", "contract", "--as", "olga"
    )
    assert declared == {"purpose": "scoring", "legal_basis": "contract"}
    assert actor_named("sam").roles() == {Role.STEWARD}
    told = run("propose_role", "nobody", "steward", "--as", "pat")
    assert (told["exit"], told["code"]) == (2, "role.subject_unknown")
    told = run("declare_purpose", "x", "--title", "X", "--basis", "consent", "--as", "sam")
    assert (told["exit"], told["code"]) == (3, "permission.role_missing")


def test_a_name_that_is_nobodys_leaves_a_refusal_without_it(
    house: House, run: Run, table: Path
) -> None:
    told = ingest(run, table, "--as", "zhangsan")
    assert (told["exit"], told["code"]) == (2, "actor.unknown")
    entry = AuditEntry.objects.get(event="access.login_refused")
    assert (entry.outcome, entry.actor, entry.tenant) == (
        "denied",
        "system:terminal",
        str(house.id),
    )
    assert b"zhangsan" not in bytes(entry.body)
