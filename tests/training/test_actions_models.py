"""A version's release by two people, and its withdrawal."""

import json
from typing import Any

import pytest

from audit.errors import DomainError, Kind
from audit.models import AuditEntry
from governance.actions.proposals import approve_proposal, reject_proposal
from governance.scoping import tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import make_version, trained
from training.actions.models import propose_release, withdraw_model
from training.models import ModelState, ModelVersion


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


@pytest.fixture
def version(house: House) -> ModelVersion:
    return trained(house, make_version(house), model="linear", config={"steps": 5})


def told(event: str) -> tuple[str, str | None]:
    entry = AuditEntry.objects.filter(event=event).order_by("at").last()
    assert entry is not None, event
    return entry.outcome, json.loads(bytes(entry.body))["reason"]


def test_two_people_release_what_they_read(house: House, version: ModelVersion) -> None:
    with tenant_scope(house.id):
        proposal = propose_release(house.engineer, version)
        for person, complete, state in (
            (house.owner, False, ModelState.REGISTERED),
            (house.officer, True, ModelState.RELEASED),
        ):
            assert approve_proposal(person, proposal).complete is complete
            version.refresh_from_db()
            assert version.state == state
        assert version.released_at is not None
        with pytest.raises(DomainError) as caught:
            propose_release(house.engineer, version)
    assert caught.value.stable_code == "model.state"
    assert told("model.release_proposed") == ("failed", "model.state")


@pytest.mark.parametrize("who", ["steward", "officer", "owner", "platform", "auditor"])
def test_who_may_not_propose(house: House, version: ModelVersion, who: str) -> None:
    with tenant_scope(house.id), pytest.raises(DomainError) as caught:
        propose_release(getattr(house, who), version)
    assert caught.value.stable_code == "permission.role_missing"
    assert told("model.release_proposed")[0] == "denied"


def test_a_stranger_neither_proposes_nor_withdraws(house: House, version: ModelVersion) -> None:
    other = make_house("other")
    with tenant_scope(house.id):
        for act in (
            lambda: propose_release(other.engineer, version),
            lambda: withdraw_model(other.officer, version),
        ):
            with pytest.raises(DomainError) as caught:
                act()
            assert caught.value.stable_code == "permission.other_tenant"


@pytest.mark.parametrize(
    "change",
    [{"card": {"name": "another"}}, {"artifact_digest": "f" * 64}],
    ids=["card", "artifact"],
)
def test_what_changed_after_it_was_read_is_not_released(
    house: House, version: ModelVersion, change: dict[str, Any]
) -> None:
    with tenant_scope(house.id):
        proposal = propose_release(house.engineer, version)
        approve_proposal(house.owner, proposal)
        ModelVersion.objects.filter(pk=version.pk).update(**change)
        with pytest.raises(DomainError) as caught:
            approve_proposal(house.officer, proposal)
        version.refresh_from_db()
    assert caught.value.stable_code == "approval.payload_changed"
    assert version.state == ModelState.REGISTERED


def test_a_rejected_release_may_be_proposed_again(house: House, version: ModelVersion) -> None:
    with tenant_scope(house.id):
        reject_proposal(house.officer, propose_release(house.engineer, version))
        proposal = propose_release(house.engineer, version)
        approve_proposal(house.owner, proposal)
        approve_proposal(house.officer, proposal)
        version.refresh_from_db()
    assert version.state == ModelState.RELEASED


@pytest.mark.parametrize("who", ["officer", "engineer", "owner", "platform"])
def test_withdrawn_is_for_good(house: House, version: ModelVersion, who: str) -> None:
    with tenant_scope(house.id):
        proposal = propose_release(house.engineer, version)
        approve_proposal(house.owner, proposal)
        withdraw_model(getattr(house, who), version)
        version.refresh_from_db()
        assert version.state == ModelState.WITHDRAWN
        for act in (
            lambda: approve_proposal(house.officer, proposal),
            lambda: propose_release(house.engineer, version),
            lambda: withdraw_model(house.officer, version),
        ):
            with pytest.raises(DomainError) as caught:
                act()
            assert caught.value.kind is Kind.CONFLICT
    assert told("model.withdrawn") == ("failed", "model.state")


@pytest.mark.parametrize("who", ["steward", "auditor"])
def test_who_may_not_withdraw(house: House, version: ModelVersion, who: str) -> None:
    with tenant_scope(house.id), pytest.raises(DomainError) as caught:
        withdraw_model(getattr(house, who), version)
    assert caught.value.stable_code == "permission.role_missing"
