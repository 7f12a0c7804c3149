"""A private search: its price, what it may vary, its trials, and a whole run of one."""

import functools
import json
import math
from collections import Counter
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from dp_accounting import (
    GaussianDpEvent,
    NeighboringRelation,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
)
from dp_accounting.dp_event import RepeatAndSelectDpEvent
from dp_accounting.rdp import RdpAccountant
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from audit.canonical import decimal
from audit.models import AuditEntry
from governance import leases
from governance.errors import LostLeaseError
from governance.models import Job
from governance.scoping import tenant_scope
from governance.vault import open_object
from tests.factories.people import House, make_house
from tests.factories.processes import forked
from tests.factories.training import ASKED, SMALL, ask, make_version, trained
from tests.training.test_pipeline import account, expire, fresh, job_of
from training import accounting, checkpoints, learning, ledger, pipeline, searching
from training.accounting import epsilon, make_plan, pld_epsilon, rdp_of, score_mechanism
from training.actions.runs import cancel_run, estimate_run, retry_run
from training.artifacts import from_bytes
from training.candidates import MOST, MOST_TRIALS
from training.charges import Charge, Part, cost, covers, less, tally
from training.config import Plan, TrainingConfig, read_fields
from training.dpsgd import Progress, Snapshot, Trained
from training.errors import ConfigError, EngineError
from training.estimates import estimate
from training.examining import engine_plan
from training.mechanisms import WHOLE, Mechanism, Purpose
from training.models import (
    BudgetEntry,
    Checkpoint,
    LedgerKind,
    ModelVersion,
    Run,
    RunPoint,
    RunState,
)
from training.planning import charges_of
from training.randomness import seeded_secret
from training.renyi import ORDERS, repeated
from training.searching import Best, Searched, pick, score, search, trials

