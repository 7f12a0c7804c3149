"""A run of an ensemble: what it charges, what its card says, and the model that it leaves."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from audit.canonical import decimal, digest
from audit.models import AuditEntry
from governance import leases
from governance.models import Job, Proposal
from governance.scoping import tenant_scope
from governance.vault import open_object
from tests.factories.people import House, make_house
from tests.factories.processes import forked
from tests.factories.training import (
    DECLARATIONS,
    SMALL,
    approve,
    ask,
    examined,
    make_version,
    trained,
)
from training import ledger, pipeline
from training.actions.models import propose_release, withdraw_model
from training.actions.runs import estimate_run, retry_run
from training.charges import Charge, Part, cost
from training.errors import ArtifactError
from training.estimates import Basis, estimate
from training.evaluation import count
from training.mechanisms import Purpose
from training.members import name_of
from training.models import EnsembleMember, ModelState, ModelVersion, Run, RunState
from training.recomputation import recompute
from training.serving import LoadedModel

# `hours` has no declared bounds: each member buys its own, so their specifications differ.
UNBOUNDED: dict[str, Any] = {
    **DECLARATIONS,
    "columns": {**DECLARATIONS["columns"], "hours": {"kind": "numeric"}},
}
ROW: dict[str, Any] = {
    "city": "north",
    "age": 40,
    "hours": "38.5",
}


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


def make_members(house: House, version: Any, **asked: Any) -> list[ModelVersion]:
    """A perceptron and a boosted model, of two names."""
    return [
        trained(house, version, name="deep", **asked),
        trained(house, version, name="glass", model="ebm", config={"steps": 6}, **asked),
    ]


def pair(house: House, version: Any) -> list[ModelVersion]:
    """Two that hardly learned anything."""
    few = {**SMALL, "steps": 5}
    return [trained(house, version, name=name, config=few) for name in ("a", "b")]


def asked_for(members: list[ModelVersion], **fields: Any) -> dict[str, Any]:
    return {
        "model": "ensemble",
        "name": "both",
        "epsilon": "0.5",
        "config": {"members": [name_of(member) for member in members]},
        **fields,
    }


def stored(version: ModelVersion) -> bytes:
    with open_object(version.artifact) as file:
        return file.read()


def test_a_run_makes_a_version_of_its_members(house: House) -> None:
    from audit.explanations import explain_row, verify_record
    from gateway import serving

    version = make_version(house, declarations=UNBOUNDED)
    members = make_members(house, version)
    with tenant_scope(house.id):
        budget = version.dataset.budget
        before = ledger.statement(budget)
    made = trained(house, version, **asked_for(members))
    with tenant_scope(house.id):
        run = Run.objects.get(model_version=made)
        # One release about the held-out rows, written ahead; nothing of the training rows.
        known = ledger.account(run, 1)
        (charge,) = known.ahead
        assert (known.closed, known.steps, known.reserved) == (True, 0, [charge])
        assert (charge.part, charge.mechanism.purpose) == (Part.HELD_OUT, Purpose.EVALUATION)
        delta = float(budget.delta)
        own = ledger.spent_by(run, delta)
        assert 0.49 < own <= 0.5
        # Members and release: composed part by part, from the very lines.
        behind = [member.run for member in members if member.run is not None]
        lines = [one for other in behind for one in ledger.line(other).ahead]
        privacy = made.card["privacy"]
        assert privacy["epsilon_members"] == decimal(cost(lines, delta))
        assert privacy["epsilon_members"] == decimal(before.spent)
        assert privacy["epsilon_release"] == decimal(own)
        assert privacy["epsilon_spent"] == decimal(cost([*lines, charge], delta))
        assert 1.2 < float(privacy["epsilon_spent"]) < 2.0 + own
        said, again = ledger.statement(budget), recompute(budget)
        assert privacy["epsilon_spent"] == decimal(said.spent)
        assert again.agrees(said.spent, said.spent + said.reserved)
        # What stands in the registry and in the card.
        held = EnsembleMember.objects.filter(ensemble=made).values_list("member", "place")
        assert list(held) == [(members[0].pk, 0), (members[1].pk, 1)]
        assert [one["artifact"] for one in made.card["members"]] == [
            member.artifact_digest for member in members
        ]
        assert [one["name"] for one in made.card["members"]] == ["deep@1", "glass@1"]
        assert made.card["members"][0]["reference"] == members[0].reference
        assert made.card_digest == digest(made.card)
        assert made.card["model"]["kind"] == "ensemble"
        assert 0 <= float(made.card["evaluation"]["accuracy"]["value"]) <= 1
        assert str(charge.mechanism.noise_multiplier) in str(privacy["mechanisms"])
        # The model: the mean, whatever the members bought.
        whole = LoadedModel(stored(made), expected=made.artifact_digest)
        alone = [LoadedModel(stored(one), expected=one.artifact_digest) for one in members]
    specs = {model.spec.digest() for model in alone}
    assert len(specs) == 2
    table: dict[str, list[Any]] = {
        "city": ["north", "south", None],
        "age": ["20", "40", None],
        "hours": ["5", "60", "x"],
    }
    mean = np.mean([model._probabilities(table) for model in alone], axis=0)
    assert np.abs(whole._probabilities(table) - mean).max() < 1e-6
    # Explained against the registered background, and the attributions add up.
    model = serving.loaded(made)
    background = serving.background(model, made)
    assert background.digest() == made.background_digest
    row = model.check_row(ROW)
    record = explain_row(
        model.predict_columns, [row[name] for name in model.spec.names], background,
        record_id="1", model_digest=model.digest, input_commitment="c",
    )  # fmt: skip
    assert verify_record(record).failed == ()


def test_the_promise_is_about_members_and_release_together(house: House) -> None:
    version = make_version(house)
    members = pair(house, version)
    made = trained(house, version, **asked_for(members, epsilon="0.1"))
    privacy = made.card["privacy"]
    spent = float(privacy["epsilon_spent"])
    assert spent > float(members[0].card["privacy"]["epsilon_spent"])
    # Rounded up, for a promise that is rounded down would not be kept.
    promised = float(privacy["promise"]["en"].split()[2])
    assert spent <= promised <= spent + 1e-4
    assert str(promised) in privacy["promise"]["zh"]
    # The release hides under what training spent: it is on other rows.
    assert privacy["epsilon_spent"] == privacy["epsilon_members"]


def test_it_is_estimated_without_a_step(house: House) -> None:
    version = make_version(house)
    members = pair(house, version)
    asked = asked_for(members, target="income", purpose="credit-risk-scoring")
    del asked["name"]
    with tenant_scope(house.id):
        found = estimate(estimate_run(house.engineer, version, **asked))
    assert (found.steps, found.basis, found.fits) == (0, Basis.TIMED_HERE, True)
    trained(house, version, **asked_for(members))
    with tenant_scope(house.id):
        found = estimate(estimate_run(house.engineer, version, **asked))
    assert (found.steps, found.basis) == (0, Basis.FINISHED_RUNS)
    assert found.seconds > 0


def test_more_than_the_threshold_waits_for_two_people(house: House) -> None:
    from gateway.console.payloads import readable

    version = make_version(house)
    members = pair(house, version)
    run = ask(house, version, **asked_for(members, epsilon="4"))
    with tenant_scope(house.id):
        assert run.state == RunState.AWAITING_APPROVAL
        proposal = Proposal.objects.get(subject=run.reference)
        # Who approves reads of which models it is made.
        assert "a@1, b@1" in [line.value for line in readable(proposal)]
    approve(house, proposal)
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        run.refresh_from_db()
    assert run.state == RunState.FINISHED


@pytest.mark.parametrize("guarantee", ["public-data", "waived"])
def test_without_a_promise_nothing_is_charged(house: House, guarantee: str) -> None:
    public = {**DECLARATIONS, "public": True}
    version = make_version(house, declarations=public)
    made: list[ModelVersion] = []
    for number in range(3):
        asked = {"guarantee": guarantee, "name": f"m{number}", "config": {**SMALL, "steps": 5}}
        if number == 2:
            asked |= asked_for(made, guarantee=guarantee)
        run = ask(house, version, **asked)
        if guarantee == "waived":
            with tenant_scope(house.id):
                proposal = Proposal.objects.get(subject=run.reference)
            approve(house, proposal)
        leases.run_here(run.reference)
        with tenant_scope(house.id):
            run.refresh_from_db()
            assert run.state == RunState.FINISHED, run.error_code
            made.append(ModelVersion.objects.select_related("model").get(run=run))
    with tenant_scope(house.id):
        assert ledger.statement(version.dataset.budget).spent == 0
    assert made[2].guarantee == guarantee
    assert made[2].card["privacy"]["epsilon_spent"] is None


def test_it_is_released_by_two_people_and_withdrawn(house: House) -> None:
    version = make_version(house)
    members = pair(house, version)
    made = trained(house, version, **asked_for(members))
    with tenant_scope(house.id):
        proposal = propose_release(house.engineer, made)
    approve(house, proposal)
    with tenant_scope(house.id):
        made.refresh_from_db()
        assert made.state == ModelState.RELEASED
        withdraw_model(house.officer, made)
        for member in members:
            member.refresh_from_db()
    assert {member.state for member in members} == {ModelState.REGISTERED}


def test_persons_are_protected_by_ensembles_of_models_that_protect_them(house: House) -> None:
    version = make_version(house, each=2)
    members = pair(house, version)
    made = trained(house, version, **asked_for(members))
    assert made.card["privacy"]["unit"] == "subject"
    assert "persons' records" in made.card["privacy"]["promise"]["en"]


def _damage(path: Path) -> None:
    stored = bytearray(path.read_bytes())
    stored[len(stored) // 2] ^= 1
    path.write_bytes(bytes(stored))


def test_one_changed_byte_is_refused_in_a_member_and_in_the_ensemble(house: House) -> None:
    version = make_version(house)
    members = pair(house, version)
    made = trained(house, version, **asked_for(members))
    with tenant_scope(house.id):
        whole = stored(made)
        member = stored(members[1])
        at = whole.index(member) + len(member) - 2
        damaged = bytearray(whole)
        damaged[at] ^= 1
        with pytest.raises(ArtifactError):
            LoadedModel(bytes(damaged), expected=made.artifact_digest)
        with pytest.raises(ArtifactError):  # nor with a digest that was made for it
            LoadedModel(bytes(damaged))
        _damage(Path(default_storage.path(members[1].artifact.name)))
    run = ask(house, version, **asked_for(members, name="again"))
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        run.refresh_from_db()
        assert run.state == RunState.FAILED
        assert ledger.account(run, 1).ahead == []  # found before anything was paid for


def test_a_run_that_lost_its_worker_goes_on_and_is_paid_for_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make_version(house)
    members = pair(house, version)
    run = ask(house, version, **asked_for(members))

    def broken(*_args: Any, **_kwargs: Any) -> Any:
        raise ValueError

    counted: list[Any] = []
    whole: Callable[..., Any] = count

    def keep(*args: Any, **kwargs: Any) -> Any:
        counted.append(whole(*args, **kwargs))
        return counted[-1]

    monkeypatch.setattr(pipeline, "count", keep)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_sealed", broken)
        leases.run_here(run.reference)
    with tenant_scope(house.id), leases.doing_it_here():
        run.refresh_from_db()
        assert (run.state, run.error_code) == (RunState.FAILED, "internal")
        spent = ledger.statement(version.dataset.budget).spent
        run = retry_run(house.engineer, run)
        assert ledger.account(run, 2).reserved == []
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        run.refresh_from_db()
        assert run.state == RunState.FINISHED
        budget = version.dataset.budget
        said, again = ledger.statement(budget), recompute(budget)
        assert said.spent == spent
        assert again.agrees(said.spent, said.spent)
        assert len(ledger.line(run).ahead) == 1
    # The same release, not a second one: noise follows from the secret that was kept.
    first, second = counted
    assert (first.scores == second.scores).all()


MOMENTS = {
    # moment: releases charged when the worker is killed
    "begun": 0,
    "secret": 0,
    "ahead": 1,
    "sealed": 1,
    "committing": 1,
    "committed": 1,
}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_killed_at_any_moment_one_release_is_charged(home: Any) -> None:
    """SIGKILL to a real worker; the ledger afterwards, and what the next worker makes of it."""
    house = make_house()
    version = make_version(house)
    members = pair(house, version)
    runs = {moment: ask(house, version, **asked_for(members, name=moment)) for moment in MOMENTS}
    with tenant_scope(house.id):
        jobs = {moment: Job.objects.get(subject=run.reference) for moment, run in runs.items()}
    ends = forked(home, "train", *[f"{jobs[moment].id}:{moment}" for moment in MOMENTS])
    assert ends == [-9] * len(MOMENTS)
    for moment, charged in MOMENTS.items():
        run = runs[moment]
        with tenant_scope(house.id):
            assert (moment, len(ledger.account(run, 1).ahead)) == (moment, charged)
            Job.objects.filter(pk=jobs[moment].pk).update(
                leased_until=timezone.now() - timedelta(seconds=1)
            )
        pipeline.work(jobs[moment].id)
        with tenant_scope(house.id):
            run.refresh_from_db()
            known = ledger.account(run, 1)
            assert (moment, run.state, run.error_code) == (moment, RunState.FINISHED, "")
            assert (moment, len(known.ahead), known.closed) == (moment, 1, True)
            assert EnsembleMember.objects.filter(ensemble__run=run).count() == 2
    with tenant_scope(house.id):
        budget = version.dataset.budget
        said, again = ledger.statement(budget), recompute(budget)
    assert again.agrees(said.spent, said.spent)


def test_it_is_attacked_under_the_promise_of_all_its_members(house: House) -> None:
    version = make_version(house)
    members = pair(house, version)
    made = trained(house, version, **asked_for(members, epsilon="0.1"))
    found = examined(house, made)
    assert found.state == "finished", found.error_code
    assert found.figures["claim"]["epsilon"] == made.card["privacy"]["epsilon_spent"]
    with pytest.raises(Exception, match="nothing was trained"):
        examined(house, made, kinds=["engine"])
    event = AuditEntry.objects.filter(event="examination.requested").order_by("at").last()
    assert event is not None
    assert event.outcome == "denied"


def test_what_is_charged_is_what_was_asked(house: House) -> None:
    version = make_version(house)
    members = pair(house, version)
    run = ask(house, version, **asked_for(members, epsilon="0.25"))
    with tenant_scope(house.id):
        (reserved,) = ledger.account(run, 1).reserved
        delta = float(version.dataset.budget.delta)
    assert 0.249 < cost([reserved], delta) <= 0.25
    assert isinstance(reserved, Charge)
    assert (run.plan["steps"], run.plan["paid"]) == (0, [])
