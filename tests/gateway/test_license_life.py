"""A license from its issue to its end: terms, suspension, renewal, amendments, trials, seats."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from audit.errors import DomainError
from audit.models import AuditEntry
from gateway import keys
from gateway.actions.keys import issue_key, revoke_key
from gateway.actions.licenses import (
    amend_license,
    issue_license,
    renew_license,
    resume_license,
    revoke_license,
    suspend_license,
)
from gateway.actions.predictions import serve_prediction
from gateway.agreements import Agreement
from gateway.authentication import KeyActor
from gateway.models import ApiKey, License, LicenseAmendment
from gateway.standing import STANDINGS
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import (
    PURPOSE,
    ROW,
    Shop,
    answered,
    make_key,
    make_license,
    make_shop,
    make_version,
)

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture
def shop() -> Shop:
    STANDINGS.clear()
    return make_shop()


def call(shop: Shop, secret: str | None = None, **body: Any) -> tuple[int, str]:
    response = Client(raise_request_exception=False).post(
        "/api/v1/models/income/predict",
        data={"row": ROW, **body},
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret or shop.secret}"},
    )
    told = response.json()
    return response.status_code, told.get("code") or f"version {told['version']}"


def as_platform(shop: Shop, act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with tenant_scope(shop.house.id):
        return act(shop.house.platform, *args, **kwargs)


def amend(shop: Shop, **changes: Any) -> License:
    made: License = as_platform(shop, amend_license, shop.license, changes=changes)
    return made


def last(event: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(
        bytes(AuditEntry.objects.filter(event=event).latest("at").body)
    )
    return body


def refused(shop: Shop, act: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(DomainError) as error:
        as_platform(shop, act, *args, **kwargs)
    return error.value.stable_code


# Terms


def test_a_pinned_version_answers_and_no_other(shop: Shop) -> None:
    make_version(shop.house, number=2, seed=2)
    assert call(shop) == (200, "version 2")
    amend(shop, version=1)
    assert call(shop) == (200, "version 1")
    from training.actions.models import withdraw_model

    with tenant_scope(shop.house.id):
        withdraw_model(shop.house.officer, shop.version)
    assert call(shop) == (403, "model.not_released")  # the newer one is not what was bought
    amend(shop, version=None)
    assert call(shop) == (200, "version 2")


def test_what_a_pinned_version_reads_is_what_its_customer_is_shown(shop: Shop) -> None:
    make_version(shop.house, number=2, seed=2)
    client = Client(headers={"Authorization": f"Bearer {shop.secret}"})
    assert client.get("/api/v1/models/income").json()["released"]["number"] == 2
    amend(shop, version=1)
    assert client.get("/api/v1/models/income").json()["released"]["number"] == 1


@pytest.mark.parametrize(
    ("regions", "serving", "told", "expected"),
    [
        ([], "", {}, (200, "version 1")),
        (["de"], "", {}, (403, "license.region_missing")),
        (["de"], "de", {}, (200, "version 1")),
        (["de"], "us", {}, (403, "license.region_differs")),
        (["de"], "us", {"region": "de"}, (200, "version 1")),
        (["de"], "de", {"region": "us"}, (403, "license.region_differs")),
        ([], "", {"region": "DE"}, (422, "request.body_invalid")),
        ([], "", {"region": 7}, (422, "request.body_invalid")),
    ],
)
def test_regions_are_enforced(
    shop: Shop,
    settings: Any,
    regions: list[str],
    serving: str,
    told: dict[str, Any],
    expected: tuple[int, str],
) -> None:
    settings.SERVING_REGION = serving
    if regions:
        amend(shop, regions=regions)
    assert call(shop, **told) == expected
    if expected[0] == 200 and (told or serving):
        assert last("prediction.served")["facts"]["region"] == (told.get("region") or serving)


def test_the_purpose_of_a_call_is_recorded(shop: Shop) -> None:
    call(shop)
    assert last("prediction.served")["facts"]["purpose"] == PURPOSE


def test_feedback_needs_its_feature(shop: Shop) -> None:
    amend(shop, features=["predict"])
    client = Client(headers={"Authorization": f"Bearer {shop.secret}"})
    answer = client.post(
        "/api/v1/models/income/predict", {"row": ROW}, content_type="application/json"
    ).json()
    response = client.post(
        f"/api/v1/predictions/{answer['prediction']}/feedback",
        {"label": ">50K"},
        content_type="application/json",
    )
    assert (response.status_code, response.json()["code"]) == (403, "license.feature_missing")


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"features": ()}, "license.features_invalid"),
        ({"features": ("train",)}, "license.features_invalid"),
        ({"purposes": ()}, "license.purposes_invalid"),
        ({"purposes": (PURPOSE, "marketing")}, "purpose.unknown"),
        ({"regions": ("DE",)}, "license.regions_invalid"),
        ({"regions": tuple(f"r{n}" for n in range(65))}, "license.regions_invalid"),
        ({"quota": 0}, "license.quota_invalid"),
        ({"quota": 2**60}, "license.quota_invalid"),
        ({"seats": 0}, "license.seats_invalid"),
        ({"seats": 10**9}, "license.seats_invalid"),
        ({"version": 9}, "model.not_released"),
        ({"days": 31, "trial": True}, "license.trial_too_long"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_terms_that_cannot_be(shop: Shop, terms: dict[str, Any], code: str) -> None:
    asked = {"purposes": (PURPOSE,), **terms}
    if "purposes" in terms:
        with tenant_scope(shop.house.id), pytest.raises(DomainError) as error:
            issue_license(
                shop.house.platform,
                shop.version.model,
                customer=shop.customer,
                features=["predict"],
                purposes=asked["purposes"],
                quota=1,
                expires_at=timezone.now() + DAY,
            )
    else:
        with pytest.raises(DomainError) as error:
            make_license(shop.house, shop.customer, shop.version.model, **terms)
    assert error.value.stable_code == code


# Seats


def test_a_seat_is_a_key_that_opens(shop: Shop) -> None:
    license_ = make_license(shop.house, shop.customer, shop.version.model, seats=2)
    first = make_key(shop.house, license_)
    make_key(shop.house, license_)
    assert refused(shop, issue_key, license_, name="third") == "license.seats_taken"
    as_platform(shop, revoke_key, license_, key=first.key)
    second = make_key(shop.house, license_)
    assert refused(shop, issue_key, license_, name="third") == "license.seats_taken"
    with across_tenants(reason="a test prepares"):
        ApiKey.objects.filter(pk=second.key.pk).update(expires_at=timezone.now())
    make_key(shop.house, license_)


def test_seats_are_not_cut_below_the_keys_that_are_open(shop: Shop) -> None:
    make_key(shop.house, shop.license)
    assert refused(shop, amend_license, shop.license, changes={"seats": 1}) == "license.seats_taken"
    assert amend(shop, seats=2).seats == 2


# Suspension


def test_a_suspended_license_rests_and_holds_again(shop: Shop) -> None:
    assert call(shop)[0] == 200
    as_platform(shop, suspend_license, shop.license, reason="payment")
    assert call(shop) == (403, "license.suspended")  # though it is remembered for seconds
    assert last("license.suspended")["facts"]["reason"] == "payment"
    assert refused(shop, suspend_license, shop.license, reason="misuse") == "license.suspended"
    as_platform(shop, resume_license, shop.license)
    assert call(shop)[0] == 200
    assert refused(shop, resume_license, shop.license) == "license.not_suspended"
    assert refused(shop, suspend_license, shop.license, reason="x") == "license.reason_unknown"
    as_platform(shop, revoke_license, shop.license)
    for act, kwargs in (
        (suspend_license, {"reason": "misuse"}),
        (resume_license, {}),
        (renew_license, {"expires_at": timezone.now() + 99 * DAY}),
        (amend_license, {"changes": {"quota": 5}}),
    ):
        assert refused(shop, act, shop.license, **kwargs) == "license.revoked"


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "suspended": ({"suspended_at": timezone.now(), "suspended_for": "misuse"}, "license.suspended"),
    "another feature": ({"features": ["explain"], "amended": 1}, "license.feature_missing"),
    "another purpose": ({"purposes": ["other"], "amended": 1}, "model.purpose_differs"),
    "another region": ({"regions": ["de"], "amended": 1}, "license.region_missing"),
    "another version": ({"version": 7, "amended": 1}, "license.terms_changed"),
    "less quota": ({"quota": 1, "used": 1, "amended": 1}, "license.quota_exhausted"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_call_in_flight_is_judged_by_the_terms_at_its_commit(shop: Shop, name: str) -> None:
    changed, code = CHANGES[name]
    facts = keys.authenticate(shop.secret)
    inflight = answered(facts, shop.license, shop.version, "x")
    with across_tenants(reason="a test prepares"):
        License.objects.filter(pk=shop.license.pk).update(**changed)
    with tenant_scope(shop.customer.id), pytest.raises(DomainError) as error:
        serve_prediction(KeyActor(facts), shop.license, inflight)
    assert error.value.stable_code == code
    assert shop.reload().used == changed.get("used", 0)


def test_an_amendment_is_no_refusal_for_calls_that_it_still_allows(shop: Shop) -> None:
    """The remembered terms are out of date: the call is judged again, and answered."""
    assert call(shop)[0] == 200
    amend(shop, quota=50)
    assert call(shop)[0] == 200
    assert AuditEntry.objects.filter(event="prediction.served").count() == 2


# Renewal


def test_a_renewal_keeps_the_license_and_its_keys(shop: Shop) -> None:
    with tenant_scope(shop.house.id):
        early = issue_key(
            shop.house.platform, shop.license, name="early", expires_at=timezone.now() + DAY
        )
    with across_tenants(reason="a test prepares"):  # its term is over, and that of its key
        past = timezone.now() - DAY
        License.objects.update(starts_at=past - DAY, expires_at=past)
        ApiKey.objects.filter(pk=shop.issued.key.pk).update(expires_at=past)
    assert call(shop)[0] == 401
    end = timezone.now() + 90 * DAY
    assert refused(shop, renew_license, shop.license, expires_at=past) == "license.term_invalid"
    renewed = as_platform(shop, renew_license, shop.license, expires_at=end)
    keys.CACHE.clear()
    assert (renewed.pk, renewed.expires_at) == (shop.license.pk, end)
    assert call(shop)[0] == 200
    with across_tenants(reason="a test looks"):
        assert ApiKey.objects.get(pk=early.key.pk).expires_at == early.key.expires_at
    assert last("license.renewed")["facts"]["keys"] == 1


# Amendments


def test_amendments_are_numbered_and_chain_by_their_digests(shop: Shop) -> None:
    amend(shop, quota=500)
    amend(shop, features=["predict"], seats=3)
    as_platform(shop, renew_license, shop.license, expires_at=shop.license.expires_at + DAY)
    with across_tenants(reason="a test looks"):
        rows = list(LicenseAmendment.objects.order_by("number"))
    assert [(row.number, row.kind) for row in rows] == [
        (1, "amendment"), (2, "amendment"), (3, "renewal"),
    ]  # fmt: skip
    issued = last("license.issued")["facts"]["terms"]
    assert [row.before_digest for row in rows] == [issued, *(row.after_digest for row in rows[:-1])]
    assert rows[-1].after_digest == Agreement.of(shop.reload()).digest
    from audit.canonical import digest

    assert all(digest(row.before) == row.before_digest for row in rows)
    assert all(digest(row.after) == row.after_digest for row in rows)
    assert last("license.amended")["facts"]["changed"] == ["features", "seats"]


@pytest.mark.parametrize(
    "verb",
    ["UPDATE gateway_licenseamendment SET number = 9", "DELETE FROM gateway_licenseamendment"],
)
def test_an_amendment_is_never_changed(shop: Shop, verb: str) -> None:
    amend(shop, quota=500)
    with pytest.raises(Exception, match="append"), transaction.atomic():
        connection.cursor().execute(verb)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "license.amendment_invalid"),
        ({"used": 0}, "license.amendment_invalid"),
        ({"expires_at": timezone.now()}, "license.amendment_invalid"),
        ({"quota": 100}, "license.amendment_invalid"),
        ({"trial": True}, "license.not_a_trial"),
        ({"quota": 1}, "license.quota_below_use"),
        ({"purposes": ["marketing"]}, "purpose.unknown"),
    ],
)
def test_amendments_that_cannot_be(shop: Shop, changes: dict[str, Any], code: str) -> None:
    assert call(shop)[0] == call(shop)[0] == 200
    before = shop.reload()
    assert refused(shop, amend_license, shop.license, changes=changes) == code
    assert Agreement.of(shop.reload()) == Agreement.of(before)
    with across_tenants(reason="a test looks"):
        assert not LicenseAmendment.objects.exists()


# Trials


def test_a_trial_is_had_once_and_converted(shop: Shop) -> None:
    model = shop.version.model
    trial = make_license(shop.house, shop.customer, model, trial=True, days=30)
    assert trial.trial
    with pytest.raises(DomainError) as error:
        make_license(shop.house, shop.customer, model, trial=True, days=5)
    assert error.value.stable_code == "license.trial_used"
    later = timezone.now() + 300 * DAY
    assert refused(shop, renew_license, trial, expires_at=later) == "license.trial_renewed"
    paid = as_platform(shop, amend_license, trial, changes={"trial": False})
    assert not paid.trial
    assert as_platform(shop, renew_license, trial, expires_at=later).expires_at == later
    with pytest.raises(DomainError) as error:
        make_license(shop.house, shop.customer, model, trial=True, days=5)
    assert error.value.stable_code == "license.trial_used"
