"""What is about to touch the data, recorded before it does.

The one ledger line that no action writes: its run and its reservation are recorded already, and the
recomputation covers it.
"""

from collections.abc import Sequence
from typing import Protocol

from django.db import transaction

from training import ledger
from training.charges import Charge, covers
from training.errors import LedgerError
from training.models import BudgetEntry, LedgerKind, Run


class Fence(Protocol):
    """The right to go on writing: a worker's lease."""

    def check(self) -> None:
        """Raise unless the right still holds, and keep it until the transaction ends."""
        ...


def write_ahead(run: Run, attempt: int, charges: Sequence[Charge], fence: Fence) -> None:
    """Record charges, durably, in a transaction of their own.

    Args:
        run: whose steps they are.
        attempt: which attempt of it.
        charges: what is about to run; none for a run without a DP guarantee.
        fence: the worker's lease, checked in the same transaction.

    Raises:
        LostLeaseError: another worker holds the run's job; nothing is written.
        LedgerError: nothing was reserved, not this much, or the attempt is closed.
    """
    with transaction.atomic(durable=True):
        fence.check()
        budget = ledger.lock(ledger.budget_id(run, attempt))
        known = ledger.account(run, attempt)
        if known.closed:
            raise LedgerError("this attempt is closed", code="ledger.closed")
        if not covers(known.reserved, [*known.ahead, *charges]):
            raise LedgerError("more would run than was reserved", code="ledger.not_reserved")
        BudgetEntry.objects.create(
            tenant_id=budget.tenant_id,
            budget=budget,
            run=run,
            attempt=attempt,
            kind=LedgerKind.AHEAD,
            sequence=known.lines,
            mechanisms=[charge.as_dict() for charge in charges],
        )
