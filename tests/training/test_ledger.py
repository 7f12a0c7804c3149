"""What is reserved, written ahead and closed; every figure against another implementation."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from audit.errors import DomainError
from governance.errors import LostLeaseError
from governance.models import DatasetVersion
from governance.scoping import tenant_scope
from tests.factories.people import House, make_house
from tests.factories.processes import forked
from tests.factories.training import make_version
from training import ledger
from training.charges import Charge, Part, cost, covers, spend
from training.errors import LedgerError
from training.mechanisms import WHOLE, Mechanism, Purpose
from training.models import Budget, BudgetEntry, Guarantee, LedgerKind, Run, RunState
from training.recomputation import recompute
from training.write_ahead import write_ahead

DELTA = 1e-5
Q = WHOLE // 10


def steps(count: int, sigma: float = 2.0, part: Part = Part.TRAIN) -> Charge:
    return Charge(Mechanism(sigma, Q, count), part)


def release(sigma: float, part: Part = Part.HELD_OUT) -> Charge:
    return Charge(Mechanism(sigma, purpose=Purpose.EVALUATION), part)


@dataclass
class Held:
    """A fence that holds until it is told otherwise."""

    lost: bool = False

    def check(self) -> None:
        if self.lost:
            raise LostLeaseError("another worker holds this job")


@dataclass
class Books:
    """A budget, and runs on it that exist only for their lines."""

    house: House
    version: DatasetVersion
    budget: Budget

    def run(self, guarantee: Guarantee = Guarantee.DP) -> Run:
        run: Run = Run.objects.create(
            tenant=self.house.tenant,
            version=self.version,
            purpose="credit-risk-scoring",
            target="income",
            model_name="model",
            guarantee=guarantee,
            epsilon="1",
            config=b"{}",
            config_digest="0" * 64,
            state=RunState.QUEUED,
            requested_by=self.house.user(self.house.engineer),
        )
        return run

    def reserved(self, *charges: Charge, guarantee: Guarantee = Guarantee.DP) -> Run:
        run = self.run(guarantee)
        with transaction.atomic():
            ledger.reserve(self.budget, run, 1, charges)
        return run

    def ahead(self, run: Run, *charges: Charge, attempt: int = 1) -> None:
        write_ahead(run, attempt, charges, Held())

    def close(self, run: Run, attempt: int = 1) -> None:
        with transaction.atomic():
            ledger.close(run, attempt)

    def said(self) -> ledger.Statement:
        """The statement, which must be what the independent recomputation finds."""
        said = ledger.statement(self.budget)
        again = recompute(self.budget)
        assert again.faults == ()
        assert again.agrees(said.spent, said.spent + said.reserved)
        return said


@pytest.fixture
def books(db: None, home: Any) -> Any:
    house = make_house()
    version = make_version(house)
    with tenant_scope(house.id):
        with transaction.atomic():
            budget = ledger.budget_of(version.dataset)
        yield Books(house, version, budget)


def test_a_budget_starts_with_the_defaults_of_the_settings(books: Books, settings: Any) -> None:
    assert books.budget.epsilon_cap == Decimal(str(settings.DEFAULT_EPSILON_CAP))
    assert float(books.budget.delta) == settings.DEFAULT_DELTA
    said = books.said()
    assert (said.asked, said.spent, said.reserved, said.left) == (0, 0, 0, said.cap)


def test_charges_survive_their_json() -> None:
    charge = Charge(Mechanism(1.2345, Q, 7, Purpose.TRAINING), Part.HELD_OUT)
    assert Charge.from_dict(charge.as_dict()) == charge


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("part", "everywhere"),
        ("noise_multiplier", "0"),
        ("noise_multiplier", "nan"),
        ("noise_multiplier", "inf"),
        ("noise_multiplier", "-1"),
        ("sampling", 0),
        ("sampling", WHOLE + 1),
        ("steps", -1),
    ],
)
def test_a_charge_that_is_no_charge_is_refused(field: str, value: object) -> None:
    with pytest.raises(DomainError):
        Charge.from_dict({**steps(1).as_dict(), field: value})


def test_parts_compose_in_parallel_and_within_a_part_charges_add() -> None:
    train, held_out = steps(40), release(3.0)
    assert cost([train, held_out], DELTA) == pytest.approx(
        max(cost([train], DELTA), cost([held_out], DELTA)), rel=0.2
    )
    assert all(
        both == max(one, other)
        for both, one, other in zip(
            spend([train, held_out]), spend([train]), spend([held_out]), strict=True
        )
    )
    assert spend([train, train]) == pytest.approx([2 * value for value in spend([train])])
    assert cost([steps(20), steps(20)], DELTA) == cost([steps(40)], DELTA)


@pytest.mark.parametrize(
    ("used", "fits"),
    [
        ([steps(40)], True),
        ([steps(15), steps(25)], True),
        ([steps(41)], False),
        ([steps(1, sigma=1.9)], False),
        ([steps(1, part=Part.HELD_OUT)], False),
        ([Charge(Mechanism(2.0, Q + 1, 1))], False),
        ([Charge(Mechanism(2.0, Q, 1, Purpose.BOUNDS))], False),
        ([], True),
    ],
)
def test_only_exactly_what_was_reserved_is_covered(used: list[Charge], *, fits: bool) -> None:
    assert covers([steps(40)], used) is fits


def test_an_open_attempt_costs_what_it_reserved_and_a_closed_one_what_it_wrote(
    books: Books,
) -> None:
    run = books.reserved(steps(40), release(9.0))
    whole, half = cost([steps(40)], DELTA), cost([steps(20)], DELTA)
    said = books.said()
    assert said.spent == 0
    assert said.reserved == pytest.approx(whole)
    books.ahead(run, steps(20))
    said = books.said()
    assert said.spent == pytest.approx(half)
    assert said.spent + said.reserved == pytest.approx(whole)
    books.close(run)
    said = books.said()
    assert said.spent == pytest.approx(half)
    assert said.reserved == 0
    assert said.left == pytest.approx(said.cap - half)
    assert said.asked == pytest.approx(whole)
    (line,) = said.attempts
    assert (line.open, line.steps, line.attempt) == (False, 20, 1)
    assert line.spent == pytest.approx(half)


def test_what_was_written_counts_though_the_run_failed_and_was_tried_again(books: Books) -> None:
    run = books.reserved(steps(40))
    books.ahead(run, steps(40))
    books.close(run)
    run.state = RunState.FAILED
    run.save()
    with transaction.atomic():
        ledger.reserve(books.budget, run, 2, [steps(40)])
    books.ahead(run, steps(40), attempt=2)
    books.close(run, attempt=2)
    assert books.said().spent == pytest.approx(cost([steps(80)], DELTA))


def test_reservations_stop_at_the_cap_and_a_closed_one_gives_its_rest_back(books: Books) -> None:
    large = steps(100, sigma=1.0)
    assert 5 < cost([large], DELTA) < 10
    first = books.reserved(large)
    with pytest.raises(DomainError) as caught, transaction.atomic():
        books.reserved(large)
    assert caught.value.stable_code == "budget.exceeded"
    assert BudgetEntry.objects.count() == 1
    books.ahead(first, steps(20, sigma=1.0))
    books.close(first)
    books.reserved(large)
    assert books.said().left < 10 - cost([large], DELTA)


def test_a_lower_cap_takes_nothing_back_and_admits_nothing(books: Books) -> None:
    run = books.reserved(steps(40))
    books.ahead(run, steps(40))
    books.budget.epsilon_cap = Decimal("0.5")
    books.budget.save()
    assert books.said().left == 0
    with pytest.raises(DomainError, match="budget"), transaction.atomic():
        books.reserved(steps(1))


@pytest.mark.parametrize(
    ("does", "code"),
    [
        (lambda b, run: b.ahead(run, steps(41)), "ledger.not_reserved"),
        (lambda b, run: b.ahead(run, release(9.0)), "ledger.not_reserved"),
        (lambda b, run: b.ahead(run, steps(1), attempt=2), "ledger.not_reserved"),
        (lambda b, run: (b.ahead(run, steps(30)), b.ahead(run, steps(11))), "ledger.not_reserved"),
        (lambda b, run: (b.close(run), b.ahead(run, steps(1))), "ledger.closed"),
        (lambda b, run: (b.close(run), b.close(run)), "ledger.closed"),
        (lambda b, run: b.close(run, attempt=2), "ledger.not_reserved"),
        (lambda b, run: ledger.reserve(b.budget, run, 1, [steps(1)]), "ledger.reserved"),
        (lambda b, run: ledger.reserve(b.budget, run, 2, []), "ledger.invalid"),
        (lambda _, run: write_ahead(run, 1, [steps(1)], Held(lost=True)), "job.lost_lease"),
    ],
    ids=[
        "more", "another mechanism", "another attempt", "more in sum", "after close",
        "close twice", "close unreserved", "reserve twice", "reserve nothing", "lost lease",
    ],
)  # fmt: skip
def test_a_line_that_does_not_belong_is_refused(books: Books, does: Any, code: str) -> None:
    run = books.reserved(steps(40))
    with pytest.raises(DomainError) as caught:
        does(books, run)
    assert caught.value.stable_code == code
    books.said()


def test_a_waived_run_is_named_because_no_figure_covers_it(books: Books) -> None:
    run = books.reserved(guarantee=Guarantee.WAIVED)
    assert books.said().unprotected == ()
    books.ahead(run)
    said = books.said()
    assert said.unprotected == (run.reference,)
    assert said.spent == 0
    with pytest.raises(LedgerError), transaction.atomic():
        ledger.reserve(books.budget, books.run(Guarantee.WAIVED), 1, [steps(1)])


@pytest.mark.parametrize("change", ["update", "delete"])
def test_a_line_is_for_ever(books: Books, change: str) -> None:
    books.reserved(steps(40))
    lines = BudgetEntry.objects.all()
    with pytest.raises(IntegrityError), transaction.atomic():
        lines.update(attempt=7) if change == "update" else lines.delete()
    assert BudgetEntry.objects.get().attempt == 1


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([("ahead", 0, 1)], "ledger.not_reserved"),
        ([("reserve", 0, 5), ("ahead", 1, 6)], "ledger.more_than_reserved"),
        ([("reserve", 0, 5), ("ahead", 2, 5)], "ledger.line_missing"),
        ([("reserve", 0, 5), ("close", 1, 0), ("ahead", 2, 1)], "ledger.written_after_close"),
        ([("reserve", 0, 5), ("reserve", 1, 5)], "ledger.not_reserved"),
        ([("reserve", 0, 5), ("ahead", 1, -1)], "ledger.negative_steps"),
    ],
)
def test_the_recomputation_finds_lines_that_no_code_of_ours_writes(
    books: Books, lines: list[tuple[str, int, int]], fault: str
) -> None:
    run = books.run()
    for kind, sequence, count in lines:
        BudgetEntry.objects.create(
            tenant=books.house.tenant,
            budget=books.budget,
            run=run,
            attempt=1,
            kind=LedgerKind(kind),
            sequence=sequence,
            mechanisms=[] if not count else [{**steps(1).as_dict(), "steps": count}],
        )
    again = recompute(books.budget)
    assert fault in again.faults
    assert not again.agrees(again.spent, again.due)


@pytest.mark.parametrize("seed", range(6))
def test_both_implementations_agree_on_mixed_ledgers(books: Books, seed: int) -> None:
    import random

    draw = random.Random(seed)
    books.budget.epsilon_cap = Decimal(1000)
    books.budget.save()
    for _ in range(3):
        charges = [
            Charge(
                Mechanism(
                    round(draw.uniform(0.8, 12), 4), draw.randint(1, WHOLE), draw.randint(1, 300)
                ),
                draw.choice(list(Part)),
            )
            for _ in range(3)
        ]
        run = books.reserved(*charges)
        books.ahead(run, charges[0])
        if draw.random() < 0.5:
            books.close(run)
    said = books.said()
    assert said.spent > 0


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_concurrent_reservations_do_not_pass_the_cap(home: Any) -> None:
    """Six processes reserve a third of the cap each, at once: as many succeed as fit."""
    house = make_house()
    version = make_version(house)
    charge = steps(100)
    with tenant_scope(house.id):
        with transaction.atomic():
            budget = ledger.budget_of(version.dataset)
            budget.epsilon_cap = Decimal(5)
            budget.save()
        books = Books(house, version, budget)
        runs = [books.run() for _ in range(6)]
    fits = next(n for n in range(1, 7) if cost([charge] * (n + 1), DELTA) > 5)
    assert 1 < fits < 6
    outcomes = forked(home, "reserve", *[str(run.id) for run in runs], at_once=True)
    assert sorted(outcomes) == [0] * fits + [3] * (6 - fits)
    with tenant_scope(house.id):
        said = books.said()
    assert len(said.attempts) == fits
    assert said.spent + said.reserved <= 5
