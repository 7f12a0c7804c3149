"""The dataset's pages: uploaded sealed, its plan readable, its errors told by their code."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from audit.models import AuditEntry
from governance import leases
from governance.models import Dataset, StoredObject
from governance.models.datasets import DatasetState
from governance.scoping import across_tenants, tenant_scope
from governance.vault import open_object
from tests.factories.console import World
from tests.factories.datasets import PEOPLE_CSV, first_file

UPLOAD = "/admin/governance/dataset/upload/"
FIELDS: dict[str, Any] = {
    "name": "people",
    "purposes": ["credit-risk-scoring"],
    "languages": ["zh", "en"],
    "regimes": ["cn"],
    "subject_column": "national_id",
    "encoding": "",
    "declarations": '{"target": {"column": "income"}}',
}


def _upload(
    world: World, *, who: str = "steward", file: bytes | None = None, **changed: Any
) -> Any:
    data = {**FIELDS, **changed}
    if file is not None:
        data["file"] = SimpleUploadedFile("people.csv", file, "text/csv")
    with leases.doing_it_here():
        return world.client(who).post(UPLOAD, data)


def test_an_upload_is_sealed_and_queued(world: World, home: Path) -> None:
    response = _upload(world, file=PEOPLE_CSV.encode())
    assert response.status_code == 302, response.content.decode()
    with across_tenants(reason="a test looks"):
        dataset = Dataset.objects.get(name="people")
    assert response["Location"] == f"/admin/governance/dataset/{dataset.pk}/"
    assert dataset.subject_column == "national_id"
    with tenant_scope(world.house.id):
        assert dataset.batches.get().parts.get().declared_format == "csv"
        with open_object(first_file(dataset)) as file:
            assert file.read() == PEOPLE_CSV.encode()
    on_disk = [path for path in home.rglob("*") if path.is_file()]
    assert not any(b"13800138000" in path.read_bytes() for path in on_disk)

    page = world.client("steward").get(response["Location"]).content.decode()
    assert "quarantined" in page
    assert 'http-equiv="refresh"' in page


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"file": None}, 422, "upload.missing"),
        ({"declarations": "[1]"}, 422, "declarations.unreadable"),
        ({"declarations": "{"}, 422, "declarations.unreadable"),
        ({"name": "applicants"}, 409, "dataset.exists"),
        ({"purposes": []}, 422, ""),
        ({"purposes": ["advertising"]}, 422, ""),
        ({"name": "two words"}, 422, ""),
        ({"languages": ["fr"]}, 422, ""),
        ({"who": "engineer"}, 403, ""),
    ],
)
def test_a_bad_upload_leaves_nothing(
    world: World, home: Path, changed: dict[str, Any], status: int, code: str
) -> None:
    before = {path for path in (home / "objects").rglob("*") if path.is_file()}
    with across_tenants(reason="a test looks"):
        rows = (Dataset.objects.count(), StoredObject.objects.count())
    response = _upload(world, **{"file": PEOPLE_CSV.encode(), **changed})
    assert response.status_code == status
    assert code in response.content.decode()
    assert "13800138000" not in response.content.decode()
    with across_tenants(reason="a test looks"):
        assert rows == (Dataset.objects.count(), StoredObject.objects.count())
    assert {path for path in (home / "objects").rglob("*") if path.is_file()} == before


def test_the_plan_shows_kind_entity_operator_and_approval(world: World) -> None:
    text = world.client("officer").get(world.pages()["dataset"]).content.decode()
    for shown in (
        "PERSON_ID",
        "pseudonym (keyed hash)",
        "nothing personal",
        "dropped",
        "data subject",
    ):
        assert shown in text
    assert f"/admin/governance/proposal/{world.proposal.pk}/approve/" in text
    assert 'name="operator-1"' not in text  # an officer reads, a steward amends
    steward = world.client("steward").get(world.pages()["dataset"]).content.decode()
    assert 'name="operator-1"' in steward
    assert "/approve/" not in steward


def test_amending_is_refused_with_a_choice_that_is_not_offered(world: World) -> None:
    address = f"/admin/governance/dataset/{world.dataset.pk}/amend/"
    steward = world.client("steward")
    for data in (
        {"operator-1": "encrypt"},
        {"kind-1": "secret"},
        {"entity-5": "NOTHING_KNOWN"},
        {"kind-5": "typed"},
    ):
        response = steward.post(address, data)
        assert response.status_code == 422, data
        assert "recognition.plan_invalid" in response.content.decode()
    assert not AuditEntry.objects.filter(event="dataset.plan_amended", outcome="denied").exists()


def test_a_failed_ingest_tells_its_code(world: World) -> None:
    with across_tenants(reason="a test prepares"):
        Dataset.objects.filter(pk=world.dataset.pk).update(
            state=DatasetState.FAILED,
            error_code="table.ragged_row",
            error_detail="row 3 has 5 cells where the header has 4",
        )
    text = world.client("steward").get(world.pages()["dataset"]).content.decode()
    assert "table.ragged_row" in text
    assert "row 3 has 5 cells" in text


def test_progress_of_a_job_is_shown(world: World) -> None:
    response = _upload(world, file=PEOPLE_CSV.encode())
    from governance.models import Job

    with across_tenants(reason="a test prepares"):
        dataset = Dataset.objects.get(name="people")
        Job.objects.filter(subject=dataset.reference).update(
            state="running", started_at=timezone.now() - timedelta(seconds=10),
            done_units=2048, all_units=32561,
        )  # fmt: skip
    text = world.client("officer").get(response["Location"]).content.decode()
    assert "2,048 / 32,561" in text
    assert "profiling" in text
    assert "rows/s" in text
    assert re.search(r"2:\d\d left", text)  # some 30,000 rows at some 200 a second
