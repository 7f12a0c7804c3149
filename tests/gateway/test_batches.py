"""Many rows in one call: answered, charged, recorded and receipted as one, or not at all."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from audit.canonical import canonical
from audit.keys import log_verifier
from audit.merkle import leaf_hash, root_of
from audit.models import AuditEntry
from audit.receipts import verify_certificate, verify_receipt
from gateway import batches, batching
from gateway.api.parsing import LARGEST_BODY
from gateway.batches import MOST_ROWS, Name
from gateway.feedback import hour_of
from gateway.inputs import COUNTER
from gateway.invariants import calls
from gateway.models import Feedback, InputCounts, KeyMode, Prediction, RowFeedback, UsageEvent
from gateway.watching import Served
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import (
    ROW,
    Shop,
    make_key,
    make_license,
    make_shop,
)

SECRET_VALUE = "Zhang Wei 13800138000"


@pytest.fixture
def shop(db: None) -> Shop:
    return make_shop()


def row(age: float | str = 42, **more: Any) -> dict[str, Any]:
    return {**ROW, "age": age, **more}


def post(secret: str, body: object, verb: str = "predict-batch", **headers: str) -> Any:
    return Client(raise_request_exception=False).post(
        f"/api/v1/models/income/{verb}",
        data=body if isinstance(body, bytes) else json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}", **headers},
    )


def send(secret: str, rows: list[Any], **headers: str) -> Any:
    return post(secret, {"rows": rows}, **headers)


def entries(event: str = "prediction.served") -> list[dict[str, Any]]:
    found = AuditEntry.objects.filter(event=event).order_by("at")
    return [json.loads(bytes(entry.body)) for entry in found]


def kept() -> tuple[list[Prediction], list[UsageEvent]]:
    with across_tenants(reason="a test looks"):
        return list(Prediction.objects.order_by("created_at")), list(UsageEvent.objects.all())


def unmatched() -> list[str]:
    with across_tenants(reason="a test looks"):
        return list(calls())


def test_a_batch_is_one_charge_one_use_one_entry(shop: Shop) -> None:
    response = send(shop.secret, [row(20), row(42), row(61, note=None)])
    assert response.status_code == 200, response.content
    answer = response.json()
    assert (answer["model"], answer["version"], answer["guarantee"]) == ("income", 1, "dp")
    names = [f"{answer['batch']}_{place}" for place in range(3)]
    assert [one["prediction"] for one in answer["rows"]] == names
    assert shop.reload().used == 3
    [stored], [event] = kept()
    assert (event.units, event.charged, event.sku) == (3, True, "predict")
    assert (str(stored.id), stored.rows, stored.key_id) == (
        answer["batch"],
        3,
        shop.issued.key.pk,
    )
    [entry] = entries()
    assert (entry["outcome"], entry["facts"]["rows"], entry["facts"]["units"]) == ("done", 3, 3)
    assert entry["request"] == event.request_id == stored.request_id
    assert unmatched() == []


def test_each_row_is_answered_as_it_is_alone(shop: Shop) -> None:
    rows = [row(20), row(42), row(61, education="Bachelors")]
    together = send(shop.secret, rows).json()["rows"]
    for one, sent in zip(together, rows, strict=True):
        alone = post(shop.secret, {"row": sent}, "predict").json()
        assert (one["score"], one["label"]) == (alone["score"], alone["label"])


def test_rows_in_several_chunks_keep_their_order(shop: Shop, monkeypatch: Any) -> None:
    rows = [row(17 + place % 70) for place in range(23)]
    whole = send(shop.secret, rows).json()["rows"]
    monkeypatch.setattr(batching, "CHUNK", 5)
    cut = send(shop.secret, rows).json()["rows"]
    assert [one["score"] for one in whole] == [one["score"] for one in cut]
    assert len({one["score"] for one in whole}) > 5


@pytest.mark.usefixtures("home")  # keys of its own: a log's key signs one tree alone
def test_the_receipt_is_over_all_rows(shop: Shop) -> None:
    rows = [row(20), row(42)]
    answer = send(shop.secret, rows).json()
    shown = (
        Client()
        .get(
            f"/api/v1/receipts/{answer['batch']}",
            headers={"Authorization": f"Bearer {shop.secret}"},
        )
        .json()
    )
    assert shown["receipt"] == answer["receipt"]
    key = verify_certificate(shown["certificate"], [log_verifier()])
    facts = verify_receipt(answer["receipt"]["note"], [key]).facts
    # Written out: what a customer computes from the answer.
    scores = [f"{one['score']:.6f}" for one in answer["rows"]]
    leaves = [leaf_hash(canonical([place, score])) for place, score in enumerate(scores)]
    assert facts["outputs"] == root_of(leaves).hex()
    # Equal rows have the commitment of a single call, so that one is found in a batch.
    post(shop.secret, {"row": rows[0]}, "predict")
    post(shop.secret, {"row": rows[1]}, "predict")
    singles = [bytes.fromhex(entry["facts"]["input"]) for entry in entries()[1:]]
    assert facts["input"] == root_of([leaf_hash(one) for one in singles]).hex()


def test_inputs_are_kept_nowhere(shop: Shop) -> None:
    assert send(shop.secret, [row(47.53, note=SECRET_VALUE)]).status_code == 200
    [stored], _ = kept()
    seen = json.dumps([stored.answer, entries()])
    assert "Zhang" not in seen
    assert "47.53" not in seen


def test_every_wrong_row_is_named_and_nothing_is_charged(shop: Shop) -> None:
    rows = [row(), row("old"), {**ROW, SECRET_VALUE: 1}, row(), 7, row(education="none")]
    response = send(shop.secret, rows)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "request.rows_invalid")
    assert problem["detail"].startswith("4 of 6 rows")
    assert [(one["pointer"], one["code"]) for one in problem["errors"]] == [
        ("/rows/1/age", "predict.not_a_number"),
        ("/rows/2", "predict.feature_unknown"),
        ("/rows/4", "predict.row_invalid"),
        ("/rows/5/education", "predict.category_unknown"),
    ]
    assert "Zhang" not in response.content.decode()
    assert (shop.reload().used, kept()) == (0, ([], []))
    [entry] = entries()
    assert (entry["outcome"], entry["reason"]) == ("denied", "request.rows_invalid")


@pytest.mark.django_db
def test_the_first_hundred_faults_are_named() -> None:
    shop = make_shop(quota=150)
    problem = send(shop.secret, [row("old")] * 150).json()
    assert problem["detail"].startswith("150 of 150 rows")
    assert [one["pointer"] for one in problem["errors"]] == [f"/rows/{n}/age" for n in range(100)]


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({"rows": []}, 422, "request.body_invalid", "/rows"),
        ({"rows": {"0": ROW}}, 422, "request.body_invalid", "/rows"),
        ({"rows": None}, 422, "request.body_invalid", "/rows"),
        ({}, 422, "request.body_invalid", "/rows"),
        ({"row": ROW}, 422, "request.body_invalid", ""),
        ([ROW], 422, "request.body_invalid", ""),
        ({"rows": [ROW], "purpose": ""}, 422, "request.body_invalid", "/purpose"),
        ({"rows": [ROW], "purpose": "other"}, 403, "license.purpose_differs", None),
        ({"rows": [1] * (MOST_ROWS + 1)}, 413, "request.rows_too_many", "/rows"),
        (b'{"rows": [', 400, "request.malformed", None),
        (b'{"rows": [NaN]}', 400, "request.malformed", None),
        (b'{"rows": [], "rows": []}', 400, "request.malformed", None),
    ],
)
def test_a_bad_body_is_refused(
    shop: Shop, body: object, status: int, code: str, pointer: str | None
) -> None:
    response = post(shop.secret, body)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code)
    assert problem.get("pointer") == pointer
    assert (shop.reload().used, kept()) == (0, ([], []))
    assert [entry["reason"] for entry in entries()] == [code]


def test_a_batch_has_a_body_limit_of_its_own(shop: Shop, settings: Any) -> None:
    wide = {"rows": [row()], "purpose": shop.license.purposes[0]}
    padded = json.dumps(wide).encode() + b" " * LARGEST_BODY
    assert post(shop.secret, padded).status_code == 200
    settings.BATCH_MAX_BYTES = len(padded) - 1
    response = post(shop.secret, padded)
    assert (response.status_code, response.json()["code"]) == (413, "http.body_too_large")


@pytest.mark.django_db
@pytest.mark.parametrize(("quota", "status", "used"), [(3, 200, 3), (2, 429, 0)])
def test_the_quota_is_taken_at_once(quota: int, status: int, used: int) -> None:
    shop = make_shop(quota=quota)
    response = send(shop.secret, [row()] * 3)
    assert response.status_code == status
    assert shop.reload().used == used
    assert len(kept()[0]) == (status == 200)


def test_a_test_key_is_counted_and_not_charged(shop: Shop) -> None:
    secret = make_key(shop.house, shop.license, mode=KeyMode.TEST).secret
    assert send(secret, [row()] * 4).status_code == 200
    [event] = kept()[1]
    assert (event.units, event.charged, shop.reload().used) == (4, False, 0)


def test_a_replay_is_the_same_answer_without_charge(shop: Shop) -> None:
    key = {"Idempotency-Key": "batch-1"}
    first = send(shop.secret, [row(20), row(42)], **key)
    again = send(shop.secret, [row(20), row(42)], **key)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert shop.reload().used == 2
    other = send(shop.secret, [row(20)], **key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency.body_differs")
    single = post(shop.secret, {"row": row(20)}, "predict", **key)
    assert single.json()["code"] == "idempotency.body_differs"
    assert shop.reload().used == 2


def test_a_license_must_cover_prediction(shop: Shop) -> None:
    license_ = make_license(shop.house, shop.customer, shop.version.model, features=("explain",))
    response = send(make_key(shop.house, license_).secret, [row()])
    assert (response.status_code, response.json()["code"]) == (403, "license.feature_missing")


def test_one_that_takes_too_long_is_given_up(shop: Shop, settings: Any) -> None:
    settings.BATCH_SECONDS = 1e-9
    response = send(shop.secret, [row()])
    assert (response.status_code, response.json()["code"]) == (429, "batch.too_slow")
    assert (shop.reload().used, kept()) == (0, ([], []))


def test_only_so_many_hold_their_rows_at_once(shop: Shop, monkeypatch: Any) -> None:
    monkeypatch.setattr(batching, "_PATIENCE", 0.01)
    with batching.place(), batching.place():
        response = send(shop.secret, [row()])
        assert (response.status_code, response.json()["code"]) == (429, "batch.busy")
        # One row waits for nobody.
        assert post(shop.secret, {"row": ROW}, "predict").status_code == 200
    assert send(shop.secret, [row()]).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_batches_at_once_never_pass_the_quota() -> None:
    shop = make_shop(quota=10)
    ready = threading.Barrier(4)

    def work(_: int) -> int:
        try:
            ready.wait()
            status: int = send(shop.secret, [row()] * 3).status_code
            return status
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(work, range(4)))
    assert statuses == [200, 200, 200, 429]
    assert shop.reload().used == 9
    predictions, events = kept()
    assert [one.rows for one in predictions] == [3, 3, 3]
    assert sum(one.units for one in events) == 9
    assert unmatched() == []


FEEDBACK_NAMES: list[tuple[str, int]] = [
    ("{batch}_0", 200),
    ("{batch}_2", 200),
    ("{batch}_3", 404),
    ("{batch}", 404),
    ("{batch}_00", 404),
    ("{single}", 200),
    ("{single}_0", 404),
]


@pytest.mark.parametrize(("name", "status"), FEEDBACK_NAMES)
def test_feedback_names_a_row(shop: Shop, name: str, status: int) -> None:
    batch = send(shop.secret, [row(), row(), row()]).json()["batch"]
    single = post(shop.secret, {"row": ROW}, "predict").json()["prediction"]
    named = name.format(batch=batch, single=single)
    client, headers = Client(), {"Authorization": f"Bearer {shop.secret}"}
    response = client.post(
        f"/api/v1/predictions/{named}/feedback",
        data={"label": ">50K"},
        content_type="application/json",
        headers=headers,
    )
    assert response.status_code == status, response.content
    bulk = client.post(
        "/api/v1/predictions/feedback",
        data={"items": [{"prediction": named, "label": ">50K"}]},
        content_type="application/json",
        headers=headers,
    )
    # A name of no such form is told by its field.
    assert bulk.status_code == (422 if name.endswith("_00") else status)
    if status == 200:
        assert bulk.json() == {"taken": 0, "known": 1}


def test_labels_of_rows_are_bits_once_each(shop: Shop) -> None:
    rows = send(shop.secret, [row(20), row(42)]).json()["rows"]
    other = {">50K": "<=50K", "<=50K": ">50K"}
    items = [
        {"prediction": rows[0]["prediction"], "label": rows[0]["label"]},
        {"prediction": rows[1]["prediction"], "label": other[rows[1]["label"]]},
    ]

    def tell(items: list[Any]) -> Any:
        return Client().post(
            "/api/v1/predictions/feedback",
            data={"items": items},
            content_type="application/json",
            headers={"Authorization": f"Bearer {shop.secret}"},
        )

    assert tell(items).json() == {"taken": 2, "known": 0}
    assert tell(items).json() == {"taken": 0, "known": 2}
    turned = [{**items[0], "label": other[items[0]["label"]]}]
    assert tell(turned).json()["code"] == "feedback.conflict"
    with across_tenants(reason="a test looks"):
        told = RowFeedback.objects.order_by("row").values_list("row", "correct")
        assert list(told) == [(0, True), (1, False)]
        assert not Feedback.objects.exists()


def test_the_watch_sees_every_row(shop: Shop) -> None:
    answer = send(shop.secret, [row(17 + place) for place in range(12)]).json()
    post(shop.secret, {"row": ROW}, "predict")
    test_key = make_key(shop.house, shop.license, mode=KeyMode.TEST).secret
    send(test_key, [row()] * 5)  # nobody's business
    name = Name.read(answer["rows"][3]["prediction"])
    assert name is not None
    assert name.row == 3
    now = timezone.now()
    with tenant_scope(shop.customer.id):
        RowFeedback.objects.create(
            tenant=shop.customer,
            prediction_id=name.prediction,
            row=name.row,
            version=shop.version,
            correct=True,
            hour=hour_of(now),
        )
    since, until = now.replace(year=now.year - 1), now.replace(year=now.year + 1)
    seen = Served().arrivals(shop.version, since=since, until=until)
    assert sum(seen.served.values()) == 13
    assert list(seen.labels.values()) == [(1, 1)]
    counts = Served().histogram(shop.version, since=since, until=until, edges=[0.25, 0.5, 0.75])
    assert sum(counts) == 13
    COUNTER.flush()
    with across_tenants(reason="a test looks"):
        [counted] = InputCounts.objects.all()
    assert {sum(bins.values()) for bins in counted.counts.values()} == {13}


def test_a_key_reads_what_it_may_send(shop: Shop, settings: Any) -> None:
    settings.BATCH_MAX_BYTES = 3 * 2**20
    headers = {"Authorization": f"Bearer {shop.secret}"}
    send(shop.secret, [row()] * 4)
    shown = Client().get("/api/v1/models/income", headers=headers).json()
    assert shown["limits"] == {
        "row_bytes": 2**20,
        "batch_rows": 10_000,
        "batch_bytes": 3 * 2**20,
        "feedback_labels": 1_000,
        "feedback_days": 90,
    }
    assert shown["grant"]["features"] == ["batch", "explain", "feedback", "predict"]
    assert (shown["grant"]["quota"], shown["grant"]["left"]) == (100, 96)
    [used] = Client().get("/api/v1/usage", headers=headers).json()["results"]
    assert (used["used"], used["left"], used["calls"]) == (4, 96, 1)


@pytest.mark.parametrize(
    ("text", "row_"),
    [
        ("6b0c9c52-6d1f-4b06-9d0f-5a0f1a3f2c11", None),
        ("6B0C9C52-6D1F-4B06-9D0F-5A0F1A3F2C11_0", 0),
        ("6b0c9c52-6d1f-4b06-9d0f-5a0f1a3f2c11_9999", 9999),
    ],
)
def test_a_name_is_read_as_it_is_written(text: str, row_: int | None) -> None:
    name = Name.read(text)
    assert name is not None
    assert name.row == row_
    assert str(name) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "_0",
        "6b0c9c52-6d1f-4b06-9d0f-5a0f1a3f2c11_",
        "6b0c9c526d1f4b069d0f5a0f1a3f2c11",
        "6b0c9c52-6d1f-4b06-9d0f-5a0f1a3f2c11_01",
        "6b0c9c52-6d1f-4b06-9d0f-5a0f1a3f2c11\n",
        "6b0c9c52-6d1f-4b06-9d0f-5a0f1a3f2c11_１",
    ],
)
def test_what_names_nothing(text: str) -> None:
    assert Name.read(text) is None


def test_a_stored_batch_says_no_word_twice() -> None:
    head = {"batch": "b", "model": "m", "version": 1, "guarantee": "dp", "labels": ("a", None)}
    answer = batches.stored(head, [0.5] * 1000, [True] * 1000)
    assert len(json.dumps(answer)) < 8_000
    assert batches.told(answer)["rows"][999] == {"prediction": "b_999", "score": 0.5, "label": "a"}
