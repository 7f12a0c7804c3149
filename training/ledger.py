"""The privacy-budget ledger: reserve, write ahead, close. Lines are only ever added.

    reserve      in the action that admits a run: all that the attempt may do, if the Rényi filter
                 admits it after everything recorded for the dataset
    write ahead  in a durable transaction of its own, before the steps run; never more than was
                 reserved, never by a worker that lost its lease (`training.write_ahead`)
    close        in the action that ends the attempt: what was written ahead is the charge

An open attempt costs what it reserved, a closed one what was written ahead, whether or not the run
came to a result. So a crash at any moment leaves the dataset charged with at least what touched it.

Every write holds the row lock of the budget (SQLite's IMMEDIATE transactions serialize by
themselves). ε is derived from the lines each time it is asked for and stored nowhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from audit.canonical import decimal
from governance.models import Dataset
from training.charges import Charge, cost, training_steps
from training.errors import BudgetError, LedgerError
from training.mechanisms import exact
from training.models import Budget, BudgetEntry, Guarantee, LedgerKind, PrivacyUnit, Run
from training.renyi import check_epsilon
from training.units import Unit


@dataclass
class Account:
    """What the ledger says of one attempt."""

    run: UUID
    attempt: int
    reserved: list[Charge] = field(default_factory=list)
    ahead: list[Charge] = field(default_factory=list)
    lines: int = 0
    touched: bool = False  # something was written ahead, if only that no guarantee is given
    closed: bool = False

    @property
    def due(self) -> list[Charge]:
        """What this attempt costs now."""
        return self.ahead if self.closed else self.reserved

    @property
    def steps(self) -> int:
        """Training steps written ahead."""
        return training_steps(self.ahead)


def budget_of(dataset: Dataset) -> Budget:
    """The budget of a dataset, locked, made at its first use with the settings' cap and δ.

    Where the dataset names a subject column, it protects persons, else records.

    Called inside an action: what else is asked of the same dataset waits until it commits.
    """
    budget: Budget
    budget, _ = Budget.objects.select_for_update().get_or_create(
        dataset=dataset,
        defaults={"tenant_id": dataset.tenant_id, **_first_limits(dataset)},
    )
    return budget


def protects(dataset: Dataset) -> Unit:
    """Whom a dataset's budget protects, or would if it had one."""
    return Unit(budget_seen(dataset).unit)


def budget_seen(dataset: Dataset) -> Budget:
    """The budget of a dataset, to look at; one that is not stored, where it has none yet."""
    found: Budget | None = Budget.objects.filter(dataset=dataset).first()
    return found or Budget(dataset=dataset, tenant_id=dataset.tenant_id, **_first_limits(dataset))


def _first_limits(dataset: Dataset) -> dict[str, Any]:
    """The cap, δ and unit that a budget begins with."""
    return {
        "epsilon_cap": Decimal(str(settings.DEFAULT_EPSILON_CAP)),
        "delta": Decimal(exact(settings.DEFAULT_DELTA)),
        "unit": PrivacyUnit.SUBJECT if dataset.subject_column else PrivacyUnit.RECORD,
    }


def accounts(budget: Budget) -> dict[tuple[UUID, int], Account]:
    """Every attempt that the ledger knows, in the order of reservation."""
    found: dict[tuple[UUID, int], Account] = {}
    for entry in BudgetEntry.objects.filter(budget=budget).order_by("id"):
        key = (entry.run_id, entry.attempt)
        _enter(found.setdefault(key, Account(*key)), entry)
    return found


def account(run: Run, attempt: int) -> Account:
    """What the ledger says of one attempt; empty where it says nothing."""
    found = Account(run.id, attempt)
    for entry in BudgetEntry.objects.filter(run=run, attempt=attempt).order_by("sequence"):
        _enter(found, entry)
    return found


