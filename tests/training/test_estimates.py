"""What a run would take, before it is asked for: by public facts and by earlier runs."""

from decimal import Decimal
from typing import Any

import pytest

from audit.errors import DomainError
from audit.models import AuditEntry
from governance.models import Job
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import ASKED, ask, make_version, trained
from training import estimates
from training.actions.runs import estimate_run
from training.config import ModelKind, Plan, TrainingConfig
from training.estimates import Basis, Estimate, estimate, memory, parameters, seconds_a_step
from training.features import Binned, Category, FeatureSpec, Pixel, Target
from training.mechanisms import WHOLE
from training.models import Budget, BudgetEntry, Effort, Model, Run
from training.networks import build
from training.units import Unit


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


@pytest.fixture(autouse=True)
def _step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten milliseconds a step; what times one has a test of its own."""
    monkeypatch.setattr(estimates, "_time", lambda *_shape: 0.01)
    monkeypatch.setattr(estimates, "_timed", {})


def told(house: House, version: Any, **asked: Any) -> Estimate:
    with tenant_scope(house.id):
        return estimate(estimate_run(house.engineer, version, **{**ASKED, **asked}))


def test_an_estimate_asks_for_nothing_and_is_recorded(house: House) -> None:
    said = told(house, make_version(house))
    with across_tenants(reason="a test looks"):
        made = (Run, BudgetEntry, Model, Job, Budget)
        assert not any(model.objects.exists() for model in made)
    entry = AuditEntry.objects.get(event="run.estimated")
    assert entry.outcome == "done"
    assert said.fits
    assert not said.needs_approval
    assert (said.steps, said.basis) == (45, Basis.TIMED_HERE)
    assert said.epsilon_left == 10
    assert 9.0 <= said.epsilon_left_after < 9.01


def test_what_it_says_of_privacy_is_what_the_run_reserves(house: House) -> None:
    version = make_version(house)
    before = told(house, version)
    ask(house, version)
    after = told(house, version)
    assert after.epsilon_left == pytest.approx(before.epsilon_left_after)
    assert after.epsilon_left_after < after.epsilon_left


def test_one_that_does_not_fit_says_so(house: House, settings: Any) -> None:
    settings.DEFAULT_EPSILON_CAP = 1.0
    version = make_version(house)
    assert told(house, version).fits
    ask(house, version)
    said = told(house, version)
    assert not said.fits
    assert said.epsilon_left_after < 0


@pytest.mark.parametrize(
    ("asked", "needed"),
    [
        ({"epsilon": "3"}, False),
        ({"epsilon": "3.1"}, True),
        ({"guarantee": "waived"}, True),
    ],
)
def test_it_says_whether_two_people_must_approve(
    house: House, asked: dict[str, Any], *, needed: bool
) -> None:
    said = told(house, make_version(house), **asked)
    assert said.needs_approval is needed
    if asked.get("guarantee"):
        assert said.epsilon_left_after == said.epsilon_left  # nothing is charged


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"epsilon": "nan"}, "run.epsilon_invalid"),
        ({"epsilon": "11"}, "budget.over_cap"),
        ({"target": "salary"}, "run.target_missing"),
        ({"target": "name"}, "run.target_barred"),
        ({"purpose": "marketing"}, "purpose.not_granted"),
        ({"queue": "train.tpu"}, "run.queue_invalid"),
        ({"model": "forest"}, "run.model_invalid"),
        ({"guarantee": "none"}, "run.guarantee_invalid"),
        ({"guarantee": "public-data"}, "run.not_public"),
        ({"config": {"steps": 0}}, "run.steps_invalid"),
        ({"config": {"features": "x"}}, "run.config_invalid"),
    ],
)
def test_what_could_not_be_asked_is_not_estimated(
    house: House, asked: dict[str, Any], code: str
) -> None:
    version = make_version(house)
    with pytest.raises(DomainError) as caught:
        told(house, version, **asked)
    assert caught.value.stable_code == code


def test_only_who_may_request_is_told(house: House) -> None:
    version = make_version(house)
    for stranger in (house.auditor, make_house("other").engineer):
        with tenant_scope(house.id), pytest.raises(DomainError) as caught:
            estimate_run(stranger, version, **ASKED)
        assert caught.value.stable_code.startswith("permission.")


def test_time_is_that_of_a_finished_run_of_the_same_shape(house: House) -> None:
    version = make_version(house)
    model = trained(house, version)
    with tenant_scope(house.id):
        worked = Effort.objects.get(run=model.run).seconds
    twice = {**ASKED["config"], "steps": 90}
    said = told(house, version, config=twice)
    assert said.basis is Basis.FINISHED_RUNS
    assert said.seconds == pytest.approx(2 * worked)
    for other in ({"hidden": [5]}, {"expected_batch": 41}):
        said = told(house, version, config={**ASKED["config"], **other})
        assert said.basis is Basis.TIMED_HERE
    assert told(house, version, queue="train.gpu").basis is Basis.TIMED_HERE


def test_money_is_hours_at_the_queues_price(house: House, settings: Any) -> None:
    settings.COST_CPU_HOUR, settings.COST_GPU_HOUR = Decimal("0.72"), Decimal("3.6")
    settings.COST_CURRENCY = "CNY"
    version = make_version(house)
    for queue, price in (("train.cpu", "0.72"), ("train.gpu", "3.6")):
        said = told(house, version, queue=queue)
        exact = Decimal(price) * Decimal(str(said.seconds)) / 3600
        assert abs(said.cost - exact) < Decimal("0.000001")
        assert said.as_dict()["currency"] == "CNY"


def spec_of(width: int) -> FeatureSpec:
    return FeatureSpec(tuple(Pixel(f"p{i}", 0, 1) for i in range(width)), Target("y", "1"))


@pytest.mark.parametrize(
    ("model", "chosen"),
    [
        (ModelKind.EMBEDDING, {"hidden": (3,)}),
        (ModelKind.EBM, {"max_grad_norm": 1.0}),
        (ModelKind.CNN, {"image": (1, 8, 9)}),
    ],
)
def test_a_step_of_any_kind_is_timed(model: ModelKind, chosen: dict[str, Any]) -> None:
    given: dict[str, Any] = {"hidden": (), **chosen}
    config = TrainingConfig(epsilon=1, delta=1e-5, features="f", model=model, **given)
    boosted = model is ModelKind.EBM
    plan = Plan(
        rows=90,
        sampling=WHOLE if boosted else WHOLE // 9,
        steps=9,
        noise_multiplier=1,
        max_grad_norm=1,
        unit=Unit.SUBJECT,
    )
    spec = spec_of(72)
    if boosted:
        spec = FeatureSpec((Binned("x", 0, 1), Category("c", ("a", "b"))), Target("y", "1"))
    assert 0 < estimates._time(plan, config, spec) < 10


@pytest.mark.parametrize("hidden", [(), (5,), (9, 4)])
def test_parameters_are_those_of_the_network(hidden: tuple[int, ...]) -> None:
    kind = ModelKind.MLP if hidden else ModelKind.LINEAR
    config = TrainingConfig(epsilon=1, delta=1e-5, features="f", model=kind, hidden=hidden)
    assert parameters(config, 7) == sum(p.numel() for p in build(config, 7).parameters())


def test_memory_grows_with_what_it_is_made_of() -> None:
    small = TrainingConfig(epsilon=1, delta=1e-5, features="f")
    wide = TrainingConfig(epsilon=1, delta=1e-5, features="f", hidden=(4_096,))
    base: dict[str, int] = {"rows": 10_000, "columns": 5, "width": 50, "weights": 3_000}
    one = memory(**base, config=small)
    assert memory(**{**base, "rows": 20_000}, config=small) > 1.5 * one
    assert memory(**{**base, "width": 500}, config=small) > 5 * one
    assert memory(**{**base, "weights": 10**6}, config=wide) > 5 * one
    adapted = TrainingConfig(epsilon=1, delta=1e-5, features="f", model=ModelKind.LORA, hidden=())
    assert memory(**base, config=adapted) > one + 10**9


class TestTiming:
    """With the clock that is really there."""

    @pytest.fixture(autouse=True)
    def _step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(estimates, "_timed", {})

    def test_a_step_is_timed_once_a_shape(self, monkeypatch: pytest.MonkeyPatch) -> None:
        config = TrainingConfig(
            epsilon=1, delta=1e-5, features="f", hidden=(4,), expected_batch=40, learning_rate=1e38
        )
        plan = Plan(rows=400, sampling=WHOLE // 10, steps=9, noise_multiplier=1, max_grad_norm=1)
        first = seconds_a_step(plan, config, spec_of(6))
        assert first > 0
        monkeypatch.setattr(estimates, "_time", lambda *_shape: pytest.fail("timed again"))
        assert seconds_a_step(plan, config, spec_of(6)) == first

    def test_a_large_step_is_timed_in_part(self) -> None:
        """A network of half a billion weights is not built to be told how long it would take."""
        config = TrainingConfig(
            epsilon=1, delta=1e-5, features="f", hidden=(8_192,) * 8, expected_batch=100_000
        )
        plan = Plan(
            rows=1_000_000, sampling=WHOLE // 10, steps=9, noise_multiplier=1, max_grad_norm=1
        )
        assert seconds_a_step(plan, config, spec_of(500)) > 100
