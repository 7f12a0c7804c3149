"""What attempts took: seconds under a lease, and money at the price of that time.

A price is what an hour of a worker of a queue costs the house (settings `COST_CPU_HOUR`,
`COST_GPU_HOUR`). An attempt keeps the price at which it ended: a later price changes no past sum.
Nothing here is about data, and nothing here is about ε.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.db.models import Count, Sum

from audit.canonical import decimal
from governance import leases
from governance.models import Tenant
from governance.permissions import Permission
from governance.rbac import UserActor
from governance.scoping import tenant_scope
from training.models import Effort, Run

HOUR: Final = 3600
_KIND: Final = "train"  # as `training.admission.TRAIN`, which imports what imports this


@dataclass(frozen=True)
class Price:
    """What an hour of a worker costs; nothing, where the house does not reckon in money."""

    hour: Decimal
    currency: str

    def of(self, seconds: float) -> Decimal:
        """The cost of so many seconds, to six places."""
        return (self.hour * Decimal(str(seconds)) / HOUR).quantize(Decimal("0.000001"))


def price_of(queue: str) -> Price:
    """Today's price of a training queue."""
    hour = settings.COST_GPU_HOUR if queue.endswith(".gpu") else settings.COST_CPU_HOUR
    return Price(Decimal(hour), settings.COST_CURRENCY)


def write(run: Run, seconds: float) -> Effort:
    """Write down what the newest attempt took; inside the action that ends it."""
    price = price_of(run.queue)
    effort: Effort = Effort.objects.create(
        tenant_id=run.tenant_id,
        run=run,
        attempt=run.attempt,
        queue=run.queue,
        seconds=seconds,
        price=price.hour,
        cost=price.of(seconds),
        currency=price.currency,
    )
    return effort


def facts(effort: Effort) -> dict[str, str]:
    """What the log holds of it."""
    return {
        "seconds": decimal(effort.seconds, 3),
        "cost": f"{effort.cost:f}",
        "currency": effort.currency,
    }


@dataclass(frozen=True)
class Taken:
    """What a run took until now: its ended attempts, and the one that is worked on.

    `cost` maps a currency to a sum: attempts of one run may have ended under different settings.
    """

    seconds: float
    cost: Mapping[str, Decimal]

    def as_dict(self) -> dict[str, Any]:
        """With decimal strings."""
        return {"seconds": decimal(self.seconds, 3), "cost": shown(self.cost)}


def taken(run: Run) -> Taken:
    """What a run took until now; a running attempt until its last heartbeat."""
    efforts = list(Effort.objects.filter(run=run))
    sums: dict[str, Decimal] = {}
    for effort in efforts:
        sums[effort.currency] = sums.get(effort.currency, Decimal(0)) + effort.cost
    ended = sum(effort.seconds for effort in efforts)
    # Every ended attempt's job says the same as its effort; the rest is the open attempt's.
    running = max(0.0, leases.seconds_worked(run.reference, _KIND) - ended)
    if running:
        price = price_of(run.queue)
        sums[price.currency] = sums.get(price.currency, Decimal(0)) + price.of(running)
    return Taken(ended + running, sums)


def shown(cost: Mapping[str, Decimal]) -> dict[str, str]:
    """Sums as decimal strings."""
    return {currency: f"{amount:.6f}" for currency, amount in sorted(cost.items())}


@dataclass(frozen=True)
class Total:
    """What the ended attempts of one model, or of one tenant (`model` is ""), took together."""

    tenant: str
    model: str
    currency: str
    runs: int
    seconds: float
    cost: Decimal

    def as_dict(self) -> dict[str, Any]:
        """With decimal strings."""
        return {
            "tenant": self.tenant,
            "model": self.model,
            "currency": self.currency,
            "runs": self.runs,
            "seconds": decimal(self.seconds, 3),
            "cost": f"{self.cost:.6f}",
        }


@dataclass(frozen=True)
class Totals:
    """Sums of ended attempts: of the caller's models, and of each tenant that the caller sees."""

    models: tuple[Total, ...]
    tenants: tuple[Total, ...]

    def as_dict(self) -> dict[str, Any]:
        """With decimal strings."""
        return {
            "models": [one.as_dict() for one in self.models],
            "tenants": [one.as_dict() for one in self.tenants],
        }


def totals(actor: UserActor) -> Totals:
    """By model and by tenant, dearest first; one line for each currency.

    Models are those of the actor's own tenant. Tenants are that one and those that the role opens:
    all, for who runs the platform.
    """
    own = [] if actor.tenant_id is None else [actor.tenant_id]
    seen = [
        tenant.pk
        for tenant in Tenant.objects.all()
        if actor.may(Permission.TENANT_VIEW, tenant).allowed
    ]
    with tenant_scope(*own):
        models = _summed("run__model_name")
    with tenant_scope(*own, *seen):
        return Totals(models, _summed())


def _summed(*by: str) -> tuple[Total, ...]:
    rows: Iterable[dict[str, Any]] = (
        Effort.objects.order_by()
        .values("tenant__slug", "currency", *by)
        .annotate(runs=Count("run", distinct=True), seconds=Sum("seconds"), cost=Sum("cost"))
    )
    found = (
        Total(
            tenant=row["tenant__slug"],
            model=row.get("run__model_name", ""),
            currency=row["currency"],
            runs=row["runs"],
            seconds=row["seconds"],
            cost=row["cost"],
        )
        for row in rows
    )
    return tuple(sorted(found, key=lambda one: (-one.cost, -one.seconds, one.tenant, one.model)))