def line(run: Run) -> Account:
    """What the ledger says of the newest attempt and those that it goes on from, as one."""
    found = Account(run.id, run.attempt)
    entries = BudgetEntry.objects.filter(run=run, attempt__gte=run.since)
    for entry in entries.order_by("attempt", "sequence"):
        found.closed = False  # an attempt before the newest is closed, the line is not
        _enter(found, entry)
    return found


def lock(budget: UUID) -> Budget:
    """The budget under its row lock, until the transaction ends."""
    locked: Budget = Budget.objects.select_for_update().get(pk=budget)
    return locked


def budget_id(run: Run, attempt: int) -> UUID:
    """The budget that an attempt was reserved from.

    Raises:
        LedgerError: it never was.
    """
    first = BudgetEntry.objects.filter(run=run, attempt=attempt, sequence=0).first()
    if first is None:
        raise LedgerError("this attempt was never admitted", code="ledger.not_reserved")
    budget: UUID = first.budget_id
    return budget


def check_fits(budget: Budget, charges: Sequence[Charge]) -> None:
    """Refuse charges that do not fit after everything recorded for the dataset.

    The Rényi filter (`training.renyi.admits`): it stays valid although later runs are chosen after
    seeing the results of earlier ones.

    Raises:
        BudgetError: `budget.exceeded`.
        ConfigError: the cap or δ is not a positive, finite number.
    """
    cap = check_epsilon(float(budget.epsilon_cap), "/epsilon_cap")
    due = [charge for other in accounts(budget).values() for charge in other.due]
    if charges and not cost([*due, *charges], float(budget.delta)) <= cap:
        raise BudgetError("the dataset's privacy budget does not allow this run any more")


def left_after(budget: Budget, charges: Sequence[Charge]) -> float:
    """ε that would be left once these were reserved as well; below 0, they do not fit."""
    due = [charge for other in accounts(budget).values() for charge in other.due]
    return float(budget.epsilon_cap) - cost([*due, *charges], float(budget.delta))


def reserve(budget: Budget, run: Run, attempt: int, charges: Sequence[Charge]) -> None:
    """Set aside all that an attempt may do. Called inside the action that admits it.

    A run without a DP guarantee reserves no charges; its line says that it was admitted.

    Raises:
        BudgetError: `budget.exceeded`.
        LedgerError: the attempt has lines already, or a DP run reserves nothing.
    """
    locked = lock(budget.pk)
    if account(run, attempt).lines:
        raise LedgerError("this attempt has a reservation already", code="ledger.reserved")
    private = run.guarantee == Guarantee.DP
    # Where a run goes on, perhaps all was paid for, and only the model is missing.
    paid = bool(charges) or bool(line(run).ahead)
    if paid != private:
        raise LedgerError("a run reserves charges if, and only if, its guarantee is dp")
    check_fits(locked, charges)
    _write(locked, run, attempt, LedgerKind.RESERVE, charges, line=0)


def close(run: Run, attempt: int) -> Account:
    """Say that nothing more of this attempt will run. Called inside the action that ends it.

    Raises:
        LedgerError: the attempt was never reserved, or is closed already.
    """
    budget = lock(budget_id(run, attempt))
    known = account(run, attempt)
    if known.closed:
        raise LedgerError("this attempt is closed", code="ledger.closed")
    _write(budget, run, attempt, LedgerKind.CLOSE, (), line=known.lines)
    known.closed = True
    return known


@dataclass(frozen=True)
class AttemptCost:
    """One attempt in a statement. Figures are ε at the budget's δ, of this attempt alone."""

    run: str
    model: str
    attempt: int
    guarantee: str
    open: bool
    steps: int
    asked: float
    spent: float

    def as_dict(self) -> dict[str, Any]:
        """With decimal strings."""
        return {
            "run": self.run,
            "model": self.model,
            "attempt": self.attempt,
            "guarantee": self.guarantee,
            "open": self.open,
            "steps": self.steps,
            "epsilon_asked": decimal(self.asked),
            "epsilon_spent": decimal(self.spent),
        }


