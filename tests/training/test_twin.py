"""A synthetic twin: the columns of a version, no row of it, and what it costs."""

import csv
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from django.core.management import call_command
from django.utils import timezone

from audit.errors import RefusedError
from audit.models import AuditEntry
from governance import leases
from governance.errors import InvalidError, LostLeaseError
from governance.models import Job
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, make_house
from tests.factories.processes import forked
from tests.factories.training import DECLARATIONS, make_version, rows_of
from training import ledger, twin
from training.backgrounds import SENTENCES
from training.charges import Part, cost
from training.errors import BudgetError, ConfigError, RunRefusedError
from training.marginals import Bins, bins_of, noisy_marginals
from training.mechanisms import Mechanism, Purpose
from training.models import Budget, Run, RunState
from training.randomness import seeded_source
from training.recomputation import recompute
from training.twin import synthesize

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]


@pytest.fixture
def house() -> House:
    return make_house()


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.parametrize("epsilon", [None, "1"])
def test_a_twin_has_the_columns_and_no_row(
    house: House, tmp_path: Path, epsilon: str | None
) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        made = synthesize(house.engineer, version, 500, tmp_path / "twin.csv", epsilon)
    source = rows_of()
    rows = read(tmp_path / "twin.csv")
    assert len(rows) == 500
    assert set(rows[0]) == set(source) == set(made.columns)
    # Nothing that names one record is in the twin: ids, names, phones.
    for name in ("person", "name", "phone"):
        assert not {row[name] for row in rows} & set(source[name])
    # And what may be in it is what was declared.
    assert {row["sex"] for row in rows} == {"Female", "Male"}
    assert {row["income"] for row in rows} == {">50K", "<=50K"}
    assert all(17 <= int(row["age"]) <= 90 for row in rows)
    assert len({tuple(row.values()) for row in rows}) == 500


@pytest.mark.parametrize("epsilon", [None, "1"])
def test_a_text_that_an_encoder_reads_is_a_public_sentence(
    house: House, tmp_path: Path, epsilon: str | None
) -> None:
    said = {"kind": "encoded", "encoder": "minilm-l6"}
    declared = {**DECLARATIONS["columns"], "note": said, "hours": said, "phone": said}
    version = make_version(house, declarations={**DECLARATIONS, "columns": declared})
    with tenant_scope(house.id):
        synthesize(house.engineer, version, 200, tmp_path / "twin.csv", epsilon)
    rows = read(tmp_path / "twin.csv")
    for name in ("note", "hours"):
        assert {row[name] for row in rows} == set(SENTENCES)
    assert not {row["phone"] for row in rows} & set(SENTENCES)  # an identifier stays one


def test_without_epsilon_no_row_is_read_and_nothing_is_charged(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_version: Any) -> Any:
        pytest.fail("a row was read")

    monkeypatch.setattr(twin, "frames", never)
    version = make_version(house)
    with tenant_scope(house.id):
        made = synthesize(house.engineer, version, 20, tmp_path / "twin.jsonl")
        assert (made.epsilon, made.run) == ("0", "")
        assert not Run.objects.exists()
        assert not Budget.objects.exists()


def test_with_epsilon_the_ledger_is_charged_what_was_asked(house: House, tmp_path: Path) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        made = synthesize(house.engineer, version, 20, tmp_path / "twin.parquet", "1")
        budget = Budget.objects.get()
        statement = ledger.statement(budget)
        run = Run.objects.get()
        account = ledger.account(run, 1)
        recomputed = recompute(budget)
    assert made.run == run.reference
    assert run.state == RunState.FINISHED
    assert account.closed
    assert {charge.part for charge in account.ahead} == set(Part)  # every row was read
    assert {charge.mechanism.purpose for charge in account.ahead} == {Purpose.TWIN}
    assert 0.9 < statement.spent <= 1.0
    assert statement.spent == pytest.approx(cost(account.ahead, float(budget.delta)))
    assert recomputed.agrees(statement.spent, statement.spent + statement.reserved)
    events = list(AuditEntry.objects.order_by("at").values_list("event", flat=True))
    assert events[-2:] == ["dataset.twin_begun", "dataset.twin_written"]


