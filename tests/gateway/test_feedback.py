"""True labels of answered calls: taken once, of one's own calls, and kept as a bit."""

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit.models import AuditEntry
from gateway import feedback
from gateway.actions.feedback import take_feedback
from gateway.actions.licenses import revoke_license
from gateway.authentication import KeyActor
from gateway.batches import Name
from gateway.errors import FeedbackConflictError, FeedbackError
from gateway.feedback import Sent
from gateway.models import Feedback, Prediction
from governance.models import User
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import (
    Shop,
    charge,
    make_customer,
    make_key,
    make_license,
    make_shop,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Shop:
    return make_shop()


def serve(shop: Shop, *names: str, secret: str = "") -> list[str]:
    """Answered calls, each decided as ">50K"; their ids."""
    charge(secret or shop.secret, names)
    with across_tenants(reason="a test looks"):
        ids = dict(Prediction.objects.values_list("request_id", "id"))
    return [str(ids[name]) for name in names]


def send(secret: str, body: object, prediction: str = "") -> Any:
    address = (
        f"/api/v1/predictions/{prediction}/feedback"
        if prediction
        else ("/api/v1/predictions/feedback")
    )
    return Client(raise_request_exception=False).post(
        address,
        data=body if isinstance(body, bytes) else json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"} if secret else {},
    )


def kept() -> list[Feedback]:
    with across_tenants(reason="a test looks"):
        return list(Feedback.objects.select_related("version").order_by("id"))


def entries(event: str = "prediction.feedback_taken") -> list[dict[str, Any]]:
    rows = AuditEntry.objects.filter(event=event).order_by("at")
    return [json.loads(bytes(row.body)) for row in rows]


def items(ids: list[str], *labels: str | None) -> dict[str, Any]:
    pairs = zip(ids, labels, strict=True)
    return {"items": [{"prediction": one, "label": label} for one, label in pairs]}


def test_a_label_becomes_one_bit(shop: Shop) -> None:
    one, other = serve(shop, "a", "b")
    response = send(shop.secret, {"label": ">50K"}, one)
    assert (response.status_code, response.json()) == (200, {"taken": 1, "known": 0})
    [row] = kept()
    assert (row.correct, row.version.number, str(row.prediction_id)) == (True, 1, one)
    assert (row.hour.minute, row.hour.second, row.hour.microsecond) == (0, 0, 0)
    assert {field.name for field in Feedback._meta.get_fields()} == {
        "id", "tenant", "prediction", "version", "correct", "hour",
    }  # fmt: skip
    [entry] = entries()
    assert entry["facts"] == {"license": shop.license.reference, "taken": 1, "known": 0}
    assert entry["actor"] == f"key:{shop.issued.key.public_id}"
    assert entry["tenant"] == str(shop.house.id)  # whose model it is
    send(shop.secret, {"label": "<=50K"}, other)
    assert [row.correct for row in kept()] == [True, False]


def test_the_same_label_again_changes_nothing_and_leaves_no_entry(shop: Shop) -> None:
    ids = serve(shop, "a", "b")
    assert send(shop.secret, items(ids, ">50K", "<=50K")).json() == {"taken": 2, "known": 0}
    assert send(shop.secret, items(ids, ">50K", "<=50K")).json() == {"taken": 0, "known": 2}
    assert send(shop.secret, {"label": "<=50K"}, ids[1]).json() == {"taken": 0, "known": 1}
    assert (len(kept()), len(entries())) == (2, 1)


def test_another_label_is_a_conflict(shop: Shop) -> None:
    first, second = serve(shop, "a", "b")
    send(shop.secret, {"label": ">50K"}, first)
    for body, prediction in (
        ({"label": "<=50K"}, first),
        (items([second, first], ">50K", "<=50K"), ""),
        (items([second, second], ">50K", "<=50K"), ""),
    ):
        response = send(shop.secret, body, prediction)
        assert (response.status_code, response.json()["code"]) == (409, "feedback.conflict")
    assert [row.correct for row in kept()] == [True]  # of many, all or none
    assert [entry["reason"] for entry in entries()] == [None, *["feedback.conflict"] * 3]


BAD: list[tuple[Any, str, int, str]] = [
    ({"label": "rich"}, "one", 422, "feedback.label_unknown"),
    ({"label": None}, "one", 422, "feedback.label_unknown"),  # this model knows both its labels
    ({"label": ">50k"}, "one", 422, "feedback.label_unknown"),
    ({}, "one", 422, "request.invalid"),
    ({"label": True}, "one", 422, "request.invalid"),
    ({"label": ["x"]}, "one", 422, "request.invalid"),
    ({"label": "x" * 100_000}, "one", 422, "request.invalid"),
    ({"label": ">50K", "row": {"age": 42}}, "one", 422, "request.invalid"),
    ([], "one", 422, "request.invalid"),
    (b"{", "one", 400, "request.malformed"),
    ({"label": ">50K"}, "nothing", 404, "not_found"),
    ({"label": ">50K"}, str(uuid.UUID(int=7)), 404, "not_found"),
    ({"items": []}, "", 422, "request.invalid"),
    ({"items": "all"}, "", 422, "request.invalid"),
    ({"items": [{"prediction": "x", "label": ">50K"}]}, "", 422, "request.invalid"),
    ({"items": [{"label": ">50K"}]}, "", 422, "request.invalid"),
    (items([str(uuid.UUID(int=7))], ">50K"), "", 404, "not_found"),
    (items([str(uuid.UUID(int=7))] * 1001, *[">50K"] * 1001), "", 422, "request.invalid"),
]


def test_bad_input_has_a_stable_code(shop: Shop) -> None:
    [one] = serve(shop, "a")
    for body, prediction, status, code in BAD:
        response = send(shop.secret, body, one if prediction == "one" else prediction)
        told = response.json()
        assert (response.status_code, told["code"]) == (status, code), (str(body)[:80], told)
        assert "rich" not in response.content.decode()
    several = send(shop.secret, items([one, *serve(shop, "b")], ">50K", "rich"))
    assert several.json()["pointer"] == "/items/1/label"
    assert kept() == []


def test_where_one_label_is_told_from_all_others(shop: Shop) -> None:
    shop.version.card["target"]["negative"] = None
    assert feedback.labels_of(shop.version) == (">50K", None)
    shop.version.card = {}
    assert feedback.labels_of(shop.version) == ()


def test_what_another_received_is_not_found(shop: Shop) -> None:
    other, _ = make_customer("other")
    stranger = make_key(shop.house, make_license(shop.house, other, shop.version.model)).secret
    sibling = make_key(
        shop.house, make_license(shop.house, shop.customer, shop.version.model)
    ).secret
    [one] = serve(shop, "a")
    for secret in (stranger, sibling):  # another customer's key, and one of another license
        for response in (
            send(secret, {"label": ">50K"}, one),
            send(secret, items([one], ">50K")),
        ):
            assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert (kept(), entries()) == ([], [])
    second = make_key(shop.house, shop.license).secret  # of the same license
    assert send(second, {"label": ">50K"}, one).status_code == 200
    assert [entry["facts"] for entry in entries("access.refused")] == [{"kind": "prediction"}] * 4


def test_people_and_strangers_are_refused(shop: Shop) -> None:
    [one] = serve(shop, "a")
    assert send("", {"label": ">50K"}, one).status_code == 401
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(pk=shop.admin.user_id))
    response = client.post(
        f"/api/v1/predictions/{one}/feedback",
        data={"label": ">50K"},
        content_type="application/json",
    )
    assert (response.status_code, response.json()["code"]) == (403, "permission.keys_only")


