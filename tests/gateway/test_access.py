"""Who may do what over HTTP: verb × caller × address × status, own tenant and stranger's."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from audit.canonical import digest
from audit.models import AuditEntry
from gateway.actions.limits import Wanted, set_limit
from gateway.models import License
from governance.actions.measurements import Measured, record_measurement
from governance.models import Proposal, User
from governance.models.releases import DataRelease
from governance.permissions import ProposalKind
from governance.rbac import UserActor
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import PURPOSE, Shop, make_dataset, make_shop
from tests.factories.people import make_house
from training.actions.models import propose_release
from training.examination import Examination
from training.models import Budget, ModelState, ModelVersion

pytestmark = pytest.mark.django_db

STAFF = ("steward", "officer", "engineer", "owner", "platform", "auditor")
CALLERS = (*STAFF, "customer", "key", "stranger", "nobody")


@dataclass(frozen=True)
class Street:
    """A shop with one of everything, and callers."""

    shop: Shop
    names: dict[str, str]

    def client(self, caller: str) -> Client:
        client = Client(raise_request_exception=False)
        if caller == "key":
            return Client(
                raise_request_exception=False,
                headers={"Authorization": f"Bearer {self.shop.secret}"},
            )
        if caller != "nobody":
            client.force_login(User.objects.get(pk=self.actor(caller).user_id))
        return client

    def actor(self, caller: str) -> UserActor:
        if caller == "customer":
            return self.shop.admin
        if caller == "stranger":
            rival = User.objects.get(username="rival-officer")
            return UserActor(rival.id, None)
        found: UserActor = getattr(self.shop.house, caller)
        return found


@pytest.fixture
def street() -> Street:
    shop = make_shop()
    make_house("rival")
    house = shop.house
    with tenant_scope(house.id):
        sealed = make_dataset(house, "applicants")
        measured = record_measurement(
            house.steward, house.tenant, measured=Measured("detector-0", "", "0" * 64, 1, ())
        )
        release = DataRelease.objects.create(
            tenant=house.tenant, version=sealed, recipient="acme", recipient_class="external",
            rows=1, level=3, digest="0" * 64, released_by=house.user(house.steward),
        )  # fmt: skip
        budget = Budget.objects.create(
            tenant=house.tenant, dataset=sealed.dataset, epsilon_cap="10", delta="0.00001"
        )
        fresh = ModelVersion.objects.create(
            tenant=house.tenant,
            model=shop.version.model,
            number=2,
            artifact=shop.version.artifact,
            artifact_digest=shop.version.artifact_digest,
            guarantee="dp",
            card={},
            card_digest=digest({}),
            state=ModelState.REGISTERED,
        )
        examination = Examination.objects.create(
            tenant=house.tenant, version=shop.version, kinds=["engine"],
            requested_by=house.user(house.engineer),
        )  # fmt: skip
        limit = set_limit(
            house.platform, house.tenant, of=shop.license, wanted=Wanted(quota=50, rate=1000)
        )
        proposal = propose_release(house.engineer, fresh)
        assert proposal.kind == ProposalKind.MODEL_RELEASE
    prediction = Client().post(
        "/api/v1/models/income/predict",
        data={"row": {"age": 1, "hours": 1, "education": None, "note": None}},
        content_type="application/json",
        headers={"Authorization": f"Bearer {shop.secret}"},
    )
    names = {
        "approval": str(proposal.id),
        "entry": str(AuditEntry.objects.filter(tenant=str(house.id)).latest("at").id),
        "budget": str(budget.id),
        "measurement": str(measured.id),
        "release": str(release.id),
        "version": str(sealed.id),
        "run": str(shop.version.run_id),
        "examination": str(examination.id),
        "license": str(shop.license.id),
        "limit": str(limit.id),
        "key": shop.issued.key.public_id,
        "prediction": prediction.json()["prediction"],
    }
    return Street(shop, names)


# address -> who gets 200; a stranger who holds the right role at home gets 404 for one thing of
# this house and 200 for a list (of nothing of this house), everybody else 403, nobody 401.
ALL = set(STAFF)
READS: dict[str, set[str]] = {
    "approvals": ALL | {"customer"},
    "approvals/{approval}": ALL,
    "audit/entries": {"officer", "auditor", "owner", "customer"},
    "audit/entries/{entry}": {"officer", "auditor", "owner"},
    "budgets": ALL - {"platform"} | {"customer"},
    "budgets/{budget}": ALL - {"platform"},
    "data-releases": {"steward", "officer", "auditor", "owner", "customer"},
    "data-releases/{release}": {"steward", "officer", "auditor", "owner"},
    "dataset-versions": ALL - {"platform"} | {"customer"},
    "dataset-versions/{version}": ALL - {"platform"},
    "datasets": ALL - {"platform"} | {"customer"},
    "datasets/applicants": ALL - {"platform"},
    "detector-measurements": ALL | {"customer"},
    "detector-measurements/{measurement}": ALL,
    "examinations": ALL - {"platform"} | {"customer"},
    "examinations/{examination}": ALL - {"platform"},
    "keys": {"officer", "auditor", "owner", "platform", "customer", "key"},
    "keys/{key}": {"officer", "auditor", "owner", "platform", "customer", "key"},
    "licenses": {"officer", "auditor", "owner", "platform", "customer", "key"},
    "licenses/{license}": {"officer", "auditor", "owner", "platform", "customer", "key"},
    "limits": {"officer", "auditor", "owner", "platform", "customer", "key"},
    "limits/{limit}": {"officer", "auditor", "owner", "platform", "customer", "key"},
    "licenses/{license}/amendments": {
        "officer",
        "auditor",
        "owner",
        "platform",
        "customer",
        "key",
    },
    "models": ALL | {"customer", "key"},
    "models/income": ALL | {"customer", "key"},
    "models/income/examinations": ALL - {"platform"},
    "models/income/versions": ALL,
    "receipts/{prediction}": {"customer", "key"},
    "runs": ALL - {"platform"} | {"customer"},
    "runs/{run}": ALL - {"platform"},
    "runs/{run}/curve": ALL - {"platform"},
    "statements": {"officer", "auditor", "owner", "platform", "customer"},
    "tenants": {"officer", "auditor", "owner", "platform", "customer"},
    "tenants/house": {"officer", "auditor", "owner", "platform"},
    "tenants/acme": {"platform", "customer"},
    "usage/rollups": {"officer", "auditor", "owner", "platform", "customer", "key"},
    "usage": {"officer", "auditor", "owner", "platform", "customer", "key"},
    "usage/{license}": {"officer", "auditor", "owner", "platform", "customer", "key"},
}
# Callers whose role may ask, and whose tenant does not see: as if it were not there.
UNSEEN: dict[str, set[str]] = {
    "approvals/{approval}": {"customer"},
    "audit/entries/{entry}": {"customer"},
    "budgets/{budget}": {"customer"},
    "data-releases/{release}": {"customer"},
    "dataset-versions/{version}": {"customer"},
    "datasets/applicants": {"customer"},
    "detector-measurements/{measurement}": {"customer"},
    "examinations/{examination}": {"customer"},
    "models/income/examinations": {"customer"},
    "models/income/versions": {"customer", "key"},
    "receipts/{prediction}": {"officer", "auditor", "owner", "platform"},
    "runs/{run}": {"customer"},
    "runs/{run}/curve": {"customer"},
    "tenants/house": {"customer"},
    "tenants/acme": {"officer", "auditor", "owner"},
}


@pytest.mark.parametrize("address", READS)
def test_reads(street: Street, address: str) -> None:
    url = f"/api/v1/{address.format(**street.names)}"
    told = {caller: street.client(caller).get(url) for caller in CALLERS}
    one = "/" in address.removeprefix("audit/").removeprefix("usage/rollups")
    for caller, response in told.items():
        if caller == "nobody":
            expected = 401
        elif caller in READS[address]:
            expected = 200
        elif caller in UNSEEN.get(address, set()):
            expected = 404
        elif caller == "stranger":
            expected = 404 if one else 200
        else:
            expected = 403
        assert response.status_code == expected, (caller, response.content)
        if expected != 200:
            assert response["Content-Type"] == "application/problem+json"


def test_a_strangers_lists_hold_nothing_of_this_house(street: Street) -> None:
    client = street.client("stranger")
    for address in READS:
        if "/" in address.removeprefix("audit/").removeprefix("usage/rollups"):
            continue
        found = client.get(f"/api/v1/{address}").json()["results"]
        assert str(street.shop.house.id) not in json.dumps(found)
        if address != "audit/entries":
            assert [row.get("slug") for row in found] in ([], ["rival"])


def test_a_key_sees_its_own_license_only(street: Street) -> None:
    shop = street.shop
    with tenant_scope(shop.house.id):
        License.objects.create(
            tenant=shop.house.tenant,
            customer=shop.customer,
            model=shop.version.model,
            quota=1,
            purposes=[PURPOSE],
            expires_at=shop.license.expires_at,
            issued_by=shop.house.user(shop.house.platform),
        )
    for address, count in (("usage", 1), ("licenses", 1), ("keys", 1)):
        results = street.client("key").get(f"/api/v1/{address}").json()["results"]
        assert len(results) == count, address
    assert len(street.client("customer").get("/api/v1/licenses").json()["results"]) == 2


LICENSE_BODY = {
    "model": "income",
    "customer": "acme",
    "features": ["predict"],
    "purposes": [PURPOSE],
    "quota": 5,
    "expires_at": "2099-01-01T00:00:00Z",
}
RUN_BODY = {"dataset": "applicants", "target": "income", "purpose": PURPOSE, "epsilon": "1"}
# address, body, who is let in (and with what status); every other known caller gets 403 or 404.
WRITES: list[tuple[str, Any, dict[str, int]]] = [
    ("licenses", LICENSE_BODY, {"platform": 201}),
    ("licenses/{license}/revoke", None, {"platform": 200}),
    ("limits", {"scope": "license", "of": "{license}", "quota": 5}, {"platform": 201}),
    ("limits", {"scope": "key", "of": "{key}", "rate": 5}, {"platform": 201}),
    ("limits", {"scope": "model", "of": "income", "quota": 5}, {"platform": 201}),
    ("limits", {"scope": "customer", "of": "acme", "quota": 5}, {"platform": 201}),
    ("limits/{limit}/lift", None, {"platform": 204}),
    ("licenses/{license}/suspend", {"reason": "misuse"}, {"platform": 200}),
    ("licenses/{license}/resume", None, {"platform": 409}),
    ("licenses/{license}/renew", {"expires_at": "2099-01-01T00:00:00Z"}, {"platform": 200}),
    ("licenses/{license}/amend", {"quota": 100, "seats": None}, {"platform": 422}),
    ("licenses/{license}/amend", {"quota": 7, "regions": ["de"]}, {"platform": 200}),
    (
        "keys",
        {"license": "{license}", "name": "n"},
        {"platform": 201, "owner": 201, "customer": 201},
    ),
    ("keys/{key}/revoke", None, {"platform": 200, "owner": 200, "customer": 200}),
    ("keys/{key}/rotate", {}, {"platform": 200, "owner": 200, "customer": 200}),
    ("tenants", {"slug": "new", "name": "New", "customer": True}, {"platform": 201}),
    ("approvals/{approval}/approve", None, {"officer": 200, "owner": 200}),
    ("approvals/{approval}/reject", None, {"officer": 200, "owner": 200}),
    ("models/income/versions/2/release", None, {"engineer": 201}),
    (
        "models/income/versions/1/withdraw",
        None,
        {"officer": 200, "engineer": 200, "owner": 200, "platform": 200},
    ),
    # Its rows were never cut by a split: who may ask is told so.
    (
        "models/income/versions/1/examinations",
        {"kinds": ["loss"], "epsilon": "0.1"},
        {"officer": 403, "engineer": 403},
    ),
    ("examinations/{examination}/cancel", None, {"officer": 200, "engineer": 200}),
    ("budgets/{budget}/cap", {"epsilon": "12"}, {"steward": 201}),
    # A finished run is neither stopped nor tried again: who may ask is told so.
    ("runs/{run}/cancel", None, {"officer": 409, "engineer": 409, "owner": 409, "platform": 409}),
    ("runs/{run}/retry", None, {"engineer": 409}),
    ("runs/{run}/prioritize", {"priority": "high"}, {"owner": 409}),
    ("audit/bundles", {}, {"officer": 422, "auditor": 422, "owner": 422, "customer": 422}),
]


@pytest.mark.parametrize("place", range(len(WRITES)), ids=[address for address, *_ in WRITES])
def test_writes(street: Street, place: int) -> None:
    address, body, allowed = WRITES[place]
    url = f"/api/v1/{address.format(**street.names)}"
    text = None if body is None else json.dumps(body)
    for name in ("license", "key"):
        text = text and text.replace(f"{{{name}}}", street.names[name])
    for caller in CALLERS:
        with undone():
            before = AuditEntry.objects.count()
            response = street.client(caller).post(url, data=text, content_type="application/json")
            expected = {allowed[caller]} if caller in allowed else {403, 404}
            if caller == "stranger" and address == "audit/bundles":
                expected = {422}  # an officer of a house of their own
            if caller == "nobody":
                expected = {401}
            assert response.status_code in expected, (caller, response.content)
            # Nothing passes, and nothing is refused, without an entry.
            assert AuditEntry.objects.count() > before, caller


@contextmanager
def undone() -> Iterator[None]:
    """A savepoint that is rolled back; durable blocks may run inside, as in Django's TestCase."""
    savepoint = transaction.atomic()
    savepoint._from_testcase = True  # type: ignore[attr-defined]  # Django's own mark
    with savepoint:
        yield
        transaction.set_rollback(True)