@dataclass(frozen=True)
class Statement:
    """What a dataset's budget is, in RDP figures at its one δ.

    Attributes:
        cap, delta: the limits.
        unit: whom the figures are about.
        asked: ε of everything that was ever reserved.
        spent: ε of everything that was ever written ahead.
        reserved: how much more it would be if every open attempt ran to its end.
        left: cap less spent and reserved.
        unprotected: runs that touched the data without a guarantee. The figures do not cover them.
        attempts: what each attempt cost. ε of several is less than the sum, so these do not add up.
    """

    cap: float
    delta: float
    unit: str
    asked: float
    spent: float
    reserved: float
    left: float
    unprotected: tuple[str, ...]
    attempts: tuple[AttemptCost, ...]

    def as_dict(self) -> dict[str, Any]:
        """With decimal strings."""
        return {
            "epsilon_cap": decimal(self.cap),
            "delta": exact(self.delta),
            "unit": self.unit,
            "epsilon_asked": decimal(self.asked),
            "epsilon_spent": decimal(self.spent),
            "epsilon_reserved": decimal(self.reserved),
            "epsilon_left": decimal(self.left),
            "unprotected": list(self.unprotected),
            "attempts": [attempt.as_dict() for attempt in self.attempts],
        }


def statement(budget: Budget) -> Statement:
    """Asked, spent, reserved and left of a dataset, and what each attempt cost."""
    cap, delta = float(budget.epsilon_cap), float(budget.delta)
    known = accounts(budget)
    runs = {run.id: run for run in Run.objects.filter(id__in={key[0] for key in known})}
    lines = tuple(
        AttemptCost(
            run=runs[one.run].reference,
            model=runs[one.run].model_name,
            attempt=one.attempt,
            guarantee=runs[one.run].guarantee,
            open=not one.closed,
            steps=one.steps,
            asked=cost(one.reserved, delta),
            spent=cost(one.ahead, delta),
        )
        for one in known.values()
    )
    spent = _total((one.ahead for one in known.values()), delta)
    due = _total((one.due for one in known.values()), delta)
    return Statement(
        cap=cap,
        delta=delta,
        unit=budget.unit,
        asked=_total((one.reserved for one in known.values()), delta),
        spent=spent,
        reserved=due - spent,
        left=max(0.0, cap - due),
        unprotected=tuple(
            dict.fromkeys(
                runs[one.run].reference
                for one in known.values()
                if one.touched and runs[one.run].guarantee == Guarantee.WAIVED
            )
        ),
        attempts=lines,
    )


def spent_by(run: Run, delta: float) -> float:
    """ε of what the newest attempt and those that it goes on from wrote ahead, alone."""
    return cost(line(run).ahead, delta)


def spent_together(runs: Iterable[Run], delta: float) -> float:
    """ε of what several runs wrote ahead, composed: less than the sum of what each spent."""
    return _total((line(run).ahead for run in runs), delta)


def _total(groups: Iterable[Sequence[Charge]], delta: float) -> float:
    return cost([charge for group in groups for charge in group], delta)


def _enter(known: Account, entry: BudgetEntry) -> None:
    charges = [Charge.from_dict(item) for item in entry.mechanisms]
    known.lines += 1
    match LedgerKind(entry.kind):
        case LedgerKind.RESERVE:
            known.reserved += charges
        case LedgerKind.AHEAD:
            known.ahead += charges
            known.touched = True
        case LedgerKind.CLOSE:
            known.closed = True


def _write(
    budget: Budget,
    run: Run,
    attempt: int,
    kind: LedgerKind,
    charges: Sequence[Charge],
    *,
    line: int,
) -> None:
    BudgetEntry.objects.create(
        tenant_id=budget.tenant_id,
        budget=budget,
        run=run,
        attempt=attempt,
        kind=kind,
        sequence=line,
        mechanisms=[charge.as_dict() for charge in charges],
    )
