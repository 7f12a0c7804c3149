"""Row groups and batches: cut exactly, treated one by one, merged once, appended to, stopped."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, transaction

from audit.errors import DomainError
from audit.models import AuditEntry
from governance import approvals, ingest, leases
from governance.actions import anonymization
from governance.actions.datasets import amend_plan
from governance.actions.readings import reread_dataset
from governance.anonymization import release
from governance.errors import SealError
from governance.ingest import profiling, staging, treating
from governance.ingest.staging import Stager, chunks
from governance.models import (
    Batch,
    Dataset,
    DatasetVersion,
    Job,
    Part,
    RowGroup,
    SealedGroup,
    StoredObject,
)
from governance.models.datasets import DatasetState
from governance.models.jobs import JobState
from governance.permissions import ProposalKind
from governance.progress import progress_of
from governance.rbac import UserActor
from governance.recognition.plan import ColumnPlan, Kind
from governance.scoping import across_tenants, tenant_scope
from governance.versions import entries, frames
from tests.factories.datasets import (
    PEOPLE_CSV,
    appended,
    approve_plan,
    first_file,
    profiled,
    sealed,
    upload,
)
from tests.factories.people import House, make_house

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]

HEADER = PEOPLE_CSV.splitlines()[0]
MORE_CSV = f"""{HEADER}
赵敏,110101199003070054,13600136000,赵敏来电，咨询还款。,44,<=50K
Ann Smith,219-09-9992,212-555-0197,Ann Smith asked about the rate.,29,>50K
"""
WITH_PHONES_AS_AGES = f"""{HEADER}
赵敏,110101199003070054,13600136000,赵敏来电，咨询还款。,44,赵敏 13600136000
Ann Smith,219-09-9992,212-555-0197,Ann Smith asked about the rate.,29,Ann Smith 13800138000
"""


@pytest.fixture
def house() -> House:
    return make_house()


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "GROUP_ROWS", 2)
    monkeypatch.setattr(profiling, "ROWS", 2)


@pytest.fixture
def scoped(house: House) -> Iterator[None]:
    with tenant_scope(house.id):
        yield


def rows_of(version: DatasetVersion) -> list[dict[str, Any]]:
    return [row for frame in frames(version) for row in frame.to_dicts()]


def version_of(dataset: Dataset) -> DatasetVersion:
    return dataset.versions.select_related("stored", "dataset").latest("number")


def events(*names: str) -> list[tuple[str, str]]:
    found = AuditEntry.objects.filter(event__in=names).order_by("at")
    return list(found.values_list("event", "outcome"))


def facts(event: str) -> list[dict[str, Any]]:
    bodies = AuditEntry.objects.filter(event=event).order_by("at").values_list("body", flat=True)
    return [json.loads(bytes(body))["facts"] for body in bodies]


def jobs(kind: str, **where: Any) -> int:
    with across_tenants(reason="a test counts"):
        return Job.objects.filter(kind=f"ingest.{kind}", **where).count()


# Cut


@pytest.mark.usefixtures("scoped")
def test_a_group_holds_exactly_what_was_read(house: House) -> None:
    cells: dict[str, list[str | None]] = {
        "a": ["1", None, "", "x" * 100_000, "王\n小明", "\u200b"],
        "b": [None, None, None, None, None, None],
    }
    with Stager(house.tenant, ["a", "b"]) as stager:
        for at in range(0, 6, 2):
            stager.add({name: values[at : at + 2] for name, values in cells.items()})
        stager.finish()
        assert [(cut.first_row, cut.rows) for cut in stager.groups] == [(1, 2), (3, 2), (5, 2)]
        for cut in stager.groups:
            cut.stored.save(force_insert=True)
    read: dict[str, list[str | None]] = {"a": [], "b": []}
    for cut in stager.groups:
        for chunk in chunks(cut.stored, 1):
            for name, values in chunk.items():
                assert len(values) == 1
                read[name] += values
    assert read == cells


@pytest.mark.usefixtures("scoped")
def test_a_group_ends_at_its_bytes_as_well(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "GROUP_ROWS", 1000)
    monkeypatch.setattr(staging, "GROUP_BYTES", 1 << 20)
    with Stager(house.tenant, ["a"]) as stager:
        for _ in range(4):
            stager.add({"a": ["x" * (600 << 10)]})
        stager.finish()
    assert [cut.rows for cut in stager.groups] == [2, 2]


@pytest.mark.usefixtures("scoped")
def test_groups_of_a_long_table_grow(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "GROUP_ROWS", 4)
    monkeypatch.setattr(staging, "FIRST_ROWS", 1)
    monkeypatch.setattr(staging, "_ALIKE", 2)
    with Stager(house.tenant, ["a"]) as stager:
        for row in range(18):
            stager.add({"a": [str(row)]})
        stager.finish()
    assert [cut.rows for cut in stager.groups] == [1, 1, 2, 2, 4, 4, 4]


@pytest.mark.usefixtures("scoped")
def test_what_no_action_took_in_is_removed(house: House) -> None:
    stager = Stager(house.tenant, ["a"])
    stager.add({"a": ["1", "2"]})
    stager.add({"a": ["3"]})
    assert _objects() == 2  # a group that is whole, and one that grows
    with pytest.raises(KeyError), stager:
        stager.add({"b": ["4"]})
    assert _objects() == 0


def test_a_version_is_a_list_of_groups_in_the_order_of_the_rows(house: House) -> None:
    dataset = sealed(house)
    with tenant_scope(house.id):
        version = version_of(dataset)
        assert version.stored.kind == "manifest"
        assert [entry.rows for entry in entries(version)] == [2, 2, 1]
        assert [row["age"] for row in rows_of(version)] == ["39", "50", "38", "53", "28"]
        assert (version.rows, dataset.rows) == (5, 5)
        assert version.entity_counts["name"] == {"PERSON": 5}
        kept = SealedGroup.objects.filter(plan=version.plan)
        assert [group.sketch != {} for group in kept] == [True] * 3
    assert (jobs("group", state="done"), jobs("merge", state="done")) == (3, 1)
    assert events("dataset.group_sealed", "dataset.sealed") == [
        *[("dataset.group_sealed", "done")] * 3,
        ("dataset.sealed", "done"),
    ]


@pytest.mark.parametrize("model", [RowGroup, SealedGroup])
def test_what_was_cut_and_sealed_is_never_changed(house: House, model: Any) -> None:
    sealed(house)
    with tenant_scope(house.id):
        every = model.objects.all()
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            every.update(rows=9)
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            every._raw_delete("default")


# Several files


def test_several_files_are_one_table(house: House) -> None:
    turned = "\n".join(",".join(reversed(line.split(","))) for line in MORE_CSV.split("\n"))
    dataset = sealed(house, more=[turned])
    with tenant_scope(house.id):
        rows = rows_of(version_of(dataset))
        parts = Part.objects.values_list("number", "rows", "format")
        assert list(parts) == [(1, 5, "csv"), (2, 2, "csv")]
    assert [row["age"] for row in rows] == ["39", "50", "38", "53", "28", "44", "29"]
    assert (dataset.rows, dataset.columns) == (7, 6)
    assert facts("dataset.profiled")[0]["files"] == 2


@pytest.mark.parametrize("other", ["name,age\nx,1\n", f"{HEADER},more\n{'x,' * 6}x\n"])
def test_a_file_of_other_columns_is_refused_by_its_number(house: House, other: str) -> None:
    dataset = profiled(house, more=[other])
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, "dataset.columns_differ")
    assert "file 2" in dataset.error_detail
    with tenant_scope(house.id):
        assert not RowGroup.objects.exists()
        assert StoredObject.objects.count() == 2  # the two files
    assert _objects() == 2


def _objects() -> int:
    folder = Path(settings.PORTCULLIS_HOME, "objects")
    return sum(1 for path in folder.rglob("*") if path.is_file())


# Appended batches


def test_what_the_plan_covers_is_treated_by_it(house: House) -> None:
    dataset = sealed(house)
    with tenant_scope(house.id):
        first = version_of(dataset)
    dataset = appended(house, dataset, MORE_CSV)
    assert dataset.state == DatasetState.SEALED, dataset.error_detail
    with tenant_scope(house.id):
        second = version_of(dataset)
        assert (second.number, second.plan_id, second.rows) == (2, first.plan_id, 7)
        assert entries(second)[:3] == entries(first)  # the same sealed groups, not made again
        assert [row["age"] for row in rows_of(second)][5:] == ["44", "29"]
        assert len(rows_of(first)) == 5
        assert dataset.plans.count() == 1
    assert (jobs("group"), jobs("profile")) == (4, 2)
    assert events("proposal.approved", "dataset.appended", "dataset.append_begun") == [
        ("proposal.approved", "done"),
        ("dataset.appended", "done"),
        ("dataset.append_begun", "done"),
    ]
    assert [told["covered"] for told in facts("dataset.profiled")] == [False, True]


def test_what_it_does_not_cover_opens_the_plan_again_for_all_rows(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = sealed(house, declarations={})
    with tenant_scope(house.id):
        plan = ColumnPlan.from_dict(dataset.plans.get().as_json())
        assert plan.column("income").kind is Kind.FREE
        amended = plan.override("note", kind=Kind.TYPED, entity="PERSON")
        with leases.doing_it_here():
            amend_plan(house.steward, dataset, plan=amended.as_dict(), changed=1)
    approve_plan(house, dataset)
    leases.run_here(dataset.reference)

    dataset = appended(house, dataset, WITH_PHONES_AS_AGES)
    assert dataset.state == DatasetState.PROPOSED, dataset.error_detail
    with tenant_scope(house.id):
        assert version_of(dataset).number == 2  # stands until somebody agrees
        newest = ColumnPlan.from_dict(dataset.plans.latest("number").as_json())
        assert newest.column("income").kind is not Kind.FREE
        assert newest.column("note").kind is Kind.TYPED  # a person's decision sticks
        assert newest.column("name").evidence.rows == 7
        proposal = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
        assert proposal is not None
        assert proposal.proposer_id == house.steward.user_id

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was parsed again")

    monkeypatch.setattr(profiling, "open_table", never)
    approve_plan(house, dataset)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert dataset.state == DatasetState.SEALED, dataset.error_detail
    with tenant_scope(house.id):
        third = version_of(dataset)
        assert (third.number, third.rows, third.plan_id) == (
            3,
            7,
            dataset.plans.latest("number").pk,
        )
        text = json.dumps(rows_of(third), ensure_ascii=False)
    assert not [secret for secret in ("13600136000", "赵敏", "Ann Smith") if secret in text]


def test_a_batch_that_cannot_be_read_is_part_of_nothing(house: House) -> None:
    dataset = sealed(house)
    dataset = appended(house, dataset, "name,age\nx,1\n")
    assert (dataset.state, dataset.error_code) == (DatasetState.SEALED, "dataset.columns_differ")
    with tenant_scope(house.id):
        assert Batch.objects.get(number=2).error_code == "dataset.columns_differ"
        assert version_of(dataset).number == 1
    dataset = appended(house, dataset, MORE_CSV)
    assert (dataset.state, dataset.error_code, dataset.rows) == (DatasetState.SEALED, "", 7)
    with tenant_scope(house.id):
        assert version_of(dataset).rows == 7


def test_an_appended_batch_is_read_anew_in_its_encoding(house: House) -> None:
    dataset = sealed(house)
    latin = f"{HEADER}\nJosé Peña,219-09-9993,212-555-0196,José Peña wrote.,29,>50K\n"
    dataset = appended(house, dataset, [latin.encode("latin-1")])
    assert dataset.error_code == "table.encoding_unknown"
    with tenant_scope(house.id), leases.doing_it_here():
        reread_dataset(house.steward, dataset, encoding="latin-1", part=1)
        leases.run_here(dataset.reference)
        dataset.refresh_from_db()
        assert (dataset.state, dataset.error_code) == (DatasetState.SEALED, "")
        assert version_of(dataset).rows == 6


@pytest.mark.parametrize("state", [s for s in DatasetState if s is not DatasetState.SEALED])
def test_only_a_resting_dataset_takes_a_batch(house: House, state: DatasetState) -> None:
    dataset = upload(house)
    with tenant_scope(house.id):
        Dataset.objects.update(state=state)
    with pytest.raises(DomainError) as caught:
        appended(house, dataset, MORE_CSV)
    assert caught.value.stable_code == "dataset.busy"
    assert _objects() == 1


def test_who_has_left_appends_nothing_under_the_plan(house: House) -> None:
    """The right is asked again when the plan is used: the batch waited for a worker meanwhile."""
    dataset = sealed(house)
    with tenant_scope(house.id), leases.doing_it_here():
        from governance.intake import Incoming, append
        from governance.models import RoleBinding

        append(house.steward, dataset, [Incoming([MORE_CSV.encode()])])
        RoleBinding.objects.filter(user_id=house.steward.user_id).delete()
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, "permission.no_role")
    assert ("dataset.append_begun", "denied") in events("dataset.append_begun")


# Stops


def _leaky(columns: Mapping[str, Sequence[str | None]], *_: Any, **__: Any) -> Any:
    leaking = "53" in columns["age"]
    return {"note": {"PHONE_CN": 2}, "age": {"CN_ID": 1}} if leaking else {}


def test_a_leak_quarantines_its_group_and_fails_the_release(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = profiled(house)
    approve_plan(house, dataset)
    monkeypatch.setattr(treating, "rescan", _leaky)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, "release.leaks")
    assert "CN_ID: 1, PHONE_CN: 2" in dataset.error_detail
    with tenant_scope(house.id):
        groups = SealedGroup.objects.order_by("group__number")
        assert [group.stored_id is None for group in groups] == [False, True, False]
        assert groups[1].leaks == {"note": {"PHONE_CN": 2}, "age": {"CN_ID": 1}}
        assert not dataset.versions.exists()
    assert sorted(events("dataset.group_sealed")) == [
        ("dataset.group_sealed", "done"),
        ("dataset.group_sealed", "done"),
        ("dataset.group_sealed", "failed"),
    ]
    stopped = facts("dataset.ingest_stopped")
    assert stopped == [
        {"stage": "merge", "code": "release.leaks", "leaks": {"CN_ID": 1, "PHONE_CN": 2}}
    ]
    monkeypatch.undo()
    with tenant_scope(house.id), leases.doing_it_here():  # another plan, all groups anew
        plan = ColumnPlan.from_dict(dataset.plans.latest("number").as_json())
        amended = plan.override("note", kind=Kind.TYPED, entity="PERSON")
        amend_plan(house.steward, dataset, plan=amended.as_dict(), changed=1)
    approve_plan(house, dataset)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert (dataset.state, dataset.error_code) == (DatasetState.SEALED, "")


def _flip(stored: StoredObject) -> None:
    path = Path(settings.PORTCULLIS_HOME, "objects", stored.name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_a_tampered_group_stops_the_ingest_once(house: House) -> None:
    dataset = profiled(house)
    with tenant_scope(house.id):
        for group in RowGroup.objects.select_related("staged"):
            _flip(group.staged)
    approve_plan(house, dataset)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, "crypto.open_failed")
    assert events("dataset.ingest_stopped") == [("dataset.ingest_stopped", "failed")]
    assert (jobs("group", state="failed"), jobs("group", state="cancelled")) == (1, 2)
    assert jobs("merge") == 0


@pytest.mark.parametrize("what", ["manifest", "group"])
def test_a_tampered_version_does_not_open(house: House, what: str) -> None:
    dataset = sealed(house)
    with tenant_scope(house.id):
        version = version_of(dataset)
        _flip(StoredObject.objects.filter(kind=what).earliest("created_at"))
        with pytest.raises(SealError):
            rows_of(version)


def test_a_manifest_of_another_version_is_not_this_ones(house: House) -> None:
    """The database's admin swaps a foreign key: the digest in the log is of the other."""
    dataset = appended(house, sealed(house), MORE_CSV)
    with tenant_scope(house.id):
        first, second = dataset.versions.select_related("stored").order_by("number")
        second.stored = first.stored
        with pytest.raises(SealError):
            rows_of(second)


