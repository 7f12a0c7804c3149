"""Runs over HTTP: what one would take, asked for by priority, its curves, and what runs took."""

from typing import Any

import pytest
from django.test import Client

from governance import leases
from governance.models import User
from governance.rbac import UserActor
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import PURPOSE, SMALL, make_version, trained
from training import estimates
from training.models import Run

BODY = {
    "dataset": "people", "target": "income", "purpose": PURPOSE, "epsilon": "1", "config": SMALL,
}  # fmt: skip


@pytest.fixture
def house(db: None, home: Any, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(estimates, "_timed", {})
    monkeypatch.setattr(estimates, "_time", lambda *_shape: 0.01)
    return make_house()


def client(actor: UserActor) -> Client:
    found = Client(raise_request_exception=False)
    found.force_login(User.objects.get(pk=actor.user_id))
    return found


def post(actor: UserActor, address: str, body: dict[str, Any]) -> Any:
    with leases.doing_it_here():
        return client(actor).post(f"/api/v1/{address}", data=body, content_type="application/json")


def test_an_estimate_then_a_request_of_the_same(house: House) -> None:
    make_version(house)
    told = post(house.engineer, "runs/estimate", BODY)
    assert told.status_code == 200, told.content
    said = told.json()
    assert (said["epsilon_asked"], said["steps"], said["fits"]) == ("1.000000", 45, True)
    with across_tenants(reason="a test looks"):
        assert not Run.objects.exists()
    assert post(house.engineer, "runs", {**BODY, "priority": "low"}).status_code == 202
    with tenant_scope(house.id):
        run = Run.objects.get()
    assert run.priority == "low"
    changed = post(house.owner, f"runs/{run.id}/prioritize", {"priority": "high"})
    assert (changed.status_code, changed.json()["priority"]) == (200, "high")


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"epsilon": "0"}, 422, "run.epsilon_invalid"),
        ({"epsilon": "11"}, 403, "budget.over_cap"),
        ({"purpose": "marketing"}, 403, "purpose.not_granted"),
        ({"priority": "low"}, 422, "request.invalid"),  # an estimate has no place in line
        ({"name": "x"}, 422, "request.invalid"),
        ({"dataset": "nobody"}, 404, "not_found"),
    ],
)
def test_what_is_not_estimated(
    house: House, changed: dict[str, str], status: int, code: str
) -> None:
    make_version(house)
    told = post(house.engineer, "runs/estimate", {**BODY, **changed})
    assert (told.status_code, told.json()["code"]) == (status, code)


def test_who_is_told_what_a_run_would_take(house: House) -> None:
    make_version(house)
    other = make_house("other")
    assert post(house.auditor, "runs/estimate", BODY).status_code == 403
    assert post(other.engineer, "runs/estimate", BODY).status_code == 404


def test_curves_and_costs(house: House) -> None:
    run = trained(house, make_version(house)).run
    assert run is not None
    engineer = client(house.engineer)
    points = engineer.get(f"/api/v1/runs/{run.id}/curve").json()
    assert [point["step"] for point in points] == [20, 40, 45]
    for figure in ("loss", "clip_fraction", "gradient_norm"):
        assert all(point[f"{figure}_error"] > 0 for point in points)
    shown = engineer.get(f"/api/v1/runs/{run.id}").json()
    assert float(shown["seconds"]) > 0
    assert shown["cost"] == {"EUR": "0.000000"}  # no price is set
    sums = engineer.get("/api/v1/runs/costs").json()
    assert [one["model"] for one in sums["models"]] == ["people-income"]
    assert sums["models"][0]["seconds"] == shown["seconds"]
    assert client(house.steward).get("/api/v1/runs/costs").status_code == 403
    assert client(make_house("other").owner).get("/api/v1/runs/costs").json()["models"] == []
