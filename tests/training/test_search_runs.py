"""Whole runs of a private search: found, untold, killed, stopped, tried again."""

import functools
import json
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from audit.canonical import decimal
from audit.models import AuditEntry
from governance import leases
from governance.errors import LostLeaseError
from governance.models import Job
from governance.scoping import tenant_scope
from governance.vault import open_object
from tests.factories.attempts import account, expire, fresh, job_of
from tests.factories.people import House, make_house
from tests.factories.processes import forked
from tests.factories.training import ASKED, SMALL, ask, make_version, trained
from tests.training.test_searching import SEARCH
from training import accounting, checkpoints, learning, ledger, pipeline, searching
from training.actions.runs import cancel_run, estimate_run, retry_run
from training.artifacts import from_bytes
from training.charges import Charge, Part, cost
from training.estimates import estimate
from training.mechanisms import WHOLE, Purpose
from training.models import (
    BudgetEntry,
    Checkpoint,
    LedgerKind,
    ModelVersion,
    Run,
    RunPoint,
    RunState,
)
from training.randomness import seeded_secret
from training.searching import Searched, pick, trials

SMALL_SEARCH: dict[str, Any] = {**SMALL, "search": SEARCH}
LARGER_SEARCH: dict[str, Any] = {**SMALL_SEARCH, "expected_batch": 400}  # of 4,000 rows


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
    assert card["search"]["trials"]["mean"] == decimal(4.0, 3)
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert all_of_them.as_dict()["trials"] == decimal(4.0, 3)


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
