"""A masked look at a file, and reading it in another way."""

from typing import BinaryIO

import pytest
from django.db import connection

from audit.errors import DomainError
from audit.errors import RefusedError as MayNotError
from audit.models import AuditEntry
from governance import approvals, leases, previewing
from governance.actions.readings import reread_dataset
from governance.models import StoredObject
from governance.models.datasets import DatasetState
from governance.permissions import ProposalKind
from governance.previewing import preview_dataset
from governance.scoping import tenant_scope
from governance.vault import open_object
from tests.factories.datasets import PEOPLE_CSV, profiled, sealed, upload
from tests.factories.people import House, make_house

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]


@pytest.fixture
def house() -> House:
    return make_house()


def test_a_preview_shows_shapes_and_is_recorded(house: House) -> None:
    dataset = upload(house, [PEOPLE_CSV.encode("gb18030")])
    with tenant_scope(house.id):
        shown = preview_dataset(house.steward, dataset)
    assert shown.encoding is not None
    assert shown.encoding.name == "gb18030"
    assert shown.columns[:2] == ["name", "national_id"]
    assert shown.rows[0][0] == "王〇〇"
    assert shown.rows[0][1] == "99999999999999999x"
    assert shown.rows[0][2] == "99999999999"
    entry = AuditEntry.objects.get(event="dataset.previewed")
    assert (entry.outcome, entry.actor) == ("done", house.steward.reference)


def test_an_encoding_can_be_tried_before_it_is_stated(house: House) -> None:
    dataset = upload(house, [PEOPLE_CSV.encode("gb18030")])
    with tenant_scope(house.id):
        wrong = preview_dataset(house.steward, dataset, encoding="cp1252")
        assert wrong.rows[0][0] != "王〇〇"
        with pytest.raises(DomainError) as caught:
            preview_dataset(house.steward, dataset, encoding="klingon")
    assert caught.value.stable_code == "table.encoding_unsupported"
    assert AuditEntry.objects.filter(event="dataset.previewed", outcome="failed").count() == 1


@pytest.mark.parametrize("who", ["officer", "engineer", "platform", "auditor"])
def test_only_who_brings_data_in_looks(house: House, who: str) -> None:
    dataset = upload(house)
    with tenant_scope(house.id), pytest.raises(MayNotError):
        preview_dataset(getattr(house, who), dataset)


def test_a_stranger_does_not(house: House) -> None:
    rival = make_house("rival")
    dataset = upload(house)
    with tenant_scope(house.id, rival.id), pytest.raises(MayNotError) as caught:
        preview_dataset(rival.steward, dataset)
    assert caught.value.stable_code == "permission.other_tenant"


def test_a_file_that_failed_is_read_anew_as_stated(house: House) -> None:
    latin = "name,age,income\nJosé Peña,39,<=50K\nRené Noël,50,>50K\n".encode("latin-1")
    dataset = profiled(house, [latin], subject_column="")
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, "table.encoding_unknown")
    with tenant_scope(house.id), leases.doing_it_here():
        reread_dataset(house.steward, dataset, encoding="latin-1")
        leases.run_here(dataset.reference)
        dataset.refresh_from_db()
        assert (dataset.state, dataset.encoding) == (DatasetState.PROPOSED, "latin-1")
        assert approvals.latest(ProposalKind.COLUMN_PLAN, dataset) is not None


def test_a_new_reading_replaces_the_plan_that_waited(house: House) -> None:
    dataset = profiled(house)
    with tenant_scope(house.id), leases.doing_it_here():
        first = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
        reread_dataset(house.steward, dataset, encoding="utf-8")
        leases.run_here(dataset.reference)
        second = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
        assert first is not None
        assert second is not None
        first.refresh_from_db()
    assert first.rejected_at is not None
    assert second.pk != first.pk


def test_a_sealed_dataset_is_not_read_anew(house: House) -> None:
    dataset = sealed(house)
    with tenant_scope(house.id), pytest.raises(DomainError) as caught:
        reread_dataset(house.steward, dataset, encoding="utf-8")
    assert caught.value.stable_code == "dataset.busy"


def test_the_file_is_read_outside_any_transaction(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A JSONL file is read to its end: SQLite's one writer must not wait for that."""
    dataset = upload(house)
    held: list[bool] = []

    def watched(stored: StoredObject) -> BinaryIO:
        held.append(connection.in_atomic_block)
        return open_object(stored)

    monkeypatch.setattr(previewing, "open_object", watched)
    with tenant_scope(house.id):
        assert preview_dataset(house.steward, dataset).rows
    assert held == [False]
