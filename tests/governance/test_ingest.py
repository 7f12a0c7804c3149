"""An ingest from upload to sealed version, what stops it, and what a crash leaves behind."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit.errors import DomainError
from audit.models import AuditEntry
from governance import approvals, ingest, leases
from governance.actions.datasets import Declared, amend_plan
from governance.errors import ConflictError, RefusedError
from governance.ingest import treating
from governance.intake import Incoming, take_in
from governance.models import Dataset, DatasetVersion, Job, StoredObject
from governance.models.datasets import DatasetState
from governance.models.jobs import JobState
from governance.permissions import ProposalKind
from governance.scoping import across_tenants, tenant_scope
from governance.versions import frames
from tests.factories.datasets import PEOPLE_CSV, approve_plan, profiled, sealed, upload
from tests.factories.people import House, make_house

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]

SECRETS = (
    "王小明", "John Carter", "欧阳静", "Mary Jones", "李娜",
    "11010518991231004X", "219-09-9990", "13800138000", "212-555-0199",
)  # fmt: skip


@pytest.fixture
def house() -> House:
    return make_house()


def rows_of(version: DatasetVersion) -> list[dict[str, Any]]:
    return [row for frame in frames(version) for row in frame.to_dicts()]


def entries(event: str) -> list[dict[str, Any]]:
    bodies = AuditEntry.objects.filter(event=event).order_by("at").values_list("body", flat=True)
    return [json.loads(bytes(body)) for body in bodies]


def test_from_upload_to_a_version_without_anybody_in_it(house: House) -> None:
    dataset = sealed(house)
    assert dataset.state == DatasetState.SEALED
    with tenant_scope(house.id):
        version = DatasetVersion.objects.get(dataset=dataset)
        rows = rows_of(version)
    assert len(rows) == version.rows == 5
    text = json.dumps(rows, ensure_ascii=False)
    assert not [secret for secret in SECRETS if secret in text]
    assert [row["age"] for row in rows] == ["39", "50", "38", "53", "28"]
    assert [row["income"] for row in rows] == ["<=50K", ">50K", "<=50K", ">50K", "<=50K"]
    assert version.leaks == 0
    assert version.entity_counts["name"] == {"PERSON": 5}


def test_the_same_person_keeps_one_pseudonym(house: House) -> None:
    first, second = sealed(house), sealed(house, name="again")
    with tenant_scope(house.id):
        ids = [
            [row["national_id"] for row in rows_of(DatasetVersion.objects.get(dataset=dataset))]
            for dataset in (first, second)
        ]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 5


def test_nothing_in_the_clear_is_stored_or_recorded(house: House) -> None:
    dataset = sealed(house)
    kept = b"".join(
        path.read_bytes() for path in Path(settings.PORTCULLIS_HOME).rglob("*") if path.is_file()
    )
    with tenant_scope(house.id):
        plans = b"".join(bytes(plan.body) for plan in dataset.plans.all())
        logged = b"".join(bytes(entry.body) for entry in AuditEntry.objects.all())
    for secret in SECRETS:
        assert secret.encode() not in kept + plans + logged


def test_every_step_is_recorded(house: House) -> None:
    sealed(house)
    ways = AuditEntry.objects.order_by("at").values_list("event", "outcome")
    assert list(ways) == [
        ("dataset.uploaded", "done"),
        ("dataset.profiled", "done"),
        ("proposal.approved", "done"),
        ("dataset.anonymization_begun", "done"),
        ("dataset.group_sealed", "done"),
        ("dataset.sealed", "done"),
    ]
    begun = entries("dataset.anonymization_begun")[0]
    assert begun["actor"] == house.steward.reference  # the proposer's right, the officer's approval
    assert entries("dataset.sealed")[0]["facts"]["entities"]["PERSON"] >= 5
    both_ways = entries("dataset.group_sealed")[0]["facts"]
    assert both_ways["compared"] >= 20
    assert (both_ways["missed"], both_ways["left_out"]) == ({}, {})


def test_without_approval_nothing_is_anonymized(house: House) -> None:
    dataset = profiled(house)
    with tenant_scope(house.id):
        leases.enqueue("ingest.anonymize", dataset.reference, "ingest", tenant_id=house.id)
        Dataset.objects.filter(pk=dataset.pk).update(state=DatasetState.APPROVED)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, "approval.missing")
    assert entries("dataset.anonymization_begun")[0]["outcome"] == "denied"


@pytest.mark.parametrize(
    ("declared", "kind", "code"),
    [
        ({"purposes": ()}, RefusedError, "purpose.missing"),
        ({"purposes": ("marketing",)}, RefusedError, "purpose.unknown"),
        ({"name": "王小明"}, DomainError, "dataset.name_invalid"),
        ({"regimes": ("mars",)}, DomainError, "dataset.regime_unknown"),
        ({"languages": ()}, DomainError, "dataset.language_unknown"),
    ],
)
def test_an_upload_that_cannot_be_meant_leaves_nothing(
    house: House, declared: dict[str, Any], kind: type[DomainError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        upload(house, **declared)
    assert caught.value.stable_code == code
    with across_tenants(reason="looking for leftovers"):
        assert not Dataset.objects.exists()
        assert not StoredObject.objects.exists()
    assert not [p for p in Path(settings.PORTCULLIS_HOME, "objects").rglob("*") if p.is_file()]


def test_a_second_dataset_of_the_name_is_refused(house: House) -> None:
    upload(house)
    with pytest.raises(ConflictError) as caught:
        upload(house)
    assert caught.value.stable_code == "dataset.exists"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "table.empty"),
        (b"a,b\n1,2\n1,2,3\n", "table.ragged_row"),
        (b"a,a\n1,2\n", "table.duplicate_header"),
        (b"name,b\nabc,def\nxyz,q\x00q\n", "table.nul_byte"),
        (b"PK\x03\x04rest", "table.format_mismatch"),
    ],
)
def test_a_file_that_cannot_be_read_fails_with_its_code(
    house: House, content: bytes, code: str
) -> None:
    dataset = profiled(house, [content], format="csv", subject_column="")
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, code)
    stopped = entries("dataset.ingest_stopped")[0]
    assert (stopped["outcome"], stopped["reason"]) == ("failed", code)
    assert stopped["facts"] == {"stage": "profile", "code": code}


def test_a_subject_column_that_is_not_there_fails(house: House) -> None:
    dataset = profiled(house, subject_column="nobody")
    assert dataset.error_code == "recognition.unknown_column"


def expire_lease() -> None:
    with across_tenants(reason="as if the time had passed"):
        Job.objects.filter(state="running").update(
            leased_until=timezone.now() - timedelta(seconds=1)
        )


def test_a_worker_that_dies_is_replaced_and_its_leftovers_count_for_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = profiled(house)
    approve_plan(house, dataset)

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(treating, "rescan", die)  # killed in the middle of the table
        with pytest.raises(KeyboardInterrupt):
            leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert dataset.state == DatasetState.ANONYMIZING
    with across_tenants(reason="the job as the dead worker left it"):
        job = Job.objects.get(kind="ingest.group")
    assert leases.claim(job.id) is None  # the dead one's lease still runs
    expire_lease()
    ingest.treat(job.id)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert dataset.state == DatasetState.SEALED
    assert [entry["outcome"] for entry in entries("dataset.sealed")] == ["done"]


def test_a_dead_worker_that_comes_back_is_refused(house: House) -> None:
    dataset = upload(house)
    with across_tenants(reason="the only job"):
        job = Job.objects.get()
    old = leases.claim(job.id)
    assert old is not None
    expire_lease()
    ingest.profile(job.id)
    with tenant_scope(house.id), pytest.raises(DomainError) as caught, transaction.atomic():
        old.end(JobState.DONE)
    assert caught.value.stable_code == "job.lost_lease"
    dataset.refresh_from_db()
    assert dataset.state == DatasetState.PROPOSED


def test_the_sweeper_sends_what_nobody_took(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(house)
    assert leases.resend_due() == 0  # just written: its own message may be on the way
    sent: list[Any] = []
    monkeypatch.setitem(
        leases._work, "ingest.profile", leases.Work(send=sent.append, run=ingest.profile)
    )
    with across_tenants(reason="as if the time had passed"):
        Job.objects.update(sent_at=timezone.now() - timedelta(minutes=1))
        job = Job.objects.get()
    assert leases.resend_due() == 1
    assert sent == [job.id]


def test_a_gb18030_table_is_read_and_the_encoding_recorded(house: House) -> None:
    dataset = profiled(house, [PEOPLE_CSV.encode("gb18030")])
    assert dataset.state == DatasetState.PROPOSED
    assert entries("dataset.profiled")[0]["facts"]["encoding"].startswith("gb")


def test_a_file_that_kills_every_worker_is_given_up(house: House) -> None:
    dataset = upload(house)
    with across_tenants(reason="the only job"):
        job = Job.objects.get()
    for _ in range(ingest.ATTEMPTS):
        assert leases.claim(job.id) is not None
        expire_lease()
    ingest.profile(job.id)
    dataset.refresh_from_db()
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, "job.given_up")


def test_what_a_tenant_admin_uploads_waits_for_a_steward(house: House) -> None:
    with tenant_scope(house.id), leases.doing_it_here():
        dataset = take_in(
            house.owner,
            house.tenant,
            [Incoming([PEOPLE_CSV.encode()])],
            Declared("theirs", ("credit-risk-scoring",), subject_column="national_id"),
        )
        leases.run_here(dataset.reference)
        dataset.refresh_from_db()
        assert dataset.state == DatasetState.PROPOSED
        assert approvals.latest(ProposalKind.COLUMN_PLAN, dataset) is None
        plan = dataset.plans.get().as_json()
        amend_plan(house.steward, dataset, plan=plan, changed=0)
    approve_plan(house, dataset)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert dataset.state == DatasetState.SEALED
