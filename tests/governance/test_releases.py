"""Rows for somebody: hidden well enough, or not without a person's word."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings

from audit.canonical import canonical
from audit.models import AuditEntry
from governance import approvals
from governance.actions.proposals import approve_proposal, reject_proposal
from governance.errors import ConflictError, InvalidError, RefusedError
from governance.exporting import export, propose
from governance.models import ColumnPlanVersion, Dataset, DatasetVersion, Proposal
from governance.models.datasets import DatasetState
from governance.models.releases import DataRelease, RecipientClass
from governance.permissions import ProposalKind
from governance.recognition.plan import ColumnPlan, Declared, Evidence, Kind, PlannedColumn
from governance.releasing import Asked, assess, subject_of
from governance.scoping import tenant_scope
from governance.tables.writing import ParquetChunkWriter
from governance.vault import ObjectWriter
from tests.factories.people import House, make_house

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]

EXTERNAL, PUBLIC, INTERNAL = (
    RecipientClass.EXTERNAL, RecipientClass.PUBLIC, RecipientClass.INTERNAL,
)  # fmt: skip
PLAN = ColumnPlan(
    tuple(
        PlannedColumn(name, kind, entity, {"operator": operator}, Evidence(), declared)
        for name, kind, entity, operator, declared in (
            ("id", Kind.TYPED, "SUBJECT_ID", "pseudonym", Declared.SUBJECT),
            ("phone", Kind.TYPED, "PHONE_NUMBER", "keep", None),
            ("note", Kind.PROSE, None, "replace", None),
            ("age", Kind.FREE, None, "keep", None),
            ("job", Kind.FREE, None, "keep", None),
            ("income", Kind.FREE, None, "keep", Declared.TARGET),
            ("hours", Kind.FREE, None, "keep", None),
        )
    ),
    detector="test",
)
JOBS = ["clerk"] * 6 + ["nurse"] * 3 + ["smith"]


def rows_of(count: int) -> dict[str, list[str | None]]:
    """Ages from 20 to 79 and ten jobs; income half and half in each."""
    numbers = range(count)
    return {
        "id": [f"P{n:05d}" for n in numbers],
        "phone": [f"x{n % 7}" for n in numbers],
        "note": ["<PERSON> called" for n in numbers],
        "age": [str(20 + n * 7 % 60) for n in numbers],
        "job": [JOBS[n // 3 % 10] for n in numbers],
        "income": [">50K" if n // 11 % 2 else "<=50K" for n in numbers],
        "hours": [str(30 + n % 4) for n in numbers],
    }


def make_version(house: House, rows: int = 600, *, number: int = 1) -> DatasetVersion:
    table = rows_of(rows)
    with tenant_scope(house.id):
        dataset = Dataset.objects.filter(name="people").first() or Dataset.objects.create(
            tenant=house.tenant,
            name="people",
            state=DatasetState.SEALED,
            uploaded_by=house.user(house.steward),
        )
        plan = ColumnPlanVersion.objects.create(
            tenant=house.tenant, dataset=dataset, number=number, body=canonical(PLAN.as_dict()),
            digest="0" * 64, detector="test",
        )  # fmt: skip
        with ObjectWriter(house.tenant, "version") as writer:
            parquet = ParquetChunkWriter(writer, list(table))
            parquet.write(table)
            parquet.close()
            stored = writer.finish()
        stored.save(force_insert=True)
        version: DatasetVersion = DatasetVersion.objects.create(
            tenant=house.tenant, dataset=dataset, number=number, stored=stored, plan=plan,
            rows=rows, detector="test", digest="0" * 64,
            columns=[
                {
                    "name": column.name, "kind": column.kind.value, "entity": column.entity,
                    "operator": column.operator["operator"],
                    "declared": None if column.declared is None else column.declared.value,
                }
                for column in PLAN.columns
            ],
        )  # fmt: skip
    return version


@pytest.fixture
def house() -> House:
    return make_house()


@pytest.fixture
def version(house: House) -> DatasetVersion:
    return make_version(house)


def asked(**changed: Any) -> Asked:
    usual: dict[str, Any] = {
        "recipient": "acme",
        "kind": EXTERNAL,
        "quasi": ("age", "job"),
        "sensitive": ("income",),
    }
    return Asked(**(usual | changed))


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.parametrize(("kind", "k"), [(INTERNAL, 5), (EXTERNAL, 11), (PUBLIC, 20)])
def test_what_goes_out_meets_the_thresholds_of_whom_it_goes_to(
    house: House, version: DatasetVersion, tmp_path: Path, kind: RecipientClass, k: int
) -> None:
    out = tmp_path / "rows.csv"
    with tenant_scope(house.id):
        release = export(house.steward, version, out, asked(kind=kind))
        stored = DataRelease.objects.get()
    rows = read(out)
    assert set(rows[0]) == {"age", "job", "income"}  # and no other column
    classes = Counter((row["age"], row["job"]) for row in rows)
    assert min(classes.values()) >= k
    for one in classes:
        assert len({r["income"] for r in rows if (r["age"], r["job"]) == one}) == 2
    assert stored == release
    assert stored.rows + stored.suppressed == 600
    assert stored.suppressed <= 60
    assert len(rows) == stored.rows
    assert stored.measures["k"] == min(classes.values())
    assert stored.measures["classes"] == len(classes)
    assert Decimal(stored.measures["t"]) <= Decimal("0.3")
    assert (stored.level, stored.needs_human, stored.reasons) == (3, False, [])
    assert stored.digest == hashlib.sha256(out.read_bytes()).hexdigest()
    body = json.loads(bytes(AuditEntry.objects.get(event="dataset.version_exported").body))
    assert body["facts"]["k"] == stored.measures["k"]
    assert body["facts"]["release"] == stored.reference
    assert "acme" not in json.dumps(body)  # a recipient may be a person


def test_a_whole_version_within_the_house_is_recorded_and_not_measured(
    house: House, version: DatasetVersion, tmp_path: Path
) -> None:
    with tenant_scope(house.id):
        export(house.steward, version, tmp_path / "rows.csv")
        release = DataRelease.objects.get()
    assert release.measures == {}
    assert (release.recipient, release.recipient_class, release.rows) == ("house", INTERNAL, 600)
    assert release.level == 1  # the phone column was kept
    assert set(read(tmp_path / "rows.csv")[0]) == set(rows_of(1))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"recipient": ""}, "release.recipient_invalid"),
    ({"recipient": "Ada Lovelace"}, "release.recipient_invalid"),
    ({"recipient": "王"}, "release.recipient_invalid"),
    ({"recipient": "a" * 61}, "release.recipient_invalid"),
    ({"quasi": ()}, "release.quasi_missing"),
    ({"quasi": ("age", "nothing")}, "release.column_unknown"),
    ({"levels": {"income": 1}}, "release.column_unknown"),
    ({"sensitive": ("age",)}, "release.column_twice"),
    ({"as_is": ("id",)}, "release.column_unfit"),
    ({"as_is": ("phone",)}, "release.column_unfit"),
    ({"as_is": ("note",)}, "release.column_unfit"),
    ({"k": 10}, "release.threshold_laxer"),
    ({"l": 1}, "release.threshold_laxer"),
    ({"t": Decimal("0.31")}, "release.threshold_laxer"),
    ({"t": Decimal("NaN")}, "release.threshold_laxer"),
    ({"levels": {"age": 99}}, "release.level_unknown"),
]


@pytest.mark.parametrize(("changed", "code"), REFUSED)
def test_what_cannot_be_meant_is_refused(
    house: House, version: DatasetVersion, tmp_path: Path, changed: dict[str, Any], code: str
) -> None:
    with (
        tenant_scope(house.id),
        pytest.raises((InvalidError, RefusedError)) as caught,
    ):
        export(house.steward, version, tmp_path / "rows.csv", asked(**changed))
    assert caught.value.stable_code == code
    assert not (tmp_path / "rows.csv").exists()


def test_within_the_house_links_may_go_out_as_they_are(
    house: House, version: DatasetVersion, tmp_path: Path
) -> None:
    with tenant_scope(house.id):
        release = export(
            house.steward, version, tmp_path / "r.csv", asked(kind=INTERNAL, as_is=("id", "phone"))
        )
    assert release.level == 1
    assert len({row["id"] for row in read(tmp_path / "r.csv")}) == release.rows


def test_stricter_thresholds_are_kept(
    house: House, version: DatasetVersion, tmp_path: Path
) -> None:
    with tenant_scope(house.id), override_settings(RELEASE_K={"external": 30}):
        release = export(house.steward, version, tmp_path / "a.csv", asked())
        assert release.measures["k"] >= 30
        release = export(house.steward, version, tmp_path / "b.csv", asked(recipient="b", k=50))
        assert release.measures["k"] >= 50


CHOSEN = {"levels": {"age": 0}, "k": 40}


def unmet(house: House, version: DatasetVersion, out: Path, **changed: Any) -> str:
    with tenant_scope(house.id), pytest.raises(RefusedError) as caught:
        export(house.steward, version, out, asked(**(CHOSEN | changed)))
    assert not out.exists()
    return caught.value.stable_code


def test_what_misses_needs_the_officer_and_is_approved_once_and_as_it_was(
    house: House, version: DatasetVersion, tmp_path: Path
) -> None:
    out = tmp_path / "rows.csv"
    assert unmet(house, version, out) == "release.k_missed"
    with tenant_scope(house.id):
        proposal, assessed = propose(house.steward, version, asked(**CHOSEN))
        assert assessed.reasons == ("release.k_missed",)
        assert assessed.level == 2
    assert unmet(house, version, out) == "approval.missing"
    with tenant_scope(house.id):
        approve_proposal(house.officer, proposal)
    # Another form than the approved one does not pass.
    assert unmet(house, version, out, levels={"age": 0, "job": 1}) == "approval.payload_changed"
    with tenant_scope(house.id):
        release = export(house.steward, version, out, asked(**CHOSEN))
        assert release.needs_human
        assert release.reasons == ["release.k_missed"]
        assert release.suppressed == 0
        assert len(read(out)) == 600
        used = Proposal.objects.get(pk=proposal.pk)
        assert used.used_at is not None
    assert unmet(house, version, tmp_path / "again.csv") == "approval.used"


def test_a_rejected_release_stays(house: House, version: DatasetVersion, tmp_path: Path) -> None:
    with tenant_scope(house.id):
        proposal, _ = propose(house.steward, version, asked(**CHOSEN))
        reject_proposal(house.officer, proposal)
    assert unmet(house, version, tmp_path / "rows.csv") == "approval.rejected"


def test_nobody_is_asked_where_nobody_has_to_decide(house: House, version: DatasetVersion) -> None:
    with tenant_scope(house.id), pytest.raises(ConflictError) as caught:
        propose(house.steward, version, asked())
    assert caught.value.stable_code == "release.nothing_to_approve"


@pytest.mark.parametrize("who", ["officer", "engineer", "auditor", "platform"])
def test_only_a_steward_proposes(house: House, version: DatasetVersion, who: str) -> None:
    from audit.errors import RefusedError as Denied

    with tenant_scope(house.id), pytest.raises(Denied):
        propose(getattr(house, who), version, asked(**CHOSEN))


SECOND: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),  # the very same again
    ({"recipient": "other"}, None),
    ({"quasi": ("age",)}, "release.intersection"),
    ({"as_is": ("hours",)}, "release.intersection"),
    ({"sensitive": ()}, "release.intersection"),
    ({"k": 60}, "release.intersection"),
    ({"kind": INTERNAL}, "release.intersection"),  # finer classes for the same recipient
]


@pytest.mark.parametrize(("changed", "code"), SECOND)
def test_a_second_form_for_one_recipient_is_an_intersection(
    house: House,
    version: DatasetVersion,
    tmp_path: Path,
    changed: dict[str, Any],
    code: str | None,
) -> None:
    with tenant_scope(house.id):
        export(house.steward, version, tmp_path / "a.csv", asked())
        wanted = asked(**changed)
        if code is None:
            export(house.steward, version, tmp_path / "b.csv", wanted)
            return
        with pytest.raises(RefusedError) as caught:
            export(house.steward, version, tmp_path / "b.csv", wanted)
        assert caught.value.stable_code == code
        assert not (tmp_path / "b.csv").exists()
        proposal, _ = propose(house.steward, version, wanted)
        approve_proposal(house.officer, proposal)
        release = export(house.steward, version, tmp_path / "b.csv", wanted)
        assert release.reasons == [code]


def test_another_version_for_one_recipient_is_an_intersection(
    house: House, version: DatasetVersion, tmp_path: Path
) -> None:
    with tenant_scope(house.id):
        export(house.steward, version, tmp_path / "a.csv", asked())
    later = make_version(house, 660, number=2)
    with tenant_scope(house.id), pytest.raises(RefusedError) as caught:
        export(house.steward, later, tmp_path / "b.csv", asked())
    assert caught.value.stable_code == "release.intersection"


def test_a_table_that_can_never_meet_its_thresholds(house: House, tmp_path: Path) -> None:
    small = make_version(house, 8)
    with tenant_scope(house.id):
        assessed = assess(small, asked())
        assert set(assessed.measures["quasi"].values()) == {"*"}
        assert assessed.reasons[0] == "release.k_missed"
        with pytest.raises(RefusedError):
            export(house.steward, small, tmp_path / "a.csv", asked())
    assert list(tmp_path.glob("*.csv")) == []


def test_a_kept_identifier_makes_it_level_1_and_needs_a_person(
    house: House, version: DatasetVersion
) -> None:
    with tenant_scope(house.id):
        assessed = assess(version, asked(sensitive=("phone",), quasi=("job",)))
    assert assessed.level == 1
    assert "release.direct_identifiers" in assessed.reasons


def test_the_proposal_names_no_recipient_in_its_subject(
    house: House, version: DatasetVersion
) -> None:
    with tenant_scope(house.id):
        proposal, _ = propose(house.steward, version, asked(**CHOSEN))
        latest = approvals.latest(ProposalKind.DATA_RELEASE, subject_of(version, "acme"))
    assert latest == proposal
    assert "acme" not in proposal.subject


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_format(house: House, version: DatasetVersion, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"rows.{suffix}"
    with tenant_scope(house.id):
        release = export(house.steward, version, out, asked())
    assert hashlib.sha256(out.read_bytes()).hexdigest() == release.digest


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object) -> dict[str, Any]:
        try:
            call_command(*[str(word) for word in words], "--json")
        except SystemExit as error:
            told: dict[str, Any] = json.loads(capsys.readouterr().err)
            return told | {"exit": error.code}
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    return call


def test_the_command(house: House, version: DatasetVersion, tmp_path: Path, run: Run) -> None:
    usual = (
        "export_version", "people", "--as", "house-steward", "--recipient", "acme",
        "--quasi", "age,job", "--sensitive", "income", "--out",
    )  # fmt: skip
    told = run(*usual, tmp_path / "a.csv")
    assert told["recipient_class"] == "external"
    assert told["k"] >= 11
    assert "anonymous" not in json.dumps(told).casefold()
    other = (*usual, tmp_path / "b.csv", "--recipient-class", "internal", "--as-is", "hours")
    assert run(*other)["code"] == "release.intersection"
    proposed = run(*other, "--propose")
    assert proposed["reasons"] == ["release.intersection"]
    assert not (tmp_path / "b.csv").exists()
    run("approve", proposed["proposal"], "--as", "house-officer")
    assert run(*other)["needs_human"] is True
    assert run("export_version", "people", "--as", "house-steward", "--propose")["exit"] == 2
    assert run("export_version", "people", "--as", "house-steward")["code"] == "file.missing"
    bad = run(*usual, tmp_path / "c.csv", "--levels", "age")
    assert bad["code"] == "release.level_unknown"
    assert run(*usual, tmp_path / "c.csv", "--t", "much")["code"] == "release.threshold_laxer"
