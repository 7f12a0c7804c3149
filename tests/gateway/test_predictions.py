"""One call over HTTP: answered, charged, recorded and receipted, or refused for one reason."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit import keys as log_keys
from audit.canonical import digest
from audit.explanation_records import Grade, verify_record
from audit.merkle import leaf_hash
from audit.models import AuditEntry
from audit.proofs import TlogProof
from audit.receipts import verify_certificate, verify_receipt
from audit.sequencer import sequence_once
from gateway import keys, serving
from gateway.actions.keys import revoke_key
from gateway.actions.licenses import revoke_license
from gateway.errors import InFlightError
from gateway.models import ApiKey, Feature, KeyMode, License, Prediction, UsageEvent
from governance.models import StoredObject
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import (
    ROW,
    Shop,
    make_customer,
    make_key,
    make_license,
    make_shop,
    make_version,
)
from training.actions.models import withdraw_model
from training.models import ModelState, ModelVersion

pytestmark = pytest.mark.django_db

SECRET_VALUE = "Zhang Wei 13800138000"


@pytest.fixture
def shop() -> Shop:
    return make_shop()


def call(
    secret: str,
    *,
    slug: str = "income",
    verb: str = "predict",
    body: object = None,
    **headers: str,
) -> Any:
    """One POST; the test client raises nothing, as a server would."""
    return Client(raise_request_exception=False).post(
        f"/api/v1/models/{slug}/{verb}",
        data=body
        if isinstance(body, bytes)
        else json.dumps({"row": ROW} if body is None else body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}", **headers},
    )


def entries(event: str) -> list[dict[str, Any]]:
    rows = AuditEntry.objects.filter(event=event).order_by("at")
    return [json.loads(bytes(row.body)) for row in rows]


def usage() -> list[UsageEvent]:
    with across_tenants(reason="a test looks"):
        return list(UsageEvent.objects.order_by("id"))


def predictions() -> list[Prediction]:
    with across_tenants(reason="a test looks"):
        return list(Prediction.objects.order_by("created_at"))


def test_a_prediction_is_answered_charged_and_recorded(shop: Shop) -> None:
    response = call(shop.secret)
    assert response.status_code == 200, response.content
    answer = response.json()
    assert answer["model"] == "income"
    assert answer["version"] == 1
    assert answer["guarantee"] == "dp"
    assert 0 < answer["score"] < 1
    assert answer["label"] == (">50K" if answer["score"] >= 0.5 else "<=50K")
    assert answer["explanation"] is None
    assert shop.reload().used == 1
    [event], [stored], [entry] = usage(), predictions(), entries("prediction.served")
    assert (event.units, event.charged, event.sku) == (1, True, "predict")
    assert entry["outcome"] == "done"
    assert entry["actor"] == f"key:{shop.issued.key.public_id}"
    assert entry["facts"]["output"] == f"{answer['score']:.6f}"
    assert entry["facts"]["prediction"] == f"prediction:{answer['prediction']}"
    # Four rows about one call agree on its request id (reconciliation).
    assert event.request_id == stored.request_id == entry["request"]
    assert str(stored.entry_id) == entry["id"]


def test_the_input_is_kept_nowhere(shop: Shop) -> None:
    row = {**ROW, "note": SECRET_VALUE, "age": 47.53}
    assert call(shop.secret, verb="explain", body={"row": row}).status_code == 200
    [stored] = predictions()
    seen = json.dumps([stored.answer, stored.explanation, entries("prediction.served")])
    assert "Zhang" not in seen
    assert "47.53" not in seen


def test_equal_inputs_of_two_customers_leave_unequal_commitments(shop: Shop) -> None:
    other, _ = make_customer("other")
    license_ = make_license(shop.house, other, shop.version.model)
    call(shop.secret)
    call(shop.secret)
    call(make_key(shop.house, license_).secret)
    first, again, others = [entry["facts"]["input"] for entry in entries("prediction.served")]
    assert first == again != others


@pytest.mark.usefixtures("home")  # keys of its own: a log's key signs one tree alone
def test_the_receipt_verifies_and_is_redeemed_for_a_proof(shop: Shop) -> None:
    answer = call(shop.secret).json()
    log_key = log_keys.log_verifier()
    address = f"/api/v1/receipts/{answer['prediction']}"
    headers = {"Authorization": f"Bearer {shop.secret}"}
    early = Client().get(address, headers=headers).json()
    assert early["proof"] is None
    assert early["receipt"] == answer["receipt"]
    receipt_key = verify_certificate(early["certificate"], [log_key])
    receipt = verify_receipt(answer["receipt"]["note"], [receipt_key])
    entry = AuditEntry.objects.get(pk=receipt.entry_id)
    assert receipt.facts["guarantee"] == "dp"
    assert receipt.facts["output"] == f"{answer['score']:.6f}"
    assert receipt.merge_by - receipt.at == 24 * 3600 * 10**6
    assert AuditEntry.objects.filter(pk=receipt.entry_id, event="prediction.served").exists()
    sequence_once()
    late = Client().get(address, headers=headers).json()
    proof = TlogProof.parse(late["proof"])
    head = proof.verify(leaf_hash(bytes(entry.body)), log_key.name, [log_key])
    assert head.size == AuditEntry.objects.count()
    assert late["receipt"] == answer["receipt"]


def test_an_explanation_verifies_and_is_committed_to(shop: Shop) -> None:
    answer = call(shop.secret, verb="explain").json()
    [stored] = predictions()
    assert stored.explanation is not None
    assert verify_record(stored.explanation).grade is Grade.CONSISTENT
    assert answer["explanation"]["record"] == digest(stored.explanation)
    [entry] = entries("prediction.served")
    assert entry["facts"]["explanation"] == answer["explanation"]["record"]
    assert stored.explanation["record_id"] == answer["prediction"]
    assert stored.explanation["model_digest"] == shop.version.artifact_digest
    assert stored.explanation["background_digest"] == shop.version.background_digest
    assert stored.explanation["input_commitment"] == entry["facts"]["input"]


def test_an_explanation_is_reproduced_from_the_stored_weights(shop: Shop) -> None:
    from audit.explanations import reproduce

    call(shop.secret, verb="explain")
    [stored] = predictions()
    model = serving.loaded(shop.version)
    row = model.check_row(ROW)
    verdict = reproduce(
        stored.explanation or {},
        model.predict_columns,
        [row[name] for name in model.spec.names],
        serving.background(model, shop.version),
    )
    assert verdict.grade is Grade.REPRODUCED


def test_a_test_key_is_counted_and_never_charged(shop: Shop) -> None:
    secret = make_key(shop.house, shop.license, mode=KeyMode.TEST).secret
    assert call(secret).status_code == 200
    [event] = usage()
    assert (event.charged, event.units) == (False, 1)
    assert shop.reload().used == 0


def test_the_newest_released_version_answers(shop: Shop) -> None:
    make_version(shop.house, number=2, seed=2)
    make_version(shop.house, number=3, seed=3, state=ModelState.REGISTERED)
    assert call(shop.secret).json()["version"] == 2
    with tenant_scope(shop.house.id):
        second = ModelVersion.objects.get(number=2)
        withdraw_model(shop.house.officer, second)
    assert call(shop.secret).json()["version"] == 1


def _license(**changed: object) -> Callable[[Shop], None]:
    def change(shop: Shop) -> None:
        with across_tenants(reason="a test prepares"):
            License.objects.filter(pk=shop.license.pk).update(**changed)

    return change


def _key(**changed: object) -> Callable[[Shop], None]:
    def change(shop: Shop) -> None:
        with across_tenants(reason="a test prepares"):
            ApiKey.objects.filter(pk=shop.issued.key.pk).update(**changed)

    return change


def _revoke_license(shop: Shop) -> None:
    with tenant_scope(shop.house.id):
        revoke_license(shop.house.platform, shop.license)


def _revoke_key(shop: Shop) -> None:
    with tenant_scope(shop.house.id):
        revoke_key(shop.house.platform, shop.license, key=shop.issued.key)


def _withdraw(shop: Shop) -> None:
    with tenant_scope(shop.house.id):
        withdraw_model(shop.house.officer, shop.version)


def _nothing(_shop: Shop) -> None:
    pass


PAST, FUTURE = timezone.now() - timedelta(days=9), timezone.now() + timedelta(days=9)
SERVED, BEFORE, LOOKUP = "prediction.served", "access.call_refused", "access.refused"
REFUSALS: dict[str, tuple[Callable[[Shop], None], dict[str, Any], int, str, str]] = {
    "key revoked": (_revoke_key, {}, 401, "key.revoked", BEFORE),
    "key expired": (_key(expires_at=PAST), {}, 401, "key.expired", BEFORE),
    "license revoked": (_revoke_license, {}, 403, "license.revoked", SERVED),
    "license early": (_license(starts_at=FUTURE), {}, 403, "license.not_started", SERVED),
    "license expired": (
        _license(starts_at=PAST - timedelta(days=1), expires_at=PAST),
        {},
        403,
        "license.expired",
        SERVED,
    ),
    "feature": (_license(features=["explain"]), {}, 403, "license.feature_missing", SERVED),
    "purpose": (
        _nothing,
        {"body": {"row": ROW, "purpose": "marketing"}},
        403,
        "license.purpose_differs",
        SERVED,
    ),
    "model withdrawn": (_withdraw, {}, 403, "model.not_released", SERVED),
    "model's purpose": (_license(purposes=["other"]), {}, 403, "model.purpose_differs", SERVED),
    "quota": (_license(quota=5, used=5), {}, 429, "license.quota_exhausted", SERVED),
    "another model": (_nothing, {"slug": "outcome"}, 404, "model.not_found", LOOKUP),
    "not JSON": (_nothing, {"body": b"{"}, 400, "request.malformed", SERVED),
    "no row": (_nothing, {"body": {}}, 422, "request.body_invalid", SERVED),
    "a list": (_nothing, {"body": [ROW]}, 422, "request.body_invalid", SERVED),
    "unknown member": (
        _nothing,
        {"body": {"row": ROW, "x": 1}},
        422,
        "request.body_invalid",
        SERVED,
    ),
    "purpose no text": (
        _nothing,
        {"body": {"row": ROW, "purpose": 1}},
        422,
        "request.body_invalid",
        SERVED,
    ),
    "row no object": (
        _nothing,
        {"body": {"row": SECRET_VALUE}},
        422,
        "predict.row_invalid",
        SERVED,
    ),
    "feature missing": (
        _nothing,
        {"body": {"row": {"age": 1}}},
        422,
        "predict.feature_missing",
        SERVED,
    ),
    "feature unknown": (
        _nothing,
        {"body": {"row": {**ROW, SECRET_VALUE: 1}}},
        422,
        "predict.feature_unknown",
        SERVED,
    ),
    "no number": (
        _nothing,
        {"body": {"row": {**ROW, "age": SECRET_VALUE}}},
        422,
        "predict.not_a_number",
        SERVED,
    ),
    "no such category": (
        _nothing,
        {"body": {"row": {**ROW, "education": SECRET_VALUE}}},
        422,
        "predict.category_unknown",
        SERVED,
    ),
    "name twice": (_nothing, {"body": b'{"row": {}, "row": {}}'}, 400, "request.malformed", SERVED),
    "surrogate": (
        _nothing,
        {"body": b'{"row": {"a": "\\ud800"}}'},
        400,
        "request.malformed",
        SERVED,
    ),
    "nan": (_nothing, {"body": b'{"row": {"age": NaN}}'}, 400, "request.malformed", SERVED),
    "not UTF-8": (_nothing, {"body": b'{"row": "\xff"}'}, 400, "request.malformed", SERVED),
    "deep": (_nothing, {"body": b"[" * 200_000}, 400, "request.malformed", SERVED),
    "large": (_nothing, {"body": b" " * 1_048_577}, 413, "http.body_too_large", SERVED),
    "long number": (
        _nothing,
        {"body": b'{"row": ' + b"9" * 5000 + b"}"},
        400,
        "request.malformed",
        SERVED,
    ),
    "idempotency key": (
        _nothing,
        {"Idempotency-Key": "x" * 256},
        422,
        "request.idempotency_key_invalid",
        SERVED,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_has_its_code_its_entry_and_no_cost(shop: Shop, name: str) -> None:
    prepare, asked, status, code, event = REFUSALS[name]
    prepare(shop)
    keys.CACHE.clear()
    used = shop.reload().used
    before = AuditEntry.objects.count()
    response = call(shop.secret, **asked)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code)
    assert response["Content-Type"] == "application/problem+json"
    assert problem["status"] == status
    assert AuditEntry.objects.count() == before + 1, "one entry for one refused call"
    entry = entries(event)[-1]
    assert (entry["outcome"], entry["reason"]) == ("denied", code)
    assert entry["actor"] == f"key:{shop.issued.key.public_id}"
    assert "Zhang" not in response.content.decode() + json.dumps(entry, ensure_ascii=False)
    assert (usage(), predictions(), shop.reload().used) == ([], [], used)


def test_the_pointer_names_the_field(shop: Shop) -> None:
    problem = call(shop.secret, body={"row": {**ROW, "age": "x"}}).json()
    assert problem["pointer"] == "/row/age"


def test_the_license_is_judged_before_the_body(shop: Shop) -> None:
    _revoke_license(shop)
    assert call(shop.secret, body=b"{").json()["code"] == "license.revoked"


@pytest.mark.parametrize(
    ("secret", "code"),
    [
        ("", "key.malformed"),
        ("pck_live_x", "key.malformed"),
        (keys.generate(KeyMode.LIVE).text, "key.unknown"),
    ],
    ids=["empty", "short", "unknown"],
)
def test_before_authentication_one_entry_covers_the_flood(
    shop: Shop, secret: str, code: str
) -> None:
    before = AuditEntry.objects.count()
    for _ in range(20):
        response = call(secret)
        assert (response.status_code, response.json()["code"]) == (401, code)
        assert response["WWW-Authenticate"].startswith("Bearer")
    assert AuditEntry.objects.count() == before + 1
    [entry] = entries("access.call_refused")
    assert (entry["reason"], entry["actor"], entry["outcome"]) == (code, "system:door", "denied")


def test_another_customers_license_is_not_reached(shop: Shop) -> None:
    """A key row that points at a license of another customer opens nothing."""
    other, _ = make_customer("other")
    license_ = make_license(shop.house, other, shop.version.model)
    _key(license_id=license_.pk)(shop)
    keys.CACHE.clear()
    response = call(shop.secret)
    assert response.status_code == 404
    assert usage() == []


def test_another_customers_prediction_looks_missing(shop: Shop) -> None:
    other, _ = make_customer("other")
    stranger = make_key(shop.house, make_license(shop.house, other, shop.version.model)).secret
    made = call(shop.secret).json()["prediction"]
    answers = [
        Client().get(f"/api/v1/receipts/{name}", headers={"Authorization": f"Bearer {stranger}"})
        for name in (made, "00000000-0000-0000-0000-000000000000", "nonsense")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    assert len(entries("access.refused")) == 3


def test_a_background_that_was_exchanged_is_a_fault_of_ours(shop: Shop) -> None:
    with across_tenants(reason="a test prepares"):
        ModelVersion.objects.filter(pk=shop.version.pk).update(background_digest="0" * 64)
    response = call(shop.secret, verb="explain")
    assert (response.status_code, response.json()["code"]) == (500, "serving.background_differs")
    [entry] = entries("prediction.served")
    assert (entry["outcome"], entry["reason"]) == ("failed", "serving.background_differs")
    assert shop.reload().used == 0


def test_weights_that_were_exchanged_are_not_served(shop: Shop) -> None:
    other = make_version(shop.house, "other", seed=9)
    serving.MODELS.drop(shop.version.artifact_digest)
    with across_tenants(reason="a test prepares"):
        swapped = StoredObject.objects.get(pk=other.artifact_id)
        ModelVersion.objects.filter(pk=shop.version.pk).update(artifact=swapped)
    response = call(shop.secret)
    assert (response.status_code, response.json()["code"]) == (500, "artifact.digest")
    assert entries("prediction.served")[-1]["outcome"] == "failed"


def test_an_unforeseen_fault_is_opaque_outside_and_recorded_inside(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET_VALUE)

    monkeypatch.setattr(serving, "scores", broken)
    response = call(shop.secret)
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "Zhang" not in response.content.decode()
    [entry] = entries("prediction.served")
    assert (entry["outcome"], entry["reason"]) == ("failed", "internal")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (_revoke_key, 401, "key.revoked"),
        (_key(expires_at=PAST), 401, "key.expired"),
        (_revoke_license, 403, "license.revoked"),
        (_license(starts_at=PAST - timedelta(days=1), expires_at=PAST), 403, "license.expired"),
        (_license(quota=5, used=5), 429, "license.quota_exhausted"),
        (_withdraw, 403, "model.not_released"),
    ],
    ids=["key revoked", "key expired", "license revoked", "license expired", "quota", "withdrawn"],
)
@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_what_ends_while_a_call_is_computed_ends_the_call(
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    change: Callable[[Shop], None],
    status: int,
    code: str,
) -> None:
    """However long a model thinks: what is charged is judged in the transaction that charges."""
    score = serving.scores

    changes = [change]

    def slow(*args: Any, **kwargs: Any) -> Any:
        if changes:
            changes.pop()(shop)
        return score(*args, **kwargs)

    monkeypatch.setattr(serving, "scores", slow)
    response = call(shop.secret, verb=verb)
    assert (response.status_code, response.json()["code"]) == (status, code)
    entry = entries("prediction.served")[-1]
    assert (entry["outcome"], entry["reason"]) == ("denied", code)
    assert (usage(), predictions()) == ([], [])


def test_a_score_and_its_explanation_are_of_one_output(shop: Shop) -> None:
    """What the customer saw, what the record explains and what the log holds: one number."""
    answer = call(shop.secret, verb="explain").json()
    [stored], [entry] = predictions(), entries("prediction.served")
    assert stored.explanation is not None
    assert f"{float(stored.explanation['output']):.6f}" == entry["facts"]["output"]
    assert entry["facts"]["output"] == f"{answer['score']:.6f}"
    assert answer["explanation"]["record"] == entry["facts"]["explanation"]


def test_an_explanation_of_another_output_is_not_served(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit import explanations

    explain = explanations.explain_row

    def of_another(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {**explain(*args, **kwargs), "output": "0.123"}

    monkeypatch.setattr(explanations, "explain_row", of_another)
    response = call(shop.secret, verb="explain")
    assert (response.status_code, response.json()["code"]) == (500, "serving.explanation_differs")
    assert shop.reload().used == 0


def test_last_use_is_written_once_a_minute(shop: Shop) -> None:
    call(shop.secret)
    with across_tenants(reason="a test looks"):
        first = ApiKey.objects.get(pk=shop.issued.key.pk).last_used_at
        call(shop.secret)
        assert ApiKey.objects.get(pk=shop.issued.key.pk).last_used_at == first
    assert first is not None


class TestIdempotency:
    """The same call again is the same answer, charged once."""

    def test_a_replay_costs_nothing(self, shop: Shop) -> None:
        first = call(shop.secret, **{"Idempotency-Key": "order-1"})
        again = call(shop.secret, **{"Idempotency-Key": "order-1"})
        assert again.json() == first.json()
        assert "Idempotent-Replayed" not in first
        assert again["Idempotent-Replayed"] == "true"
        assert (len(usage()), shop.reload().used) == (1, 1)

    def test_without_a_key_each_call_is_a_call(self, shop: Shop) -> None:
        assert call(shop.secret).json()["prediction"] != call(shop.secret).json()["prediction"]
        assert shop.reload().used == 2

    def test_a_replay_outlives_the_quota_and_the_license(self, shop: Shop) -> None:
        first = call(shop.secret, **{"Idempotency-Key": "k"}).json()
        _license(quota=1)(shop)
        _revoke_license(shop)
        assert call(shop.secret, **{"Idempotency-Key": "k"}).json() == first
        assert call(shop.secret).status_code == 403

    @pytest.mark.parametrize(
        ("verb", "body"),
        [("explain", None), ("predict", {"row": {**ROW, "age": 43}})],
        ids=["another feature", "another row"],
    )
    def test_another_body_under_the_key_is_refused(
        self, shop: Shop, verb: str, body: object
    ) -> None:
        call(shop.secret, **{"Idempotency-Key": "k"})
        response = call(shop.secret, verb=verb, body=body, **{"Idempotency-Key": "k"})
        assert (response.status_code, response.json()["code"]) == (422, "idempotency.body_differs")
        assert shop.reload().used == 1

    def test_two_customers_may_use_the_same_key(self, shop: Shop) -> None:
        other, _ = make_customer("other")
        secret = make_key(shop.house, make_license(shop.house, other, shop.version.model)).secret
        one = call(shop.secret, **{"Idempotency-Key": "k"}).json()
        two = call(secret, **{"Idempotency-Key": "k"}).json()
        assert one["prediction"] != two["prediction"]

    def test_the_callers_key_stays_out_of_the_log(self, shop: Shop) -> None:
        call(shop.secret, **{"Idempotency-Key": "zhang.wei@example.com"})
        assert "zhang" not in json.dumps(entries("prediction.served"))
        assert "zhang" not in predictions()[0].request_id

    def test_a_failed_call_frees_its_key(self, shop: Shop) -> None:
        bad = call(shop.secret, body={"row": {}}, **{"Idempotency-Key": "k"})
        assert bad.status_code == 422
        assert call(shop.secret, **{"Idempotency-Key": "k"}).status_code == 200

    def test_in_flight_elsewhere_is_a_conflict(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        score = serving.scores
        inner: list[Any] = []

        def slow(*args: Any, **kwargs: Any) -> Any:
            if not inner:
                inner.append(None)  # a second request while the first is being answered
                inner[0] = call(shop.secret, **{"Idempotency-Key": "k"})
            return score(*args, **kwargs)

        monkeypatch.setattr(serving, "scores", slow)
        assert call(shop.secret, **{"Idempotency-Key": "k"}).status_code == 200
        assert (inner[0].status_code, inner[0].json()["code"]) == (409, "idempotency.in_flight")
        assert shop.reload().used == 1

    def test_held_in_this_process_alone_and_let_go(self, shop: Shop) -> None:
        from gateway import idempotency

        with idempotency.claimed(shop.customer.id, "ik-x"):
            with pytest.raises(InFlightError), idempotency.claimed(shop.customer.id, "ik-x"):
                pass
            with idempotency.claimed(shop.house.id, "ik-x"):
                pass
        with idempotency.claimed(shop.customer.id, "ik-x"):
            pass

    @pytest.mark.parametrize("body", [None, {"row": {**ROW, "age": 43}}])
    def test_answered_by_another_process_meanwhile_it_is_one_charge(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch, body: object
    ) -> None:
        """The other's commit comes between our question and ours."""
        from gateway import idempotency

        first = call(shop.secret, **{"Idempotency-Key": "k"}).json()
        answered = idempotency.answered
        seen: list[object] = []

        def too_early(*args: Any) -> Any:
            seen.append(answered(*args) if body is None else None)

        monkeypatch.setattr(idempotency, "answered", too_early)
        again = call(shop.secret, body=body, **{"Idempotency-Key": "k"})
        assert seen
        if body is None:
            assert (again.json(), again["Idempotent-Replayed"]) == (first, "true")
            assert [entry["outcome"] for entry in entries("prediction.served")] == ["done"]
        else:
            assert (again.status_code, again.json()["code"]) == (
                422,
                "idempotency.body_differs",
            )
        assert (len(usage()), shop.reload().used) == (1, 1)


def test_features_are_what_the_license_lists() -> None:
    assert {feature.value for feature in Feature} == {"predict", "explain", "feedback", "batch"}
