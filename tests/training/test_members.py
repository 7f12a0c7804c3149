"""Who may be a member of an ensemble; and what follows when a member is withdrawn."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from audit.canonical import canonical
from audit.errors import DomainError
from audit.models import AuditEntry
from governance import approvals, leases
from governance.permissions import ProposalKind
from governance.scoping import tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import (
    DECLARATIONS,
    PURPOSE,
    SMALL,
    approve,
    ask,
    make_version,
    seal,
    trained,
)
from training import ledger, members, pipeline, retraining
from training.actions.attempts import finish_run
from training.actions.models import propose_release, withdraw_model
from training.models import EnsembleMember, ModelState, ModelVersion, Run, RunState

FEW: dict[str, Any] = {**SMALL, "steps": 3}


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


@pytest.fixture
def pair(house: House) -> list[ModelVersion]:
    version = make_version(house, declarations={**DECLARATIONS, "public": True})
    return [trained(house, version, name=name, config=FEW) for name in ("a", "b")]


def data_of(version: ModelVersion) -> Any:
    assert version.run is not None
    return version.run.version


def request(house: House, of: list[ModelVersion], names: Any = None, **asked: Any) -> Run:
    config = {"members": [members.name_of(one) for one in of] if names is None else names}
    return ask(
        house,
        data_of(of[0]),
        **{"model": "ensemble", "name": "both", "epsilon": "0.5", "config": config, **asked},
    )


def refused(house: House, of: list[ModelVersion], names: Any = None, **asked: Any) -> DomainError:
    with pytest.raises(DomainError) as caught:
        request(house, of, names, **asked)
    return caught.value


# One house and one pair for all: what differs is the request alone.
NO_MEMBERS: list[tuple[Any, str, str]] = [
    ([], "run.members_invalid", "/members"),
    (["a@1"], "run.members_invalid", "/members"),
    ([f"a@{number}" for number in range(11)], "run.members_invalid", "/members"),
    (["a@1", "a@1"], "run.members_invalid", "/members"),
    ("a@1,b@1", "run.members_invalid", "/members"),
    ({"a@1": 1, "b@1": 1}, "run.members_invalid", "/members"),
    (["a@1", "b@2"], "run.member_unknown", "/members/1"),
    (["c@1", "b@1"], "run.member_unknown", "/members/0"),
    (["a@1", "b"], "run.member_unknown", "/members/1"),
    (["a@1", "b@"], "run.member_unknown", "/members/1"),
    (["a@1", "b@-1"], "run.member_unknown", "/members/1"),
    (["a@1", "b@²"], "run.member_unknown", "/members/1"),
    (["a@1", "b@" + "9" * 40], "run.member_unknown", "/members/1"),
    (["a@1", "x" * 100_000], "run.member_unknown", "/members/1"),
    (["a@1", 7], "run.member_unknown", "/members/1"),
    (["a@1", None], "run.member_unknown", "/members/1"),
    (["a@1", ["b@1"]], "run.member_unknown", "/members/1"),
    (["a@1", "b@1\0"], "run.member_unknown", "/members/1"),
    (["a@1", "b\0@1"], "run.member_unknown", "/members/1"),
    (["a@1", str(uuid4())], "run.member_unknown", "/members/1"),
]
BOTH: list[str] = ["a@1", "b@1"]
NO_REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({"config": {}}, "run.members_invalid"),
    ({"config": None}, "run.members_invalid"),
    ({"config": {"members": BOTH, "steps": 3}}, "run.config_invalid"),
    ({"config": {"members": BOTH, "forms": ["onnx"]}}, "run.config_invalid"),
    ({"config": {"members": BOTH, "weights": [1, 2]}}, "run.config_invalid"),
    ({"model": "mlp", "config": {"members": BOTH}}, "run.members_invalid"),
    ({"guarantee": "public-data"}, "run.member_differs"),
    ({"guarantee": "waived"}, "run.member_differs"),
    ({"purpose": "another"}, "run.member_differs"),
    ({"target": "sex", "positive": "Male"}, "run.member_differs"),
    ({"epsilon": "0"}, "run.epsilon_invalid"),
]


def test_members_that_are_no_list_of_versions(house: House, pair: list[ModelVersion]) -> None:
    for names, code, pointer in NO_MEMBERS:
        error = refused(house, pair, names)
        assert (names, error.stable_code, error.pointer) == (names, code, pointer)


def test_requests_that_do_not_fit(house: House, pair: list[ModelVersion]) -> None:
    from governance.models import Purpose, PurposeGrant

    with tenant_scope(house.id):
        purpose = Purpose.objects.get(slug=PURPOSE)
        purpose.pk, purpose.slug = None, "another"
        purpose.save(force_insert=True)
        PurposeGrant.objects.create(
            tenant=house.tenant, dataset=data_of(pair[0]).dataset, purpose=purpose,
            legal_basis=purpose.legal_basis,
        )  # fmt: skip
    for asked, code in NO_REQUESTS:
        assert (asked, refused(house, pair, **asked).stable_code) == (asked, code)


def test_an_id_and_a_name_are_the_same_member(house: House, pair: list[ModelVersion]) -> None:
    run = request(house, pair, [str(pair[0].pk), "b@1"])
    assert run.config_json()["members"] == ["a@1", "b@1"]
    assert refused(house, pair, ["a@1", str(pair[0].pk)]).stable_code == "run.members_invalid"


def test_another_tenants_version_looks_like_none(house: House, pair: list[ModelVersion]) -> None:
    other = make_house("other")
    theirs = trained(other, make_version(other), name="theirs", config=FEW)
    for name in ("theirs@1", str(theirs.pk)):
        error = refused(house, pair, ["a@1", name])
        nobody = refused(house, pair, ["a@1", "nobody@1"])
        assert (error.stable_code, str(error)) == (nobody.stable_code, str(nobody))


def test_members_of_another_dataset_are_refused(house: House, pair: list[ModelVersion]) -> None:
    elsewhere = trained(house, make_version(house, "elsewhere"), name="c", config=FEW)
    assert refused(house, [pair[0], elsewhere]).stable_code == "run.member_differs"


def test_members_of_several_versions_of_a_dataset_fit(
    house: House, pair: list[ModelVersion]
) -> None:
    from governance.quality.assessing import assess, write_run
    from tests.factories.training import rows_of

    with tenant_scope(house.id):
        newer = seal(house, data_of(pair[0]).dataset, rows_of(), number=2)
        write_run(newer, assess(newer))
    later = trained(house, newer, name="a", config=FEW)
    assert later.number == 2
    run = request(house, [pair[0], later])
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        run.refresh_from_db()
    assert run.state == RunState.FINISHED, run.error_code


def test_a_run_that_has_not_finished_is_no_member(house: House, pair: list[ModelVersion]) -> None:
    ask(house, data_of(pair[0]), name="a", config=FEW)
    assert refused(house, pair, ["b@1", "a@2"]).stable_code == "run.member_unknown"


def test_an_ensemble_is_no_member(house: House, pair: list[ModelVersion]) -> None:
    run = request(house, pair)
    leases.run_here(run.reference)
    assert refused(house, pair, ["a@1", "both@1"]).stable_code == "run.member_kind"


def test_adapters_of_an_encoder_are_no_member(house: House, pair: list[ModelVersion]) -> None:
    with tenant_scope(house.id):
        run = Run.objects.get(model_version=pair[1])
        config = canonical({**run.config_json(), "model": "lora"})
        Run.objects.filter(pk=run.pk).update(config=config)
    error = refused(house, pair)
    assert (error.stable_code, error.pointer) == ("run.member_kind", "/members/1")


def _unlisted(declarations: dict[str, Any]) -> None:
    declarations["columns"]["city"] = {"kind": "ignore"}


def _otherwise(declarations: dict[str, Any]) -> None:
    declarations["columns"]["age"] = {"kind": "text"}


@pytest.mark.parametrize("change", [_unlisted, _otherwise])
def test_a_column_that_may_not_be_read_any_more(
    house: House, pair: list[ModelVersion], change: Callable[[dict[str, Any]], None]
) -> None:
    from governance.quality.assessing import assess, write_run

    version = data_of(pair[0])
    with tenant_scope(house.id):
        change(version.dataset.declarations)
        version.dataset.save()
        write_run(version, assess(version))
    assert refused(house, pair).stable_code == "run.member_columns"


def entries(event: str) -> list[dict[str, Any]]:
    rows = AuditEntry.objects.filter(event=event).order_by("at")
    return [json.loads(bytes(row.body)) for row in rows]


def made(house: House, of: list[ModelVersion], **asked: Any) -> ModelVersion:
    run = request(house, of, **asked)
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        return ModelVersion.objects.select_related("model").get(run=run)


def test_a_withdrawn_member_takes_its_ensembles_with_it(
    house: House, pair: list[ModelVersion]
) -> None:
    other = trained(house, data_of(pair[0]), name="c", config=FEW)
    released, registered = made(house, pair), made(house, [pair[0], other], name="more")
    untouched, gone = made(house, [pair[1], other], name="less"), made(house, pair, name="gone")
    with tenant_scope(house.id):
        proposal = propose_release(house.engineer, released)
        withdraw_model(house.officer, gone)
    approve(house, proposal)
    with tenant_scope(house.id):
        assert set(members.standing_ensembles(pair[0])) == {released, registered}
        withdraw_model(house.officer, pair[0])
        for version in (released, registered, untouched, pair[0], pair[1]):
            version.refresh_from_db()
    assert [one.state for one in (released, registered, pair[0])] == [ModelState.WITHDRAWN] * 3
    assert (untouched.state, pair[1].state) == (ModelState.REGISTERED, ModelState.REGISTERED)
    told = {entry["subject"]: entry for entry in entries("model.withdrawn")[1:]}
    assert set(told) == {pair[0].reference, released.reference, registered.reference}
    assert "member" not in told[pair[0].reference]["facts"]
    for ensemble in (released, registered):
        entry = told[ensemble.reference]
        assert entry["facts"] == {
            "artifact": ensemble.artifact_digest, "member": pair[0].reference,
        }  # fmt: skip
        assert (entry["outcome"], entry["actor"]) == ("done", house.officer.reference)
        assert entry["tenant"] == str(house.id)
    assert refused(house, pair).stable_code == "run.member_withdrawn"


def test_an_approved_rollback_takes_ensembles_with_it(
    house: House, pair: list[ModelVersion]
) -> None:
    from gateway.console.payloads import warnings_of

    ensemble = made(house, pair)
    with tenant_scope(house.id):
        proposal = propose_release(house.engineer, pair[0])
    approve(house, proposal)
    with tenant_scope(house.id):
        rollback = approvals.propose(
            ProposalKind.MODEL_ROLLBACK,
            pair[0],
            {"model_version": str(pair[0].pk), "artifact": pair[0].artifact_digest, "to": None},
            proposer_id=house.engineer.user_id,
            tenant_id=house.id,
        )
        assert "both v1" in warnings_of(rollback)[0]  # which go with it
    approve(house, rollback)
    with tenant_scope(house.id):
        ensemble.refresh_from_db()
    assert ensemble.state == ModelState.WITHDRAWN
    assert [entry["subject"] for entry in entries("model.withdrawn")] == [ensemble.reference]


def test_if_the_entry_cannot_be_written_nothing_is_withdrawn(
    house: House, pair: list[ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble = made(house, pair)
    whole = members.withdraw_ensembles

    def broken(*args: Any) -> None:
        whole(*args)
        raise RuntimeError

    with tenant_scope(house.id):
        with monkeypatch.context() as patch:
            patch.setattr(members, "withdraw_ensembles", broken)
            with pytest.raises(RuntimeError):
                withdraw_model(house.officer, pair[0])
        for version in (ensemble, pair[0]):
            version.refresh_from_db()
    assert {ensemble.state, pair[0].state} == {ModelState.REGISTERED}
    assert [entry["outcome"] for entry in entries("model.withdrawn")] == ["failed"]


def test_a_member_withdrawn_before_it_begins_stops_the_run_for_nothing(
    house: House, pair: list[ModelVersion]
) -> None:
    run = request(house, pair)
    with tenant_scope(house.id):
        withdraw_model(house.officer, pair[1])
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        run.refresh_from_db()
        assert (run.state, run.error_code) == (RunState.FAILED, "run.member_withdrawn")
        assert ledger.account(run, 1).ahead == []


def test_a_member_withdrawn_while_it_is_made_leaves_no_version(
    house: House, pair: list[ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = request(house, pair)
    finish = finish_run

    def late(*args: Any, **kwargs: Any) -> Any:
        withdraw_model(house.officer, pair[1])
        return finish(*args, **kwargs)

    monkeypatch.setattr(pipeline, "finish_run", late)
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        run.refresh_from_db()
        assert (run.state, run.error_code) == (RunState.FAILED, "run.member_withdrawn")
        assert not ModelVersion.objects.filter(run=run).exists()
        assert not EnsembleMember.objects.exists()
        # What was written ahead stays charged, as of any run that failed.
        assert len(ledger.account(run, 1).ahead) == 1


def test_the_same_ensemble_is_not_made_again_as_a_remedy(
    house: House, pair: list[ModelVersion]
) -> None:
    ensemble = made(house, pair)
    with tenant_scope(house.id), pytest.raises(DomainError) as caught:
        retraining.same_again(ensemble, data_of(ensemble), data_of(ensemble).dataset.budget)
    assert caught.value.stable_code == "run.ensemble_fixed"


def test_a_key_gives_the_same_run_again(house: House, pair: list[ModelVersion]) -> None:
    first = request(house, pair, idempotency_key="k")
    assert request(house, pair, idempotency_key="k") == first
    error = refused(house, pair, ["b@1", "a@1"], idempotency_key="k")
    assert error.stable_code == "run.idempotency_conflict"