def test_a_person_does_not_call_models(street: Street) -> None:
    response = street.client("platform").post(
        "/api/v1/models/income/predict", data={"row": {}}, content_type="application/json"
    )
    assert (response.status_code, response.json()["code"]) == (403, "permission.keys_only")


def test_a_session_without_its_csrf_token_changes_nothing(street: Street) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get(username="house-platform"))
    response = client.post(
        "/api/v1/tenants",
        data={"slug": "new", "name": "New", "customer": True},
        content_type="application/json",
    )
    assert (response.status_code, response.json()["code"]) == (403, "auth.csrf_failed")
    token = client.get("/admin/login/", follow=True).cookies.get("csrftoken")
    del token  # signed in already: the login page redirects; the cookie comes with any form


def test_bearer_credentials_win_over_a_session(street: Street) -> None:
    client = street.client("platform")
    response = client.get("/api/v1/tenants", headers={"Authorization": "Bearer pck_live_x"})
    assert (response.status_code, response.json()["code"]) == (401, "key.malformed")


def test_a_revoked_role_stops_working_at_once(street: Street) -> None:
    from governance.models import RoleBinding

    client = street.client("auditor")
    assert client.get("/api/v1/audit/entries").status_code == 200
    with across_tenants(reason="a test prepares"):
        RoleBinding.objects.filter(user__username="house-auditor").delete()
    assert client.get("/api/v1/audit/entries").status_code == 403


def test_an_issued_key_is_shown_once(street: Street) -> None:
    client = street.client("platform")
    body = {"license": street.names["license"], "name": "n"}
    issued = client.post("/api/v1/keys", data=body, content_type="application/json").json()
    assert issued["secret"].startswith("pck_live_")
    again = client.get(f"/api/v1/keys/{issued['public_id']}")
    assert "secret" not in again.json()
    assert issued["secret"] not in again.content.decode()


def test_approving_over_http_is_bound_to_another_person(street: Street) -> None:
    url = f"/api/v1/approvals/{street.names['approval']}/approve"
    first = street.client("officer").post(url)
    assert first.json() == {
        "proposal": street.names["approval"],
        "role": "officer",
        "complete": False,
    }
    twice = street.client("officer").post(url)
    assert (twice.status_code, twice.json()["code"]) == (403, "approval.twice")
    last = street.client("owner").post(url).json()
    assert last.get("complete") is True, last
    with tenant_scope(street.shop.house.id):
        proposal = Proposal.objects.get(pk=street.names["approval"])
        assert proposal.used_at is not None
        assert ModelVersion.objects.get(number=2).state == ModelState.RELEASED