def test_one_group_that_kills_every_worker_ends_the_ingest(house: House) -> None:
    dataset = profiled(house)
    approve_plan(house, dataset)
    with across_tenants(reason="as if its workers had died"):
        ingest.anonymize(Job.objects.get(kind="ingest.anonymize").id)
        poisoned = Job.objects.filter(kind="ingest.group").earliest("created_at", "id")
        Job.objects.filter(pk=poisoned.pk).update(fence=ingest.ATTEMPTS)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, "job.given_up")
    assert not jobs("group", state__in=("waiting", "running"))


def test_a_cancelled_ingest_stops_and_what_runs_can_write_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = profiled(house)
    approve_plan(house, dataset)
    transform = release.transform_chunk

    def cancelled_meanwhile(*args: Any, **kwargs: Any) -> Any:
        if jobs("group", state="running"):
            with tenant_scope(house.id):
                told = progress_of(Dataset.objects.get(pk=dataset.pk))
                assert told is not None
                assert (told.stage, told.of, told.running) == ("anonymize", 5, 1)
                anonymization.cancel_ingest(house.steward, dataset)
        return transform(*args, **kwargs)

    monkeypatch.setattr(treating, "transform_chunk", cancelled_meanwhile)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, "ingest.cancelled")
    assert jobs("group", state="cancelled") == 3
    assert events("dataset.ingest_cancelled", "dataset.ingest_stopped", "dataset.group_sealed") == [
        ("dataset.ingest_cancelled", "done")
    ]
    with tenant_scope(house.id), pytest.raises(DomainError) as caught:
        anonymization.cancel_ingest(house.steward, dataset)
    assert caught.value.stable_code == "dataset.not_busy"
    assert not SealedGroup._base_manager.exists()