# One that learns, and one whose steps are nothing: a step of 1e-9 moves no weight that counts.
CANDIDATES: list[dict[str, Any]] = [{"learning_rate": 1e-9}, {"learning_rate": 0.25}]
SEARCH: dict[str, Any] = {"candidates": CANDIDATES, "trials": 4}
SMALL_SEARCH: dict[str, Any] = {**SMALL, "search": SEARCH}
LARGER_SEARCH: dict[str, Any] = {**SMALL_SEARCH, "expected_batch": 400}  # of 4,000 rows
TRIAL = Mechanism(6.0, WHOLE // 10, 150)
SECRET = seeded_secret(7, allow_seeded=True)


def config_of(**chosen: Any) -> TrainingConfig:
    chosen = {"search": SEARCH, **chosen}
    return TrainingConfig.for_rows(
        20_000, epsilon=1.0, delta=1e-5, features="0" * 64, **read_fields(chosen)
    )


# 1. What it costs.


@pytest.mark.parametrize("trials_expected", [2, 3, 8, 64])
@pytest.mark.parametrize(("sigma", "sampling", "steps"), [(6.0, WHOLE // 10, 150), (2.0, WHOLE, 1)])
def test_the_bound_is_that_of_another_implementation(
    trials_expected: int, sigma: float, sampling: int, steps: int
) -> None:
    stopping = -(-WHOLE // trials_expected)
    event = GaussianDpEvent(sigma)
    if sampling != WHOLE:
        event = PoissonSampledDpEvent(sampling / WHOLE, event)
    theirs = RdpAccountant(ORDERS, NeighboringRelation.REPLACE_SPECIAL)
    theirs.compose(RepeatAndSelectDpEvent(SelfComposedDpEvent(event, steps), WHOLE / stopping, 1))
    ours = rdp_of(Mechanism(sigma, sampling, steps, stopping=stopping))
    assert ours == pytest.approx([float(value) for value in theirs.rdp], rel=1e-9)


def test_golden_values_of_the_bound() -> None:
    """By hand: of ε(α) = α/8 and γ = 1/4, at the α̂ that is best on our orders."""
    spend = tuple(order / 8 for order in ORDERS)
    same = min((1 - 1 / a) * a / 8 + math.log(4) / a for a in ORDERS)
    assert same == pytest.approx(2 / 8 + math.log(4) / 3)  # α̂ = 3
    by_order = dict(zip(ORDERS, repeated(spend, 1 / 4), strict=True))
    for order, expected in ((3.0, None), (8.0, 1 + 2 * same + math.log(4) / 7)):
        if expected is not None:
            assert by_order[order] == pytest.approx(expected)
    # No order costs more than a higher one: the formula itself does, at 2.
    assert (
        2 / 8 + 2 * same + math.log(4)
        > by_order[2.0]
        == pytest.approx(min(a / 8 + 2 * same + math.log(4) / (a - 1) for a in ORDERS))
    )


@pytest.mark.parametrize("trials_expected", [4, 8, 16, 64])
def test_a_search_costs_more_than_a_trial_and_less_than_its_trials(trials_expected: int) -> None:
    one = rdp_of(TRIAL)
    whole = rdp_of(replace(TRIAL, stopping=-(-WHOLE // trials_expected)))
    composed = tuple(trials_expected * value for value in one)
    assert epsilon(one, 1e-5) < epsilon(whole, 1e-5) < epsilon(composed, 1e-5)
    assert epsilon(whole, 1e-5) < 3.5 * epsilon(one, 1e-5)


def test_the_noise_is_set_so_that_the_whole_search_keeps_its_promise() -> None:
    config = config_of()
    plan = make_plan(config, 20_000)
    alone = make_plan(replace(config, search=None), 20_000)
    assert plan.trials == 4
    assert 0.999 < epsilon(rdp_of(plan), 1e-5) <= 1.0
    assert plan.noise_multiplier > alone.noise_multiplier
    assert plan.event(3) == plan.event()  # a trial that stops early saves nothing
    assert Plan.from_dict(plan.as_dict()) == plan
    assert "search" not in alone.as_dict()  # digests of other plans are what they were
    assert pld_epsilon(alone.mechanisms(), 1e-5) < 1.0
    with pytest.raises(ConfigError):
        pld_epsilon(plan.mechanisms(), 1e-5)


def test_held_out_rows_pay_no_more_than_training_rows_at_any_order() -> None:
    before = (Mechanism(40.0, purpose=Purpose.BOUNDS),)
    for paid in ((), before):
        plan = make_plan(config_of(), 20_000, before=paid)
        charges = charges_of(plan)
        sides = {
            part: rdp_of(charge.mechanism for charge in charges if charge.part is part)
            for part in Part
        }
        assert all(
            held <= trained * (1 + 1e-12)
            for held, trained in zip(sides[Part.HELD_OUT], sides[Part.TRAIN], strict=True)
        )
        assert [c.mechanism.purpose for c in charges if c.part is Part.HELD_OUT] == [
            Purpose.SELECTION, Purpose.EVALUATION,
        ]  # fmt: skip
        assert cost(charges, 1e-5) <= 1.0
        assert score_mechanism(plan).stopping == plan.stopping


# 2. What is reserved, and what was paid.

SEARCHED = Charge(replace(TRIAL, stopping=WHOLE // 4))
STEPS = Charge(TRIAL)


@pytest.mark.parametrize(
    ("reserved", "used", "covered"),
    [
        ((SEARCHED,), (SEARCHED,), True),
        ((SEARCHED,), (), True),
        ((SEARCHED,), (SEARCHED, SEARCHED), False),
        ((SEARCHED,), (STEPS,), False),  # a trial that is shown is another mechanism
        ((STEPS,), (SEARCHED,), False),
        ((SEARCHED,), (replace(SEARCHED, part=Part.HELD_OUT),), False),
        ((SEARCHED,), (replace(SEARCHED, mechanism=replace(TRIAL, stopping=WHOLE // 8)),), False),
        # No part of a search can be paid for, nor a part of its steps.
        (
            (SEARCHED,),
            (replace(SEARCHED, mechanism=replace(SEARCHED.mechanism, steps=149)),),
            False,
        ),
    ],
)
def test_a_search_is_had_whole_or_not_at_all(
    *, reserved: tuple[Charge, ...], used: tuple[Charge, ...], covered: bool
) -> None:
    assert covers(reserved, used) is covered
    assert (less(used, reserved) == ()) is covered


some_charges = st.lists(
    st.builds(
        Charge,
        st.builds(
            Mechanism,
            st.sampled_from([2.0, 3.0]),
            st.just(WHOLE // 10),
            st.integers(1, 3),
            st.just(Purpose.TRAINING),
            st.sampled_from([0, WHOLE // 2, WHOLE // 4]),
        ),
        st.sampled_from(Part),
    ),
    max_size=6,
)


@given(some_charges, some_charges)
def test_what_is_left_and_what_is_paid_make_the_whole(
    charges: list[Charge], paid: list[Charge]
) -> None:
    left = less(charges, paid)
    assert covers([*left, *paid], charges)
    assert covers(charges, left)
    assert tally(left) == tally(charges) - tally(paid)
    assert all(Charge.from_dict(charge.as_dict()) == charge for charge in charges)


def test_what_is_stored_of_other_mechanisms_reads_as_it_did() -> None:
    assert "stopping" not in STEPS.as_dict()
    assert Charge.from_dict(STEPS.as_dict()) == STEPS
    assert SEARCHED.as_dict()["stopping"] == WHOLE // 4


@pytest.mark.parametrize(("stopping", "steps"), [(-1, 1), (WHOLE, 1), (WHOLE // 4, 0)])
def test_no_search_without_an_end_or_without_a_step(stopping: int, steps: int) -> None:
    with pytest.raises(ConfigError):
        Mechanism(2.0, steps=steps, stopping=stopping)


# 3. What may be asked.

TOO_FEW_OR_MANY: list[Any] = [
    "x", {}, [], CANDIDATES[:1], [{"init_seed": i} for i in range(MOST + 1)],
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "code", "pointer"),
    [
        (None, "run.search_invalid", "/search"),
        ([], "run.search_invalid", "/search"),
        ({"candidates": CANDIDATES}, "run.search_invalid", "/search"),
        ({**SEARCH, "more": 1}, "run.search_invalid", "/search"),
        *(
            ({**SEARCH, "trials": bad}, "run.search_invalid", "/search/trials")
            for bad in (1, 0, -3, MOST_TRIALS + 1, "8", 4.0, True, None)
        ),
        *(
            ({**SEARCH, "candidates": bad}, "run.search_invalid", "/search/candidates")
            for bad in TOO_FEW_OR_MANY
        ),
        *(
            ({**SEARCH, "candidates": [*CANDIDATES, bad]}, "run.search_invalid",
             "/search/candidates/2")
            for bad in ({}, "x", None, {"learning_rate": "0.25"})
        ),
        *(
            ({**SEARCH, "candidates": [{name: value}, {"momentum": 0.5}]}, "search.field_fixed",
             f"/search/candidates/0/{name}")
            for name, value in (
                ("steps", 10), ("expected_batch", 10), ("epsilon", 1), ("delta", 1e-5),
                ("model", "linear"), ("forms", ["pruned"]), ("unit", "subject"),
                ("image", [1, 8, 8]), ("guarantee", "waived"), ("features", "x"),
            )
        ),
        ({**SEARCH, "candidates": [{"search": SEARCH}, {"momentum": 0.5}]}, "search.field_fixed",
         "/search/candidates/0/search"),
        ({**SEARCH, "candidates": [{"momentum": 0.5}, {"momentum": 2}]}, "run.momentum_invalid",
         "/search/candidates/1/momentum"),
        ({**SEARCH, "candidates": [{"momentum": 0.5}, {"momentum": "NaN"}]},
         "run.momentum_invalid", "/search/candidates/1/momentum"),
        ({**SEARCH, "candidates": [{"momentum": 0.5}, {"learning_rate": []}]},
         "run.learning_rate_invalid", "/search/candidates/1/learning_rate"),
        ({**SEARCH, "candidates": [{"momentum": 0.5}, {"nothing": 1}]}, "run.config_invalid",
         "/search/candidates/1"),
    ],
)  # fmt: skip
def test_a_bad_search_is_refused(asked: object, code: str, pointer: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(search=asked)
    assert (caught.value.stable_code, caught.value.pointer) == (code, pointer)


def test_without_a_guarantee_nothing_is_searched_privately() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(guarantee="public-data")
    assert caught.value.stable_code == "run.search_invalid"


def test_a_search_is_saved_and_read_back() -> None:
    config = config_of(
        search={
            "candidates": [{"learning_rate": "0.5", "hidden": [8, 4]}, {"optimizer": "adamw"}],
            "trials": 3,
        }
    )
    assert TrainingConfig.from_dict(config.as_dict()) == config
    first, second = config.variants()
    assert (first.learning_rate, first.hidden, first.search) == (0.5, (8, 4), None)
    assert second == replace(config, search=None, optimizer=second.optimizer)
    assert "search" not in replace(config, search=None).as_dict()
    assert config.search is not None
    assert WHOLE / config.search.stopping == pytest.approx(3)
    assert WHOLE / config.search.stopping <= 3  # never more trials than were priced


@pytest.mark.parametrize("norm", [0.1, 3.0, 50.0])
def test_another_clipping_norm_costs_the_same(norm: float) -> None:
    plan = make_plan(config_of(), 20_000)
    assert plan.trial(norm).event() == plan.event()
    assert make_plan(config_of(max_grad_norm=norm), 20_000).event() == plan.event()


# 4. Its trials.


def test_how_many_trials_there_are_is_geometric() -> None:
    counts = Counter(trials(SECRET.branch(str(i)), WHOLE // 4) for i in range(4_000))
    mean = sum(k * n for k, n in counts.items()) / 4_000
    assert min(counts) == 1
    assert mean == pytest.approx(4, abs=0.25)
    assert counts[1] / 4_000 == pytest.approx(0.25, abs=0.03)
    assert counts[2] / 4_000 == pytest.approx(0.1875, abs=0.03)


def test_candidates_are_drawn_alike() -> None:
    source = SECRET.stream("candidates")
    counts = Counter(pick(source, 3) for _ in range(6_000))
    assert set(counts) == {0, 1, 2}
    assert all(n == pytest.approx(2_000, abs=200) for n in counts.values())
    assert pick(source, 1) == 0


def test_no_two_trials_share_a_coin() -> None:
    draws = {
        tuple(SECRET.branch(name).step(1).gaussian(2))
        for name in ("trial 1", "trial 2", "trial 12")
    }
    assert len({*draws, tuple(SECRET.step(1).gaussian(2))}) == 4
    again = seeded_secret(7, allow_seeded=True).branch("trial 1").step(1).gaussian(2)
    assert tuple(again) in draws


def test_the_score_is_the_sum_of_squared_errors() -> None:
    said = np.array([0.9, 0.2, np.nan, 0.5])
    labels = np.array([1, 0, 1, np.nan], dtype=np.float32)
    found = score(said, labels, 1e-9, SECRET.stream("score"))
    assert found == pytest.approx(-(0.01 + 0.04 + 1), abs=2e-3)
    assert (found * 1_024).is_integer()
    noisy = [score(said, labels, 5.0, SECRET.branch(str(i)).stream("score")) for i in range(2_000)]
    assert np.mean(noisy) == pytest.approx(-1.05, abs=0.5)
    assert np.std(noisy) == pytest.approx(5, abs=0.4)


@given(st.floats(0, 1), st.sampled_from([0.0, 1.0]))
def test_a_record_moves_the_score_by_at_most_one(chance: float, label: float) -> None:
    said = np.array([chance, 0.3])
    with_it, without = (
        score(said, np.array([value, 1], dtype=np.float32), 1e-12, SECRET.stream("score"))
        for value in (label, np.nan)
    )
    assert abs(with_it - without) <= 1


class Played:
    """Trials whose scores are known beforehand, by candidate."""

    def __init__(self, *scores: float | str) -> None:
        self.scores, self.made, self.done = scores, list[int](), list[Searched]()
        self.on_trial = self.done.append

    def train(
        self, config: TrainingConfig, _plan: Plan, _secret: Any, after: Snapshot | None
    ) -> Trained:
        candidate = int(config.init_seed)
        self.made.append(candidate)
        said = self.scores[candidate]
        if isinstance(said, str):
            raise EngineError("no", code=said)
        curve = (Progress(20, 45, said, 0.1),)
        return Trained({}, 45, stopped=after is not None, curve=curve)

    def score(self, _config: TrainingConfig, trained: Trained, _source: Any) -> float:
        return trained.curve[0].loss


def played(
    *scores: float | str, seed: int = 4, expected: int = 32, after: Snapshot | None = None
) -> tuple[Best | None, Played]:
    candidates = [{"init_seed": i} for i in range(len(scores))]
    config = config_of(search={"candidates": candidates, "trials": expected})
    play = Played(*scores)
    secret = seeded_secret(seed, allow_seeded=True)
    plan = make_plan(config, 20_000)
    return search(config, plan, secret, play, before=Searched(), after=after), play  # type: ignore[arg-type]


def test_the_best_of_all_trials_is_chosen() -> None:
    best, play = played(-30.0, -10.0, -20.0)
    assert best is not None
    assert len(set(play.made)) == 3
    assert (best.candidate, best.score) == (1, -10.0)
    assert [one.done for one in play.done] == list(range(1, len(play.made) + 1))


def test_a_trial_that_diverges_is_the_worst_and_no_error() -> None:
    best, play = played("engine.diverged", -50.0)
    assert best is not None
    assert {0, 1} == set(play.made)
    assert (best.candidate, best.score) == (1, -50.0)
    best, _ = played("engine.diverged", "engine.diverged")
    assert best is not None
    assert (best.score, best.trained) == (-math.inf, None)
    with pytest.raises(EngineError):
        played("engine.rank_lost", "engine.rank_lost")


def test_it_stops_where_somebody_asks_for_it() -> None:
    best, play = played(-1.0, -2.0, after=Snapshot(20, {}, ()))
    assert (best, len(play.made), play.done) == (None, 1, [])


# 5. A whole run.


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


@functools.cache
def drawing(*candidates: int) -> int:
    """The seed of a secret of whose trials it is known how many there are, and what each draws."""
    for seed in count():
        secret = seeded_secret(seed, allow_seeded=True)
        if trials(secret, WHOLE // 4) == len(candidates) and all(
            pick(secret.branch(f"trial {number}").stream("candidate"), 2) == candidate
            for number, candidate in enumerate(candidates, 1)
        ):
            return seed
    raise AssertionError


@pytest.fixture(autouse=True)
def coins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three trials: of the candidate that learns nothing, of the other, of the first again."""
    seed = drawing(0, 1, 0)
    monkeypatch.setattr(pipeline, "fresh_secret", lambda: seeded_secret(seed, allow_seeded=True))


def told(run: Run) -> str:
    """All that the tables of the house and its log hold of a run, as one text."""
    with tenant_scope(run.tenant_id):
        rows = [
            fresh(run).__dict__,
            *Job.objects.filter(subject=run.reference).values(),
            *RunPoint.objects.filter(run=run).values(),
            *BudgetEntry.objects.filter(run=run).values(),
            *Checkpoint.objects.filter(run=run).values("step", "since"),
        ]
    log = [bytes(entry.body).decode() for entry in AuditEntry.objects.all()]
    return "\n".join([*map(str, rows), *log])


def test_a_search_finds_the_candidate_that_learns(house: House, settings: Settings) -> None:
    settings.RUN_APPROVAL_EPSILON = 10.0
    version = make_version(house, rows=4_000)
    made = trained(house, version, config=LARGER_SEARCH, epsilon="4", name="found")
    run = fresh(made.run)
    known = account(run)  # and the recomputation agrees
    # Paid for whole, on both parts, before anything; then the release about the winner.
    assert [(c.part, c.mechanism.purpose, c.mechanism.steps) for c in known.ahead] == [
        (Part.TRAIN, Purpose.TRAINING, 45),
        (Part.HELD_OUT, Purpose.SELECTION, 1),
        (Part.HELD_OUT, Purpose.EVALUATION, 1),
    ]
    assert known.ahead == known.reserved
    with tenant_scope(house.id):
        lines = BudgetEntry.objects.filter(run=run, kind=LedgerKind.AHEAD).order_by("id")
        assert [len(line.mechanisms) for line in lines] == [2, 1]
        said = ledger.statement(version.dataset.budget)
        points = list(RunPoint.objects.filter(run=run))
        assert not Checkpoint.objects.exists()
    assert 3.99 < said.spent <= 4.0
    card = made.card
    assert card["privacy"]["epsilon_spent"] == decimal(said.spent)
    assert card["search"]["chosen"] == 2
    assert card["search"]["trials"]["mean"] == "4.0"
    assert card["training"]["config"]["learning_rate"] == "0.25"
    assert card["training"]["executed_steps"] == 45
    assert accounting.PLD_LABEL not in card["privacy"]
    assert "without_pld" in card["privacy"]
    assert [c["purpose"] for c in card["privacy"]["mechanisms"]["held_out_records"]] == [
        "selection", "evaluation",
    ]  # fmt: skip
    # The curve is the winner's, and there is one.
    assert [point.step for point in points] == [20, 40, 45]
    losses = [point.loss or 0.0 for point in points]
    assert [decimal(loss, 4) for loss in losses] == [
        one["loss"] for one in card["training"]["curve"]
    ]
    assert losses[-1] < losses[0]
    assert {point.epsilon for point in points} == {said.spent}
    finished = AuditEntry.objects.get(event="run.finished")
    assert "epsilon_pld" not in json.loads(bytes(finished.body))["facts"]
    begun = AuditEntry.objects.get(event="run.begun")
    assert json.loads(bytes(begun.body))["facts"]["trials"] == decimal(4.0)
    with open_object(made.artifact) as file:
        artifact = from_bytes(file.read())
    assert (artifact.config.search, artifact.plan.trials) == (None, 4)


def test_while_it_searches_nothing_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.CHECKPOINT_SECONDS = 0
    run = ask(house, make_version(house), config=SMALL_SEARCH)
    seen: list[str] = []
    paid: list[list[Charge]] = []
    make = learning.fit

    def looking(*arguments: Any, calls: Any, **rest: Any) -> Any:
        def cancelled() -> bool:
            asked = calls.cancelled()
            seen.append(told(run))
            with tenant_scope(house.id):
                paid.append(ledger.account(run, 1).ahead)
            return bool(asked)

        return make(*arguments, calls=replace(calls, cancelled=cancelled), **rest)

    monkeypatch.setattr(searching, "fit", looking)
    leases.run_here(run.reference)
    assert fresh(run).state == RunState.FINISHED
    assert len(seen) == 9  # three trials of three blocks
    for text in seen:
        assert "'stage': 'search'" in text
        assert "'done_units': 0" in text
        assert "'step': 0" in text
        assert "loss" not in text  # of no point
    # Both parts of the whole search, before the first step and ever since.
    assert {tuple(one.mechanism.purpose for one in ahead) for ahead in paid} == {
        (Purpose.TRAINING, Purpose.SELECTION)
    }


@pytest.mark.parametrize("fresh_at_trials", [False, True])
def test_a_search_that_goes_on_comes_to_the_same_bytes(
    house: House, monkeypatch: pytest.MonkeyPatch, *, fresh_at_trials: bool
) -> None:
    """One secret, one version: killed after a block of the second trial, and not killed.

    Where a checkpoint is too fresh to be replaced at the end of a trial, the next block's is of the
    next trial all the same.
    """
    version = make_version(house)
    whole = trained(house, version, config=SMALL_SEARCH, name="whole")
    run = ask(house, version, config=SMALL_SEARCH, name="killed")
    # The first, three blocks of a trial, its end if it is due, and a block of the next.
    keep, left = checkpoints.keep, iter(range(4 if fresh_at_trials else 5))
    keep_trials = pipeline._Attempt._keep_trials

    def not_due(self: Any, searched: Searched) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(pipeline._Attempt, "_is_due", lambda _: False)
            keep_trials(self, searched)

    def die(*arguments: Any) -> None:
        keep(*arguments)
        if next(left, None) is None:
            raise LostLeaseError("dead")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "keep", die)
        if fresh_at_trials:
            patch.setattr(pipeline._Attempt, "_keep_trials", not_due)
        leases.run_here(run.reference)
    with tenant_scope(house.id):
        kept = checkpoints.read(fresh(run), Checkpoint.objects.get(run=run))
    assert kept.search is not None
    assert (kept.search.done, kept.step) == (1, 0)
    assert kept.search.best is not None
    assert kept.snapshot is not None
    pipeline.work(expire(run).id)
    with tenant_scope(house.id):
        made = ModelVersion.objects.get(run=run)
    assert made.artifact_digest == whole.artifact_digest
    assert made.card["search"] == whole.card["search"]
    assert made.card["evaluation"] == whole.card["evaluation"]


def test_cancelled_between_trials_and_tried_again_it_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make_version(house)
    run = ask(house, version, config=SMALL_SEARCH)
    keep = pipeline._Attempt._keep_trials

    def cancel(self: Any, searched: Searched) -> None:
        keep(self, searched)
        cancel_run(house.engineer, self.run)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline._Attempt, "_keep_trials", cancel)
        leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.CANCELLED, "run.cancelled")
    known = account(run)
    assert (known.closed, len(known.ahead)) == (True, 2)  # charged whole
    with tenant_scope(house.id):
        spent = ledger.statement(version.dataset.budget).spent
        with leases.doing_it_here():
            run = retry_run(house.engineer, run)
        assert (run.attempt, run.since) == (2, 1)
        assert [c.mechanism.purpose for c in account(run).reserved] == [Purpose.EVALUATION]
    leases.run_here(run.reference)
    run = fresh(run)
    assert run.state == RunState.FINISHED
    assert [c.mechanism.purpose for c in account(run).ahead] == [Purpose.EVALUATION]
    with tenant_scope(house.id):
        assert ledger.statement(version.dataset.budget).spent == spent
        assert ModelVersion.objects.filter(run=run).exists()


def test_a_search_of_which_nothing_comes_says_so_and_begins_anew(house: House) -> None:
    version = make_version(house)
    lost = {"candidates": [{"learning_rate": "1e38"}, {"learning_rate": "2e38"}], "trials": 4}
    run = ask(house, version, config={**SMALL, "search": lost})
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "search.nothing_usable")
    assert [c.mechanism.purpose for c in account(run).ahead] == [
        Purpose.TRAINING, Purpose.SELECTION,
    ]  # fmt: skip
    with tenant_scope(house.id):
        assert not RunPoint.objects.exists()
        with leases.doing_it_here():
            run = retry_run(house.engineer, run)
        assert (run.attempt, run.since) == (2, 2)
        assert len(account(run).reserved) == 3  # at a new price


def test_a_boosted_search_buys_its_numbers_of_rows_once(house: House) -> None:
    search_of = {"candidates": [{"learning_rate": 1e-9}, {"learning_rate": 0.3}], "trials": 4}
    made = trained(
        house, make_version(house), model="ebm",
        config={"steps": 6, "search": search_of},
    )  # fmt: skip
    known = account(fresh(made.run))
    assert [c.mechanism.purpose for c in known.ahead] == [
        Purpose.HISTOGRAM, Purpose.TRAINING, Purpose.SELECTION, Purpose.EVALUATION,
    ]  # fmt: skip
    assert cost(known.ahead, 1e-5) <= 1.0
    assert made.card["search"]["chosen"] in {1, 2}


def test_the_engine_is_audited_by_one_trial() -> None:
    plan = make_plan(config_of(), 20_000)
    audited = engine_plan(plan)
    assert (audited.stopping, audited.noise_multiplier) == (0, plan.noise_multiplier)
    assert audited.mechanisms()[0].stopping == 0


def test_an_estimate_is_of_all_trials(house: House) -> None:
    version = make_version(house)
    with tenant_scope(house.id):
        one, all_of_them = (
            estimate(estimate_run(house.engineer, version, **{**ASKED, "config": config}))
            for config in (SMALL, SMALL_SEARCH)
        )
    assert (one.trials, all_of_them.trials, one.steps) == (1, 4, all_of_them.steps)
    assert all_of_them.seconds > one.seconds
    assert all_of_them.epsilon_left_after == pytest.approx(one.epsilon_left_after, abs=0.01)
    assert all_of_them.as_dict()["trials"] == "4.0"


# Moment of the search's death -> whether the search was paid for.
MOMENTS = {"secret": False, "ahead": True, "step": True, "trial": True, "sealed": True}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_killed_at_any_moment_it_comes_to_the_same_bytes_and_is_paid_for_once(home: Any) -> None:
    """SIGKILL to a real worker, and what the next makes of it, beside a run that was let alone."""
    house = make_house()
    version = make_version(house)
    whole = trained(house, version, config=SMALL_SEARCH, epsilon="0.5", name="whole")
    runs = {
        moment: ask(house, version, config=SMALL_SEARCH, epsilon="0.5", name=moment)
        for moment in MOMENTS
    }
    seed = drawing(0, 1, 0)
    ends = forked(home, "search", *[f"{job_of(run).id}:{m}:{seed}" for m, run in runs.items()])
    assert ends == [-9] * len(MOMENTS)
    for moment, paid in MOMENTS.items():
        run = fresh(runs[moment])
        before = [charge.mechanism.purpose for charge in account(run).ahead]
        assert (moment, before[:2]) == (
            moment, [Purpose.TRAINING, Purpose.SELECTION] if paid else [],
        )  # fmt: skip
        expire(run)
        pipeline.work(job_of(run).id)
        known = account(run)
        assert [charge.mechanism.purpose for charge in known.ahead] == [
            Purpose.TRAINING, Purpose.SELECTION, Purpose.EVALUATION,
        ]  # fmt: skip
        with tenant_scope(house.id):
            made = ModelVersion.objects.get(run=run)
        assert (moment, made.artifact_digest) == (moment, whole.artifact_digest)
        assert made.card["search"] == whole.card["search"]
    with tenant_scope(house.id):
        assert not Checkpoint.objects.exists()