def test_a_twin_that_dies_is_charged(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make_version(house)

    def dies(*_: Any, **__: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(twin, "noisy_marginals", dies)
    with tenant_scope(house.id):
        with pytest.raises(RuntimeError):
            synthesize(house.engineer, version, 20, tmp_path / "twin.csv", "1")
        run = Run.objects.get()
        assert run.state == RunState.FAILED
        assert ledger.statement(Budget.objects.get()).spent > 0.9
    assert list(tmp_path.glob("*twin*")) == []


@pytest.mark.parametrize(
    ("rows", "epsilon", "error", "code"),
    [
        (0, None, InvalidError, "twin.rows_invalid"),
        (10**8, None, InvalidError, "twin.rows_invalid"),
        (5, "much", ConfigError, "run.epsilon_invalid"),
        (5, "0", ConfigError, "run.epsilon_invalid"),
        (5, "4", RunRefusedError, "twin.epsilon_over"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    house: House, tmp_path: Path, rows: int, epsilon: str | None, error: type[Exception], code: str
) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        with pytest.raises(error) as caught:
            synthesize(house.engineer, version, rows, tmp_path / "twin.csv", epsilon)
        assert not Run.objects.exists()
    assert getattr(caught.value, "stable_code", "") == code
    assert not (tmp_path / "twin.csv").exists()


def test_the_budget_ends(house: House, tmp_path: Path) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        Budget.objects.create(
            tenant=house.tenant, dataset=version.dataset, epsilon_cap=Decimal(1),
            delta=Decimal("0.00001"),
        )  # fmt: skip
        synthesize(house.engineer, version, 5, tmp_path / "a.csv", "0.9")
        with pytest.raises(BudgetError):
            synthesize(house.engineer, version, 5, tmp_path / "b.csv", "0.9")
        assert Run.objects.count() == 1


def test_nothing_public_to_count(house: House, tmp_path: Path) -> None:
    version = make_version(house, declarations={})
    with tenant_scope(house.id), pytest.raises(RunRefusedError) as caught:
        synthesize(house.engineer, version, 5, tmp_path / "a.csv", "1")
    assert caught.value.stable_code == "twin.nothing_public"


@pytest.mark.parametrize("who", ["steward", "officer", "auditor", "owner", "platform"])
def test_only_engineers_ask(house: House, tmp_path: Path, who: str) -> None:
    version = make_version(house)
    with tenant_scope(house.id), pytest.raises(RefusedError):
        synthesize(getattr(house, who), version, 5, tmp_path / "a.csv")


def test_the_command(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_version(house)
    out = str(tmp_path / "twin.csv")
    words = ["synthesize", "people", "--rows", "7", "--out", out, "--as", "house-engineer"]
    call_command(*words, "--epsilon", "0.5", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["epsilon"]) == (7, "0.500000")
    assert len(read(Path(out))) == 7


BINS: list[tuple[dict[str, Any], bool, int | None]] = [
    ({"kind": "category", "values": ["a", "b "]}, False, 2),
    ({"kind": "category"}, False, None),
    ({"kind": "numeric", "low": 0, "high": 100}, False, 32),
    ({"kind": "numeric", "low": 0, "high": 5}, False, 5),
    ({"kind": "numeric", "low": 0.5, "high": 1.5}, False, 32),
    ({"kind": "numeric"}, False, 101),
    ({}, True, 101),
    ({}, False, None),
    ({"kind": "text"}, False, None),
]


@pytest.mark.parametrize(("declared", "numeric", "size"), BINS)
def test_bins_are_public(declared: dict[str, Any], *, numeric: bool, size: int | None) -> None:
    bins = bins_of(declared, numeric=numeric)
    assert (None if bins is None else len(bins)) == size


def test_the_noise_is_that_of_k_histograms() -> None:
    """Standard deviation σ√k around the counts; one record moves k bins by one each."""
    bins = {name: Bins(values=tuple("abcdefgh")) for name in ("x", "y", "z", "w")}
    frame = pl.DataFrame({name: [*"aab", None, "?"] for name in bins})
    source = seeded_source(3, allow_seeded=True)
    found = [noisy_marginals([frame, frame], bins, Mechanism(5.0), source) for _ in range(300)]
    residuals = np.concatenate(
        [counts - np.array([4, 2, 0, 0, 0, 0, 0, 0]) for one in found for counts in one.values()]
    )
    assert abs(residuals.mean()) < 0.5
    assert residuals.std() == pytest.approx(10.0, rel=0.05)
    assert (residuals == np.rint(residuals)).all()


def test_marginals_are_followed() -> None:
    bins = Bins(values=("rare", "usual"))
    generator = np.random.default_rng(1)
    drawn = bins.draw(1000, np.array([-3.0, 50.0]), generator)
    assert set(drawn) == {"usual"}
    even = bins.draw(1000, np.array([-3.0, -1.0]), generator)
    assert 400 < even.count("rare") < 600
    assert DECLARATIONS["columns"]["age"]["low"] == 17


def lost(run: Run) -> None:
    """The process that drew the twin is dead, and its lease is over."""
    long_ago = timezone.now() - timedelta(minutes=5)
    with across_tenants(reason="a test turns the clock"):
        Job.objects.filter(subject=run.reference).update(leased_until=long_ago, sent_at=long_ago)


@pytest.mark.parametrize(
    ("dies_in", "charged"), [("write_ahead", False), ("noisy_marginals", True)]
)
def test_the_sweeper_ends_what_a_dead_process_left(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_in: str, *, charged: bool
) -> None:
    version = make_version(house)

    class Killed(BaseException):
        """Nothing of this process runs after it."""

    def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    with tenant_scope(house.id), monkeypatch.context() as patch:
        patch.setattr(twin, dies_in, killed)
        patch.setattr(twin, "stop_twin", killed)
        with pytest.raises(Killed):
            synthesize(house.engineer, version, 20, tmp_path / "twin.csv", "1")
    with tenant_scope(house.id):
        run = Run.objects.get()
    assert leases.resend_due() == 0  # the lease holds
    lost(run)
    assert leases.resend_due() == 1
    assert leases.resend_due() == 0
    with tenant_scope(house.id):
        run.refresh_from_db()
        budget = Budget.objects.get()
        said, again = ledger.statement(budget), recompute(budget)
        job = Job.objects.get(subject=run.reference)
    assert (run.state, run.error_code, job.state) == (RunState.FAILED, "run.worker_lost", "failed")
    assert (said.spent > 0.9, said.reserved) == (charged, 0)
    assert again.agrees(said.spent, said.spent)
    entry = AuditEntry.objects.get(event="dataset.twin_lost")
    assert json.loads(bytes(entry.body))["facts"]["run"] == run.reference


def test_a_process_that_was_taken_for_dead_writes_no_twin(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make_version(house)
    measured = noisy_marginals

    def slow(*given: Any, **named: Any) -> Any:
        lost(Run.objects.get())
        assert leases.resend_due() == 1
        return measured(*given, **named)

    monkeypatch.setattr(twin, "noisy_marginals", slow)
    with tenant_scope(house.id):
        with pytest.raises(LostLeaseError):
            synthesize(house.engineer, version, 20, tmp_path / "twin.csv", "1")
        run = Run.objects.get()
        assert (run.state, run.error_code) == (RunState.FAILED, "run.worker_lost")
        assert ledger.statement(Budget.objects.get()).spent > 0.9
    assert list(tmp_path.glob("*twin*")) == []
    assert not AuditEntry.objects.filter(event="dataset.twin_written", outcome="done").exists()


@pytest.mark.slow
def test_killed_for_real(house: House, home: Path) -> None:
    version = make_version(house)
    ends = forked(home, "synthesize", f"{version.pk}:begun", f"{version.pk}:ahead")
    assert ends == [-9, -9]
    with tenant_scope(house.id):
        runs = list(Run.objects.order_by("created_at"))
    assert [run.state for run in runs] == [RunState.RUNNING] * 2
    for run in runs:
        lost(run)
    assert leases.resend_due() == 2
    with tenant_scope(house.id):
        for run in runs:
            run.refresh_from_db()
        assert [run.state for run in runs] == [RunState.FAILED] * 2
        assert [bool(ledger.account(run, 1).ahead) for run in runs] == [False, True]
        said = ledger.statement(Budget.objects.get())
    assert 0.4 < said.spent <= 0.5
    assert said.reserved == 0
