"""An ensemble over HTTP and in the console: asked for, shown, released, called, withdrawn."""

import json
from typing import Any

import pytest
from django.test import Client

from audit import keys as log_keys
from audit.explanation_records import verify_record
from gateway.invariants import ensembles
from gateway.models import Feature, Prediction
from governance import leases
from governance.models import User
from governance.rbac import UserActor
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import make_customer, make_key, make_license
from tests.factories.people import House, make_house
from tests.factories.training import PURPOSE, SMALL, approve, make_version, trained
from training.actions.models import propose_release, withdraw_model
from training.models import ModelState, ModelVersion, Run

FEW = {**SMALL, "steps": 5}
ROW: dict[str, Any] = {"city": "north", "age": 40, "hours": 38.5}


@pytest.fixture
def house(db: None, home: Any) -> House:
    log_keys.ensure_keys()
    return make_house()


@pytest.fixture
def members(house: House) -> list[ModelVersion]:
    version = make_version(house)
    return [
        trained(house, version, name="deep", config=FEW),
        trained(house, version, name="glass", model="ebm", config={"steps": 3}),
    ]


def client(actor: UserActor) -> Client:
    found = Client(raise_request_exception=False)
    found.force_login(User.objects.get(pk=actor.user_id))
    return found


def asked(house: House, **changed: Any) -> Any:
    body = {
        "dataset": "people", "target": "income", "purpose": PURPOSE, "epsilon": "0.5",
        "model": "ensemble", "name": "both", "config": {"members": ["deep@1", "glass@1"]},
    }  # fmt: skip
    with leases.doing_it_here():
        return client(house.engineer).post(
            "/api/v1/runs", data={**body, **changed}, content_type="application/json"
        )


def made(house: House) -> ModelVersion:
    response = asked(house)
    assert response.status_code == 202, response.content
    with tenant_scope(house.id):
        run = Run.objects.get(pk=response.json()["id"])
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        return ModelVersion.objects.select_related("model").get(run=run)


def call(secret: str, verb: str) -> Any:
    return Client(raise_request_exception=False).post(
        f"/api/v1/models/both/{verb}",
        data=json.dumps({"row": ROW}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )


def test_from_the_request_to_an_explained_answer(house: House, members: list[ModelVersion]) -> None:
    version = made(house)
    with tenant_scope(house.id):
        proposal = propose_release(house.engineer, version)
    approve(house, proposal)
    customer, _admin = make_customer()
    license_ = make_license(
        house, customer, version.model, features=(Feature.PREDICT, Feature.EXPLAIN)
    )
    secret = make_key(house, license_).secret
    answer = call(secret, "predict").json()
    assert (answer["model"], answer["version"], answer["guarantee"]) == ("both", 1, "dp")
    explained = call(secret, "explain").json()
    assert explained["score"] == answer["score"]
    with across_tenants(reason="a test looks"):
        record = Prediction.objects.get(pk=explained["prediction"]).explanation
    assert record is not None
    assert verify_record(record).failed == ()  # that the attributions add up, among others
    assert record["model_digest"] == version.artifact_digest
    assert set(record["features"]) == set(ROW)
    # What the customer reads beforehand: the schema, and a card that names the members.
    shown = client(house.engineer).get("/api/v1/models/both").json()
    assert sorted(shown["input_schema"]["required"]) == sorted(ROW)
    assert [one["name"] for one in shown["card"]["members"]] == ["deep@1", "glass@1"]
    # Withdrawn with a member: no further call.
    with tenant_scope(house.id):
        withdraw_model(house.officer, members[1])
    refused = call(secret, "predict")
    assert (refused.status_code, refused.json()["code"]) == (403, "model.not_released")


def test_bad_requests_over_http(house: House, members: list[ModelVersion]) -> None:
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"config": {}}, 422, "run.members_invalid"),
        ({"config": {"members": "deep@1"}}, 422, "run.members_invalid"),
        ({"config": {"members": ["deep@1", "nobody@1"]}}, 422, "run.member_unknown"),
        ({"guarantee": "waived"}, 403, "run.member_differs"),
    ]
    for changed, status, code in cases:
        response = asked(house, **changed)
        assert (response.status_code, response.json()["code"]) == (status, code)


def test_the_console_shows_members_and_what_holds_a_version(
    house: House, members: list[ModelVersion]
) -> None:
    version = made(house)
    engineer = client(house.engineer)
    page = engineer.get(f"/admin/training/modelversion/{version.pk}/").content.decode()
    for said in ("Members", "deep@1", "glass@1", "ε of the members", "boosted tables"):
        assert said in page
    member = f"/admin/training/modelversion/{members[0].pk}/"
    assert "Ensembles that hold this version" in engineer.get(member).content.decode()
    officer = client(house.officer).get(member).content.decode()
    assert "Ensembles that hold it are withdrawn with it." in officer
    chinese = engineer.get(member, headers={"accept-language": "zh-hans"}).content.decode()
    assert "包含此版本的集成" in chinese


def test_the_console_asks_for_an_ensemble(house: House, members: list[ModelVersion]) -> None:
    engineer = client(house.engineer)
    address = "/admin/training/run/request/"
    page = engineer.get(address).content.decode()
    assert "ensemble: the mean of finished models" in page
    assert 'value="deep@1"' in page
    assert members[0].run is not None
    form = {
        "version": str(members[0].run.version_id), "target": "income", "purpose": PURPOSE,
        "epsilon": "0.5", "model": "ensemble", "guarantee": "dp", "queue": "train.cpu",
        "members": ["deep@1", "glass@1"], "name": "both",
    }  # fmt: skip
    told = engineer.post(address, form)
    assert "What this would take" in told.content.decode()
    estimated = told.context["estimated"]
    # Other members are another request.
    again = engineer.post(address, {**form, "members": ["deep@1"], "estimated": estimated})
    assert "run.members_invalid" in again.content.decode()
    with leases.doing_it_here():
        assert engineer.post(address, {**form, "estimated": estimated}).status_code == 302
    with tenant_scope(house.id):
        run = Run.objects.get(model_name="both")
    assert run.config_json()["members"] == ["deep@1", "glass@1"]
    shown = engineer.get(f"/admin/training/run/{run.pk}/")
    assert "glass@1" in shown.content.decode()
    assert "Clipping norm" not in shown.content.decode()  # nothing is clipped
    # Members with another kind of model are refused, not forgotten.
    mixed = engineer.post(address, {**form, "model": "linear"})
    assert "run.members_invalid" in mixed.content.decode()


def test_an_ensemble_that_outlived_a_member_is_found(
    house: House, members: list[ModelVersion]
) -> None:
    version = made(house)
    with across_tenants(reason="a test looks"):
        assert list(ensembles()) == []
        ModelVersion.objects.filter(pk=members[0].pk).update(state=ModelState.WITHDRAWN)
        assert list(ensembles()) == [f"{version.reference} holds a version that was withdrawn"]
