"""Files of rows: sealed, answered by a worker part by part, charged once whatever dies."""

import csv
import io
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.conf import settings as configured
from django.core.files.storage import default_storage
from django.db import connections
from django.test import Client
from django.utils import timezone

from audit.models import AuditEntry
from gateway import answering, batching, callfiles
from gateway.actions.keys import revoke_key
from gateway.actions.limits import Wanted, set_limit
from gateway.invariants import calls
from gateway.models import CallFile, Feature, KeyMode, License, Limit, Prediction, UsageEvent
from gateway.settings.env import BASE_DIR
from governance import leases
from governance.models import Job, StoredObject, User
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import ROW, Shop, make_customer, make_key, make_license, make_shop
from tests.factories.processes import database_url

HEADER = ["age", "hours", "education", "note"]
SECRET_VALUE = "Zhang Wei 13800138000"


def stall(quota: int = 100) -> tuple[Shop, str]:
    """A shop, and a key whose license covers files."""
    shop = make_shop()
    license_ = make_license(
        shop.house,
        shop.customer,
        shop.version.model,
        features=("predict", "feedback", "batch"),
        quota=quota,
    )
    return shop, make_key(shop.house, license_).secret


@pytest.fixture
def secret(db: None) -> str:
    return stall()[1]


def as_csv(count: int, **changed: Any) -> bytes:
    told = io.StringIO()
    writer = csv.DictWriter(told, HEADER)
    writer.writeheader()
    for place in range(count):
        writer.writerow({**ROW, "age": 17 + place % 70, **changed})
    return told.getvalue().encode()


def send(secret: str, body: bytes, kind: str = "text/csv", **headers: str) -> Any:
    return Client(raise_request_exception=False).post(
        "/api/v1/models/income/files",
        data=body,
        content_type=kind,
        headers={"Authorization": f"Bearer {secret}", **headers},
    )


def get(secret: str, address: str) -> Any:
    return Client().get(address, headers={"Authorization": f"Bearer {secret}"})


def work(answer: dict[str, Any]) -> None:
    leases.run_here(f"call_file:{answer['id']}")


def entries(event: str) -> list[dict[str, Any]]:
    found = AuditEntry.objects.filter(event=event).order_by("at")
    return [json.loads(bytes(entry.body)) for entry in found]


def charged() -> tuple[int, int]:
    """Units of licenses, and of usage."""
    with across_tenants(reason="a test looks"):
        assert list(calls()) == []
        used = sum(License.objects.values_list("used", flat=True))
        return used, sum(UsageEvent.objects.filter(charged=True).values_list("units", flat=True))


def sealed_files() -> int:
    with across_tenants(reason="a test looks"):
        return StoredObject.objects.filter(kind=callfiles.KIND).count()


def objects() -> set[str]:
    return {path.name for path in Path(default_storage.path("")).glob("[0-9a-f][0-9a-f]/*")}


def test_a_file_is_answered_and_fetched(secret: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(callfiles, "PART", 4)
    response = send(secret, as_csv(10))
    assert response.status_code == 202, response.content
    address = response.headers["Location"]
    assert response.json()["state"] == "waiting"
    assert charged() == (0, 0)
    early = get(secret, f"{address}/answers")
    assert (early.status_code, early.json()["code"]) == (409, "callfile.waiting")
    work(response.json())
    shown = get(secret, address).json()
    assert (shown["state"], shown["done"], shown["of"], shown["rows"]) == ("done", 10, 10, 10)
    fetched = get(secret, f"{address}/answers")
    assert fetched.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(b"".join(fetched.streaming_content).decode())))
    assert len(rows) == 10
    assert charged() == (10, 10)
    alone = Client().post(
        "/api/v1/models/income/predict",
        data={"row": {**ROW, "age": 17 + 6}},
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )
    assert float(rows[6]["score"]) == alone.json()["score"]
    assert rows[6]["label"] == alone.json()["label"]
    # Three parts: each a batch with its entry and its receipt.
    parts = [entry for entry in entries("prediction.served") if "rows" in entry["facts"]]
    assert [entry["facts"]["rows"] for entry in parts] == [4, 4, 2]
    batch = rows[6]["prediction"].partition("_")[0]
    assert get(secret, f"/api/v1/receipts/{batch}").status_code == 200
    told = Client().post(
        f"/api/v1/predictions/{rows[6]['prediction']}/feedback",
        data={"label": ">50K"},
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )
    assert told.json() == {"taken": 1, "known": 0}
    [taken], [ended] = entries("call_file.taken"), entries("call_file.ended")
    before, got = entries("call_file.fetched")
    assert (before["outcome"], before["reason"]) == ("failed", "callfile.waiting")
    assert (ended["facts"]["state"], ended["facts"]["rows"], got["facts"]["rows"]) == (
        "done",
        10,
        10,
    )
    assert taken["subject"] == ended["subject"] == f"call_file:{shown['id']}"