def test_a_cancelled_batch_leaves_the_versions_before_it(house: House) -> None:
    dataset = sealed(house)
    with tenant_scope(house.id), leases.doing_it_here():
        from governance.intake import Incoming, append

        append(house.steward, dataset, [Incoming([MORE_CSV.encode()])])
        dataset = anonymization.cancel_ingest(house.owner, dataset)
    assert (dataset.state, dataset.error_code) == (DatasetState.SEALED, "ingest.cancelled")
    assert appended(house, dataset, MORE_CSV).rows == 7


@pytest.mark.parametrize("who", ["officer", "engineer", "auditor", "platform"])
def test_only_who_brings_data_in_stops_or_appends(house: House, who: str) -> None:
    dataset = upload(house)
    actor: UserActor = getattr(house, who)
    with tenant_scope(house.id):
        with pytest.raises(DomainError) as caught:
            anonymization.cancel_ingest(actor, dataset)
        assert caught.value.stable_code == "permission.role_missing"
    assert jobs("profile", state=JobState.WAITING) == 1


def test_what_came_before_row_groups_keeps_its_version_and_is_read_anew(house: House) -> None:
    """As the migration leaves it: a file in a batch, and no group of it."""
    dataset = profiled(house)
    with tenant_scope(house.id):
        Batch.objects.update(reading=2)  # the groups of reading 1 are nobody's any more
    approve_plan(house, dataset)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, "dataset.not_staged")
    with tenant_scope(house.id), leases.doing_it_here():
        reread_dataset(house.steward, dataset, encoding="utf-8")
        leases.run_here(dataset.reference)
    approve_plan(house, dataset)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    assert dataset.state == DatasetState.SEALED
    assert first_file(dataset).kind == "quarantine"