def test_a_revoked_license_takes_no_label(shop: Shop) -> None:
    first, second = serve(shop, "a", "b")
    send(shop.secret, {"label": ">50K"}, first)
    with tenant_scope(shop.house.id):
        revoke_license(shop.house.platform, shop.license)
    for one in (first, second):
        response = send(shop.secret, {"label": ">50K"}, one)
        assert (response.status_code, response.json()["code"]) == (403, "license.revoked")
    assert len(kept()) == 1


def test_a_label_is_taken_within_its_time(shop: Shop, settings: Any) -> None:
    settings.FEEDBACK_DAYS = 90
    [one] = serve(shop, "a")
    actor = KeyActor(_facts(shop))
    name = Name(uuid.UUID(one))
    sent = [Sent(name, ">50K")]
    with tenant_scope(shop.customer.id):
        soon = timezone.now() + timedelta(days=89, hours=23)
        assert len(feedback.judge(actor, sent, now=soon).fresh) == 1
        late = timezone.now() + timedelta(days=90, minutes=1)
        with pytest.raises(FeedbackError) as caught:
            feedback.judge(actor, sent, now=late)
        assert caught.value.stable_code == "feedback.too_late"
        take_feedback(actor, shop.license, sent=sent)
        assert feedback.judge(actor, sent, now=late).known == 1  # a repeat is never too late
        with pytest.raises(FeedbackConflictError):
            feedback.judge(actor, [Sent(name, "<=50K")], now=late)


def test_rows_are_only_added(shop: Shop) -> None:
    from django.db import DatabaseError, transaction

    [one] = serve(shop, "a")
    send(shop.secret, {"label": ">50K"}, one)
    changes: list[Callable[[Any], Any]] = [
        lambda rows: rows.update(correct=False),
        lambda rows: rows.delete(),
    ]
    for change in changes:
        with (
            across_tenants(reason="a test tries"),
            pytest.raises(DatabaseError),
            transaction.atomic(),
        ):
            change(Feedback.objects.all())


def _facts(shop: Shop) -> Any:
    from gateway import keys

    return keys.authenticate(shop.secret)