def test_parquet_is_read_as_csv_is(secret: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(callfiles, "PART", 4)
    table = pa.table(
        {"age": [20.0, 42.0, None] * 3, "hours": [38] * 9, "education": ["Masters"] * 9,
         "note": [None] * 9}
    )  # fmt: skip
    told = io.BytesIO()
    pq.write_table(table, told, row_group_size=5)
    taken = send(secret, told.getvalue(), "application/vnd.apache.parquet").json()
    work(taken)
    shown = get(secret, f"/api/v1/call-files/{taken['id']}").json()
    assert (shown["state"], shown["rows"], shown["error_code"]) == ("done", 9, "")
    assert [entry["facts"]["rows"] for entry in entries("prediction.served")] == [4, 4, 1]


def test_rows_rest_sealed_and_go_at_the_end(secret: str, settings: Any) -> None:
    taken = send(secret, as_csv(3, note=SECRET_VALUE)).json()
    with across_tenants(reason="a test looks"):
        name = StoredObject.objects.get(kind=callfiles.KIND).name
    assert b"Zhang" not in Path(default_storage.path(name)).read_bytes()
    work(taken)
    assert sealed_files() == 0
    with across_tenants(reason="a test looks"):
        told = json.dumps([row.answer for row in Prediction.objects.all()])
    assert "Zhang" not in told


FAULTY: list[tuple[bytes, str, str, int]] = [
    (as_csv(2) + b"old,1,Masters,\r\n", "text/csv", "request.rows_invalid", 1),
    (as_csv(2) + b"1,2\r\n", "text/csv", "callfile.unreadable", 0),
    (b"age,age\r\n1,2\r\n", "text/csv", "callfile.unreadable", 0),
    (b"\xff\xfe\r\n1", "text/csv", "callfile.unreadable", 0),
    (b"age,hours,education,note\r\n", "text/csv", "callfile.empty", 0),
    (b"age\r\n1\r\n", "text/csv", "request.rows_invalid", 1),
    (b"no parquet", "application/vnd.apache.parquet", "callfile.unreadable", 0),
]


@pytest.mark.parametrize(("body", "kind", "code", "faults"), FAULTY)
def test_a_bad_file_fails_and_costs_nothing(
    secret: str, body: bytes, kind: str, code: str, faults: int
) -> None:
    taken = send(secret, body, kind).json()
    work(taken)
    shown = get(secret, f"/api/v1/call-files/{taken['id']}").json()
    assert (shown["state"], shown["error_code"], shown["rows"]) == ("failed", code, 0)
    assert len(shown["faults"]) == faults
    assert charged() == (0, 0)
    assert sealed_files() == 0
    answers = get(secret, f"/api/v1/call-files/{taken['id']}/answers")
    assert (answers.status_code, answers.json()["code"]) == (422, "callfile.no_answers")


def test_faults_are_counted_from_the_files_beginning(secret: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(callfiles, "PART", 2)
    taken = send(secret, as_csv(5) + b"old,1,Masters,\r\n").json()
    work(taken)
    [fault] = get(secret, f"/api/v1/call-files/{taken['id']}").json()["faults"]
    assert (fault["pointer"], fault["code"]) == ("/rows/5/age", "predict.not_a_number")


REFUSED: list[tuple[bytes, str, int, str]] = [
    (b"", "text/csv", 422, "callfile.empty"),
    (b"{}", "application/json", 415, "http.media_type"),
    (as_csv(100), "text/csv", 413, "callfile.too_large"),
]


@pytest.mark.parametrize(("body", "kind", "status", "code"), REFUSED)
def test_what_is_no_file_is_not_taken(
    secret: str, settings: Any, body: bytes, kind: str, status: int, code: str
) -> None:
    settings.CALL_FILE_MAX_BYTES = 1_000
    response = send(secret, body, kind)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert sealed_files() == 0
    assert not list(Path(default_storage.path("")).glob("incoming/*.part"))


@pytest.mark.django_db
def test_files_need_their_feature() -> None:
    shop = make_shop()
    license_ = make_license(
        shop.house, shop.customer, shop.version.model, features=(Feature.PREDICT,)
    )
    response = send(make_key(shop.house, license_).secret, as_csv(1))
    assert (response.status_code, response.json()["code"]) == (403, "license.feature_missing")
    assert sealed_files() == 0


@pytest.mark.django_db
@pytest.mark.parametrize(("quota", "state", "units"), [(9, "failed", 0), (10, "done", 10)])
def test_a_customers_own_quota_binds_files_too(quota: int, state: str, units: int) -> None:
    shop, secret = stall()
    with tenant_scope(shop.house.id):
        made = set_limit(
            shop.house.platform, shop.house.tenant, of=shop.customer, wanted=Wanted(quota=quota)
        )
    response = send(secret, as_csv(10))
    work(response.json())
    shown = get(secret, response.headers["Location"]).json()
    assert (shown["state"], charged()) == (state, (units, units))
    if state == "failed":
        assert shown["error_code"] == "quota.customer_exhausted"
    with across_tenants(reason="a test looks"):
        assert Limit.objects.get(pk=made.pk).used == units


@pytest.mark.django_db
def test_a_file_is_answered_where_calls_are_answered(settings: Any) -> None:
    shop = make_shop()
    license_ = make_license(shop.house, shop.customer, shop.version.model, regions=["eu"])
    secret = make_key(shop.house, license_).secret
    refused = send(secret, as_csv(2))
    assert (refused.status_code, refused.json()["code"]) == (403, "license.region_missing")
    settings.SERVING_REGION = "eu"
    response = send(secret, as_csv(2))
    work(response.json())
    assert get(secret, response.headers["Location"]).json()["state"] == "done"


@pytest.mark.django_db
def test_the_quota_has_room_for_all_rows_or_none() -> None:
    _, secret = stall(quota=9)
    taken = send(secret, as_csv(10)).json()
    work(taken)
    shown = get(secret, f"/api/v1/call-files/{taken['id']}").json()
    assert (shown["state"], shown["error_code"]) == ("failed", "license.quota_exhausted")
    assert charged() == (0, 0)


@pytest.mark.django_db
def test_a_revoked_key_is_answered_nothing() -> None:
    shop = make_shop()
    license_ = make_license(
        shop.house, shop.customer, shop.version.model, features=("batch",), quota=50
    )
    issued = make_key(shop.house, license_)
    taken = send(issued.secret, as_csv(3)).json()
    with tenant_scope(shop.house.id):
        revoke_key(shop.house.platform, license_, key=issued.key)
    work(taken)
    with across_tenants(reason="a test looks"):
        file = CallFile.objects.get()
    assert (file.state, file.error_code) == ("failed", "key.revoked")
    assert charged() == (0, 0)


def test_the_same_file_again_is_the_same_job(secret: str) -> None:
    key = {"Idempotency-Key": "file-1"}
    first = send(secret, as_csv(3), **key)
    there = objects()
    again = send(secret, as_csv(3), **key)
    assert objects() == there  # what was not taken is not kept
    assert first.json()["id"] == again.json()["id"]
    assert sealed_files() == 1
    other = send(secret, as_csv(2), **key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency.body_differs")
    work(first.json())
    assert charged() == (3, 3)
    done = send(secret, as_csv(3), **key).json()
    assert done["state"] == "done"


def test_a_cancelled_file_charges_nothing_more(secret: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(callfiles, "PART", 2)
    taken = send(secret, as_csv(6)).json()
    address = f"/api/v1/call-files/{taken['id']}"
    scored = batching.scored
    seen: list[int] = []

    def cancelling(*args: Any, **kwargs: Any) -> Any:
        """The second part is scored, and the file cancelled before it is charged."""
        seen.append(1)
        made = scored(*args, **kwargs)
        if len(seen) == 2:
            response = Client().post(
                f"{address}/cancel", headers={"Authorization": f"Bearer {secret}"}
            )
            assert response.json()["state"] == "cancelled"
        return made

    monkeypatch.setattr(batching, "scored", cancelling)
    work(taken)
    assert len(seen) == 2
    assert charged() == (2, 2)
    shown = get(secret, address).json()
    assert (shown["state"], shown["rows"]) == ("cancelled", 2)
    again = Client().post(f"{address}/cancel", headers={"Authorization": f"Bearer {secret}"})
    assert (again.status_code, again.json()["code"]) == (409, "callfile.ended")
    rows = b"".join(get(secret, f"{address}/answers").streaming_content).decode().splitlines()
    assert len(rows) == 3
    assert sealed_files() == 0


def test_answers_are_fetched_for_a_time(secret: str) -> None:
    taken = send(secret, as_csv(1)).json()
    work(taken)
    with across_tenants(reason="a test waits"):
        CallFile.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    answers = get(secret, f"/api/v1/call-files/{taken['id']}/answers")
    assert (answers.status_code, answers.json()["code"]) == (409, "callfile.expired")


@pytest.mark.django_db
def test_a_file_is_its_own_licenses() -> None:
    shop, secret = stall()
    taken = send(secret, as_csv(1)).json()
    other, _ = make_customer("other")
    theirs = make_license(shop.house, other, shop.version.model, features=("batch",))
    sibling = make_license(shop.house, shop.customer, shop.version.model, features=("batch",))
    for license_ in (theirs, sibling):
        stranger = make_key(shop.house, license_).secret
        for ending in ("", "/answers"):
            address = f"/api/v1/call-files/{taken['id']}{ending}"
            assert get(stranger, address).status_code == 404
        assert get(stranger, "/api/v1/call-files").json()["results"] == []
    assert len(get(secret, "/api/v1/call-files").json()["results"]) == 1


def test_only_so_many_wait(secret: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("gateway.actions.callfiles.OPEN_AT_ONCE", 1)
    assert send(secret, as_csv(1)).status_code == 202
    response = send(secret, as_csv(1))
    assert (response.status_code, response.json()["code"]) == (409, "callfile.too_many")


@pytest.mark.django_db
def test_a_test_key_is_charged_nothing() -> None:
    shop = make_shop()
    license_ = make_license(shop.house, shop.customer, shop.version.model, features=("batch",))
    taken = send(make_key(shop.house, license_, mode=KeyMode.TEST).secret, as_csv(3)).json()
    work(taken)
    assert charged() == (0, 0)
    with across_tenants(reason="a test looks"):
        assert CallFile.objects.get().rows == 3


def test_a_file_that_kills_its_workers_is_given_up(secret: str) -> None:
    taken = send(secret, as_csv(1)).json()
    with across_tenants(reason="a test kills"):
        Job.objects.update(fence=answering.CLAIMS)
    work(taken)
    shown = get(secret, f"/api/v1/call-files/{taken['id']}").json()
    assert (shown["state"], shown["error_code"]) == ("failed", "callfile.given_up")


DYING = """
import sys
import django
django.setup()
from uuid import UUID
from gateway import answering, callfiles
from tests.factories.killing import dying
callfiles.PART = 2
name, times = sys.argv[2], int(sys.argv[3])
setattr(answering, name, dying(getattr(answering, name), times))
answering.work(UUID(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "times", "left"),
    [("serve_batch", 1, 2), ("serve_batch", 3, 6), ("end_call_file", 1, 6), ("admit", 1, 0)],
)
def test_a_killed_worker_charges_nothing_twice(
    name: str, times: int, left: int, monkeypatch: Any
) -> None:
    monkeypatch.setattr(callfiles, "PART", 2)
    _, secret = stall(quota=7)
    taken = send(secret, as_csv(6)).json()
    with across_tenants(reason="a test looks"):
        job = Job.objects.get()
    connections.close_all()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "gateway.settings.test",
        "PORTCULLIS_TEST_HOME": str(configured.PORTCULLIS_HOME),
        "DATABASE_URL": database_url(),
    }
    killed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DYING, str(job.id), name, str(times)],
        env=environment,
        cwd=BASE_DIR,
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -9, killed.stderr
    assert charged() == (left, left)
    with across_tenants(reason="a test waits for the lease"):
        Job.objects.filter(state="running").update(leased_until=timezone.now())
    answering.work(job.id)
    shown = get(secret, f"/api/v1/call-files/{taken['id']}").json()
    assert (shown["state"], shown["rows"]) == ("done", 6)
    assert charged() == (6, 6)
    assert sealed_files() == 0


@pytest.mark.django_db
def test_owner_and_customer_see_how_a_file_fares() -> None:
    shop, secret = stall()
    taken = send(secret, as_csv(2) + b"old,1,Masters," + SECRET_VALUE.encode() + b"\r\n").json()
    work(taken)
    who = {
        "owner": User.objects.get(pk=shop.house.owner.user_id),
        "customer": User.objects.get(pk=shop.admin.user_id),
    }
    for user in who.values():
        visitor = Client()
        visitor.force_login(user)
        listed = visitor.get("/admin/gateway/callfile/").content.decode()
        assert taken["id"] in listed
        shown = visitor.get(f"/admin/gateway/callfile/{taken['id']}/").content.decode()
        assert "request.rows_invalid" in shown
        assert "/rows/2/age" in shown
        assert "Zhang" not in shown
