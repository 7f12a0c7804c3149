"""What staff do over HTTP: bring a table in, take evidence away; what callers read."""

import io
import zipfile
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from audit.models import AuditEntry
from audit.reports.verification import Result, verify
from audit.sequencer import sequence_once
from gateway.models import UsageEvent
from governance import leases
from governance.models import Dataset, Part, StoredObject
from governance.rbac import UserActor
from governance.scoping import across_tenants
from tests.factories.gateway import PURPOSE, Shop, charge, make_shop

pytestmark = pytest.mark.django_db

NAME = "Zhang Wei"


@pytest.fixture
def shop() -> Shop:
    return make_shop()


def client(shop: Shop, actor: UserActor) -> Client:
    found = Client(raise_request_exception=False)
    found.force_login(shop.house.user(actor))
    return found


def form(**changed: object) -> dict[str, object]:
    table = SimpleUploadedFile("t.csv", f"name,age\n{NAME},3\n".encode(), "text/csv")
    return {"name": "people", "purposes": [PURPOSE], "regimes": ["cn"], "file": table, **changed}


class TestUpload:
    """`POST /api/v1/datasets`."""

    def test_a_file_is_sealed_and_queued(self, shop: Shop) -> None:
        with leases.doing_it_here():
            response = client(shop, shop.house.steward).post("/api/v1/datasets", data=form())
        assert response.status_code == 202, response.content
        assert response["Location"] == "/api/v1/datasets/people"
        told = response.json()
        assert (told["state"], told["purposes"]) == ("quarantined", [PURPOSE])
        with across_tenants(reason="a test looks"):
            dataset = Dataset.objects.get(name="people")
            part = Part.objects.select_related("stored").get(batch__dataset=dataset)
            stored = part.stored
        assert isinstance(stored, StoredObject)
        assert stored.size == len(f"name,age\n{NAME},3\n")
        assert part.declared_format == "csv"
        assert AuditEntry.objects.filter(event="dataset.uploaded", outcome="done").count() == 1

    def test_several_files_are_one_table_that_takes_batches(self, shop: Shop) -> None:
        files = [SimpleUploadedFile(f"{n}.csv", f"name,age\n{NAME},{n}\n".encode()) for n in (1, 2)]
        steward = client(shop, shop.house.steward)
        with leases.doing_it_here():
            made = steward.post("/api/v1/datasets", data=form(file=files)).json()
            assert [batch["files"] for batch in made["batches"]] == [2]
            assert made["progress"] == {
                "stage": "profile", "done": 0, "of": None, "rows_per_second": None,
                "seconds_left": None, "running": 0,
            }  # fmt: skip
            address = "/api/v1/datasets/people"
            early = steward.post(f"{address}/batches", data={"file": files[0]})
            assert (early.status_code, early.json()["code"]) == (409, "dataset.busy")
            with across_tenants(reason="as if it were sealed"):
                Dataset.objects.filter(name="people").update(state="sealed")
            more = SimpleUploadedFile("3.csv", f"name,age\n{NAME},3\n".encode())
            response = steward.post(f"{address}/batches", data={"file": more})
        assert (response.status_code, response["Location"]) == (202, address)
        assert (response.json()["number"], response.json()["files"]) == (2, 1)
        assert steward.get(address).json()["state"] == "appending"
        stopped = steward.post(f"{address}/cancel", content_type="application/json")
        assert (stopped.json()["state"], stopped.json()["error_code"]) == (
            "sealed",
            "ingest.cancelled",
        )
        for who in ("officer", "engineer"):
            refused = client(shop, getattr(shop.house, who)).post(
                f"{address}/batches", data={"file": more}
            )
            assert refused.status_code == 403

    @pytest.mark.parametrize(
        ("changed", "status", "code"),
        [
            ({"purposes": ["marketing"]}, 403, "purpose.unknown"),
            ({"purposes": []}, 403, "purpose.missing"),
            ({"name": "a b"}, 422, "dataset.name_invalid"),
            ({"regimes": ["mars"]}, 422, "dataset.regime_unknown"),
            ({"declarations": "["}, 422, "declarations.unreadable"),
            ({"file": ""}, 422, "upload.missing"),
        ],
    )
    def test_what_is_refused_leaves_nothing(
        self, shop: Shop, changed: dict[str, object], status: int, code: str
    ) -> None:
        response = client(shop, shop.house.steward).post("/api/v1/datasets", data=form(**changed))
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert NAME not in response.content.decode()
        with across_tenants(reason="a test looks"):
            assert not Dataset.objects.filter(name="people").exists()
            assert not StoredObject.objects.filter(kind="quarantine").exists()

    def test_who_may_not_upload_is_refused_and_recorded(self, shop: Shop) -> None:
        response = client(shop, shop.house.engineer).post("/api/v1/datasets", data=form())
        assert (response.status_code, response.json()["code"]) == (403, "permission.role_missing")
        assert AuditEntry.objects.get(event="dataset.uploaded").outcome == "denied"

    def test_a_key_uploads_nothing(self, shop: Shop) -> None:
        response = Client().post(
            "/api/v1/datasets", data=form(), headers={"Authorization": f"Bearer {shop.secret}"}
        )
        assert response.status_code == 403


@pytest.mark.usefixtures("home")  # keys of its own: a log's key signs one tree alone
def test_a_bundle_is_taken_away_and_verifies(shop: Shop, tmp_path: Path) -> None:
    charge(shop.secret, "abc")
    sequence_once()
    response = client(shop, shop.house.auditor).post(
        "/api/v1/audit/bundles", data={}, content_type="application/json"
    )
    assert (response.status_code, response["Content-Type"]) == (201, "application/zip")
    content = b"".join(response)
    assert "manifest.json" in zipfile.ZipFile(io.BytesIO(content)).namelist()
    file = tmp_path / "bundle.zip"
    file.write_bytes(content)
    assert verify(file).result is Result.UNAUTHENTICATED
    granted = AuditEntry.objects.get(event="log.bundle_exported")
    assert granted.outcome == "done"


def test_usage_counts_what_was_charged(shop: Shop) -> None:
    charge(shop.secret, "abc")
    [row] = (
        Client()
        .get("/api/v1/usage", headers={"Authorization": f"Bearer {shop.secret}"})
        .json()["results"]
    )
    assert (row["used"], row["left"], row["calls"], row["test_units"]) == (3, 97, 3, 0)
    with across_tenants(reason="a test looks"):
        assert UsageEvent.objects.count() == 3


def test_a_model_tells_how_to_call_it(shop: Shop) -> None:
    told = (
        Client()
        .get("/api/v1/models/income", headers={"Authorization": f"Bearer {shop.secret}"})
        .json()
    )
    assert told["released"]["number"] == 1
    assert told["card"]["purpose"] == PURPOSE
    assert set(told["input_schema"]["required"]) == {"age", "hours", "education", "note"}


def test_a_list_comes_in_pages(shop: Shop) -> None:
    charge(shop.secret, "abcdefg")
    auditor = client(shop, shop.house.auditor)
    url, seen = "/api/v1/audit/entries?page_size=3&event=prediction.served", []
    while url:
        page = auditor.get(url).json()
        assert len(page["results"]) <= 3
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert len(seen) == len(set(seen)) == 7
