"""What a request for a run is judged by: the same for the run itself and for its estimate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import TypeVar

from governance.models import Dataset, DatasetVersion
from training import members
from training.admission import QUEUES, check_purpose, check_quality
from training.config import Guarantee as Promise
from training.config import ModelKind
from training.errors import BudgetError, ConfigError, RunRefusedError
from training.models import Budget, Guarantee
from training.planning import Prepared, Request, is_public, parse_epsilon, prepare
from training.units import Unit

Choice = TypeVar("Choice", bound=Enum)


@dataclass(frozen=True)
class Judged:
    """A request that may be made.

    Attributes:
        version: what is to be trained on.
        budget: its dataset's; not stored yet where nothing was ever asked of the dataset.
        epsilon: ε asked, six places.
        guarantee: what is promised.
        queue: whose workers are to train.
        prepared: what would run.
    """

    version: DatasetVersion
    budget: Budget
    epsilon: Decimal
    guarantee: Guarantee
    queue: str
    prepared: Prepared

    @property
    def delta(self) -> float:
        """δ of the dataset."""
        return float(self.budget.delta)


def judge(  # noqa: PLR0913 - one argument a field of the form
    version: DatasetVersion,
    budget_of: Callable[[Dataset], Budget],
    *,
    target: str,
    purpose: str,
    epsilon: object,
    model: str,
    positive: str,
    guarantee: str,
    config: Mapping[str, object] | None,
    queue: str,
) -> Judged:
    """Judge a request by public facts; its fields are those of `actions.runs.request_run`.

    `budget_of` is how to come by the dataset's budget: to write, or only to look.

    Raises:
        DomainError: as `actions.runs.request_run` says.
    """
    check_purpose(version, purpose)
    check_quality(version)
    promised = one_of(Guarantee, guarantee, "guarantee")
    if promised is Guarantee.PUBLIC_DATA and not is_public(version.dataset.declarations):
        raise RunRefusedError("this dataset was not declared public", code="run.not_public")
    if queue not in QUEUES:
        raise ConfigError("there is no such queue", code="run.queue_invalid", pointer="/queue")
    asked = parse_epsilon(epsilon)
    budget = budget_of(version.dataset)
    if promised is Guarantee.DP and asked > budget.epsilon_cap:
        raise BudgetError(
            "ε is over the cap of this dataset's privacy budget", code="budget.over_cap"
        )
    kind = one_of(ModelKind, model, "model")
    chosen = config or {}
    if kind is ModelKind.ENSEMBLE:
        chosen = members.named(chosen, version.tenant_id)
    prepared = prepare(
        version,
        Request(
            target=target,
            positive=positive,
            epsilon=asked,
            delta=float(budget.delta),
            model=kind,
            guarantee=Promise(promised.value),
            unit=Unit(budget.unit),
            chosen=chosen,
        ),
    )
    if kind is ModelKind.ENSEMBLE:
        members.check_fit(
            members.resolved(prepared.config.members, version.tenant_id),
            data=version,
            purpose=purpose,
            guarantee=promised,
            unit=budget.unit,
            declared=prepared.declared,
        )
    return Judged(version, budget, asked, promised, queue, prepared)


def one_of(kind: type[Choice], value: str, field: str) -> Choice:
    """A choice by its value.

    Raises:
        ConfigError: `run.…_invalid`, there is no such one.
    """
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(
            f"there is no such {field}", code=f"run.{field}_invalid", pointer=f"/{field}"
        ) from None
