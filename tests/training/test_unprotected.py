"""The twin of a private run: who may have one, what it is, and what the card says of it."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from django.test import Client
from django.utils import timezone

from audit.errors import DomainError
from audit.models import AuditEntry
from governance import leases
from governance.models import Job, StoredObject, User
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, make_house
from tests.factories.processes import forked
from tests.factories.training import DECLARATIONS, SMALL, ask, make_version, rows_of, trained
from training import ledger, pipeline, unprotected
from training.accounting import make_plan
from training.actions.runs import retry_run
from training.charges import Part
from training.config import Guarantee, ModelKind, Plan, TrainingConfig
from training.dpsgd import Trained
from training.errors import ConfigError, EngineError, RunRefusedError
from training.features import Category, FeatureSpec, Numeric, Target
from training.inputs import network_of
from training.learning import learn
from training.models import ModelVersion, Run, RunState
from training.planning import check_unchanged
from training.randomness import Secret
from training.reading import Rows
from training.unprotected import train_twin

PUBLIC: dict[str, Any] = {**DECLARATIONS, "public": True}
ASKED: dict[str, Any] = {"config": {**SMALL, "twin": True}}
SPEC = FeatureSpec(
    (Numeric("age", 17, 90), Numeric("hours", 1, 99), Category("city", ("north", "south", "west"))),
    Target("income", ">50K", "<=50K"),
)
TRAIN, HELD_OUT = pl.DataFrame(rows_of(400)), pl.DataFrame(rows_of(400, 1))
ROWS = Rows(TRAIN, None, TRAIN, HELD_OUT)
SECRET = Secret(bytes(range(32)), "test")


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


# Who may


@pytest.mark.parametrize(
    ("declared", "asked", "code", "pointer"),
    [
        (DECLARATIONS, {}, "run.twin_not_public", "/twin"),
        ({**DECLARATIONS, "public": "yes"}, {}, "run.twin_not_public", "/twin"),
        (PUBLIC, {"guarantee": "public-data"}, "run.twin_invalid", "/twin"),
        (PUBLIC, {"guarantee": "waived"}, "run.twin_invalid", "/twin"),
        (DECLARATIONS, {"guarantee": "waived"}, "run.twin_invalid", "/twin"),
        (PUBLIC, {"config": {**SMALL, "twin": "yes"}}, "run.twin_invalid", "/twin"),
        (PUBLIC, {"config": {**SMALL, "twin": 1}}, "run.twin_invalid", "/twin"),
        (PUBLIC, {"config": {**SMALL, "twin": None}}, "run.twin_invalid", "/twin"),
    ],
)
def test_who_has_no_twin(
    house: House, declared: dict[str, Any], asked: dict[str, Any], code: str, pointer: str
) -> None:
    version = make_version(house, declarations=declared)
    with pytest.raises(DomainError) as caught:
        ask(house, version, **{**ASKED, **asked})
    assert (caught.value.stable_code, caught.value.pointer) == (code, pointer)
    assert not Run._base_manager.exists()


def test_rows_that_are_public_no_more_have_no_twin(house: House) -> None:
    run = ask(house, make_version(house, declarations=PUBLIC), **ASKED)
    with tenant_scope(house.id):
        dataset = run.version.dataset
        dataset.declarations["public"] = False
        dataset.save()
        with pytest.raises(RunRefusedError) as caught:
            check_unchanged(run)
    assert caught.value.stable_code == "run.twin_not_public"
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        run.refresh_from_db()
        assert (run.state, run.error_code) == (RunState.FAILED, "run.twin_not_public")
        assert ledger.account(run, 1).ahead == []


def test_who_asks_for_none_has_the_digest_that_it_had() -> None:
    asked = {"epsilon": 1, "delta": 1e-5, "features": ""}
    plain = TrainingConfig.from_dict(asked)
    assert "twin" not in plain.as_dict()
    assert TrainingConfig.from_dict({**asked, "twin": False}).digest() == plain.digest()
    with_twin = TrainingConfig.from_dict({**asked, "twin": True})
    assert with_twin.digest() != plain.digest()
    assert TrainingConfig.from_dict(with_twin.as_dict()) == with_twin
    with pytest.raises(ConfigError):
        TrainingConfig.from_dict({**asked, "twin": True, "guarantee": "waived"})


# What it is


def config_of(**chosen: Any) -> TrainingConfig:
    return TrainingConfig.for_rows(
        400, epsilon=1.0, delta=1e-5, features=SPEC.digest(),
        **{"steps": 12, "expected_batch": 60, "twin": True, **chosen},
    )  # fmt: skip


def twin_of(config: TrainingConfig, plan: Plan, secret: Secret = SECRET) -> unprotected.Twin:
    made = train_twin(config, plan, SPEC, ROWS, secret=secret, cancelled=lambda _: False)
    assert made is not None
    return made


@pytest.mark.parametrize(
    "kind", [ModelKind.LINEAR, ModelKind.MLP, ModelKind.EMBEDDING, ModelKind.EBM]
)
def test_the_same_secret_gives_the_same_twin(kind: ModelKind) -> None:
    config = config_of(model=kind)
    plan = make_plan(config, 400)
    one, again = twin_of(config, plan), twin_of(config, plan)
    other = twin_of(config, plan, Secret(bytes(32), "test"))
    rows = torch.from_numpy(SPEC.encode(ROWS.held_out))
    scores, same = one.scores(rows)["twin"], again.scores(rows)["twin"]
    assert np.isfinite(scores).all()
    assert np.array_equal(scores, same)
    assert one.executed == plan.steps
    # A boosted model draws no batch: its secret is in no more than a millionth of a row.
    apart = np.abs(scores - other.scores(rows)["twin"]).max()
    assert apart < 1e-5 if kind is ModelKind.EBM else apart > 1e-5


def test_it_is_sgd_on_the_batches_that_the_model_was_trained_on() -> None:
    """Against a plain loop over the coins of the run's plan: no clipping, no noise."""
    config = config_of(model=ModelKind.LINEAR, momentum=0.0, average_last=0.0, max_grad_norm=0.01)
    plan = make_plan(config, 400)
    network = network_of(config, SPEC)
    features = torch.from_numpy(SPEC.encode(ROWS.train))
    labels = torch.from_numpy(SPEC.encode_target(ROWS.train))
    for number in range(1, plan.steps + 1):
        drawn = torch.from_numpy(plan.sample(SECRET.step(number), len(labels)))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            network(features[drawn]).squeeze(-1), labels[drawn], reduction="sum"
        )
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(loss / plan.divisor, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(config.learning_rate * gradient)
    made = twin_of(config, plan).network
    assert made is not None
    for one, other in zip(made.parameters(), network.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_without_noise_an_empty_bin_of_a_table_is_zero() -> None:
    """`city` has a value that no row has, and no cell is missing: 0 of 0 rows."""
    config = replace(config_of(model=ModelKind.EBM), guarantee=Guarantee.PUBLIC_DATA, twin=False)
    network = network_of(config, SPEC)
    made = learn(
        network, torch.from_numpy(SPEC.encode(ROWS.train)),
        torch.from_numpy(SPEC.encode_target(ROWS.train)), plan=make_plan(config, 400),
        config=config, spec=SPEC, histogram_noise=1e-6, secret=SECRET, on_block=lambda _: None,
    )  # fmt: skip
    assert all(bool(torch.isfinite(value).all()) for value in made.state.values())


def test_a_twin_that_diverges_spoils_no_run(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: Any, **__: Any) -> Trained:
        raise EngineError("", code="engine.diverged")

    monkeypatch.setattr(unprotected, "learn", diverge)
    version = trained(house, make_version(house, declarations=PUBLIC), **ASKED)
    told = version.card["twin"]
    assert (told["diverged"], "auroc" in told) == (True, False)
    assert version.card["evaluation"]["accuracy"]
    assert "became non-finite" in page(house, version)


def test_another_fault_in_it_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Trained:
        raise EngineError("", code="engine.shape")

    monkeypatch.setattr(unprotected, "learn", broken)
    config = config_of()
    with pytest.raises(EngineError):
        twin_of(config, make_plan(config, 400))


# A run with one


def page(house: House, version: ModelVersion, language: str = "en") -> str:
    client = Client()
    client.force_login(User.objects.get(pk=house.owner.user_id))
    address = f"/admin/training/modelversion/{version.pk}/"
    return client.get(address, headers={"Accept-Language": language}).content.decode()


def test_the_card_has_the_figures_of_the_twin_and_what_they_differ_by(house: House) -> None:
    """Enough rows of each sex that a group's rates are told."""
    config = {**SMALL, "twin": True, "forms": ["onnx"]}
    dataset = make_version(house, declarations=PUBLIC, rows=3_000)
    with tenant_scope(house.id):
        objects = StoredObject.objects.count()
    version = trained(house, dataset, config=config, epsilon="3")
    card, twin = version.card, version.card["twin"]
    assert "neither noise nor clipping" in twin["what"]
    assert "no ε covers" in twin["covered"]
    assert (twin["executed_steps"], twin["diverged"]) == (45, False)
    for figure in ("accuracy", "selection_rate"):  # AUROC may not be measurable under such noise
        mine, its = card["evaluation"][figure], twin[figure]
        less = twin["difference"][figure]
        assert float(less["value"]) == pytest.approx(
            float(mine["value"]) - float(its["value"]), abs=1.5e-4
        )
        assert float(less["low"]) <= float(less["value"]) <= float(less["high"])
    fair = {"impact_ratio", "four_fifths", "selection_gap", "odds_difference", "equalized_odds"}
    assert set(twin["groups"]["sex"]) == fair | {"values"}
    assert fair <= set(card["evaluation"]["groups"]["sex"])
    assert fair == set(card["forms"]["forms"]["onnx"]["groups"]["sex"])
    assert set(twin["difference"]["groups"]["sex"]) == {"selection_gap", "odds_difference"}
    assert twin["difference"]["groups"]["sex"]["selection_gap"]["value"]
    _nothing_of_it_is_kept_or_charged(house, version, objects)
    _the_console_shows_it(house, version)


def _nothing_of_it_is_kept_or_charged(house: House, version: ModelVersion, before: int) -> None:
    run = version.run
    assert run is not None
    with tenant_scope(house.id):
        assert StoredObject.objects.count() == before + 1  # the model
        known = ledger.account(run, 1)
        assert known.steps == 45
        assert [charge.part for charge in known.ahead].count(Part.HELD_OUT) == 1
    entry = AuditEntry.objects.get(event="run.finished")
    assert json.loads(bytes(entry.body))["facts"]["steps"] == 45


def _the_console_shows_it(house: House, version: ModelVersion) -> None:
    text = page(house, version)
    for said in ("What privacy costs", "without noise", "sex: selection rate gap", "ONNX"):
        assert said in text, said
    assert version.card["twin"]["difference"]["accuracy"]["low"] in text
    assert "隐私保护的代价" in page(house, version, "zh-hans")


def test_who_asked_for_none_has_none(house: House) -> None:
    version = trained(house, make_version(house, declarations=PUBLIC))
    assert "twin" not in version.card
    assert "What privacy costs" not in page(house, version)


def test_stopped_at_its_twin_a_run_is_cancelled_and_goes_on_for_what_it_paid(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ask(house, make_version(house, declarations=PUBLIC), **ASKED)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "train_twin", lambda *_, **__: None)
        leases.run_here(run.reference)
    with tenant_scope(house.id), leases.doing_it_here():
        run.refresh_from_db()
        assert (run.state, run.error_code) == (RunState.CANCELLED, "run.cancelled")
        spent = ledger.statement(run.version.dataset.budget).spent
        run = retry_run(house.engineer, run)
        assert [charge.part for charge in ledger.account(run, 2).reserved] == [Part.HELD_OUT]
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        run.refresh_from_db()
        assert run.state == RunState.FINISHED, run.error_code
        assert ledger.statement(run.version.dataset.budget).spent == spent
        assert ModelVersion.objects.get(run=run).card["twin"]["accuracy"]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_killed_at_its_twin_nothing_is_charged_twice(home: Any) -> None:
    """The next worker draws the same twin from the same secret."""
    house = make_house()
    run = ask(house, make_version(house, declarations=PUBLIC), **ASKED)
    with across_tenants(reason="a test looks"):
        job = Job.objects.get(subject=run.reference)
    assert forked(home, "train", f"{job.id}:twin") == [-9]
    with tenant_scope(house.id):
        assert ledger.account(run, 1).steps == 45
        Job.objects.filter(pk=job.pk).update(leased_until=timezone.now())
    pipeline.work(job.id)
    with tenant_scope(house.id):
        run.refresh_from_db()
        assert run.state == RunState.FINISHED, run.error_code
        known = ledger.account(run, 1)
        assert (known.closed, known.steps) == (True, 45)
        assert [charge.part for charge in known.ahead].count(Part.HELD_OUT) == 1
        assert ModelVersion.objects.get(run=run).card["twin"]["accuracy"]
