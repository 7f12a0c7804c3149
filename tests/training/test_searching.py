"""A private search: its price, what of it is reserved and paid, and its trials."""

import math
from collections import Counter
from dataclasses import replace
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

from training.accounting import epsilon, make_plan, pld_epsilon, rdp_of, score_mechanism
from training.charges import Charge, Part, cost, covers, less, tally
from training.config import Plan, TrainingConfig, read_fields
from training.dpsgd import Progress, Snapshot, Trained
from training.errors import ConfigError, EngineError
from training.examining import engine_plan
from training.mechanisms import WHOLE, Mechanism, Purpose
from training.planning import charges_of
from training.randomness import seeded_secret
from training.renyi import ORDERS, repeated
from training.searching import Best, Searched, pick, score, search, trials

# One that learns, and one whose steps are nothing: a step of 1e-9 moves no weight that counts.
CANDIDATES: list[dict[str, Any]] = [{"learning_rate": 1e-9}, {"learning_rate": 0.25}]
SEARCH: dict[str, Any] = {"candidates": CANDIDATES, "trials": 4}
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


def test_the_engine_is_audited_by_one_trial() -> None:
    plan = make_plan(config_of(), 20_000)
    audited = engine_plan(plan)
    assert (audited.stopping, audited.noise_multiplier) == (0, plan.noise_multiplier)
    assert audited.mechanisms()[0].stopping == 0


# 3. Its trials.


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
