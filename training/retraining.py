"""The two remedies for a version that declines: the same request again, or the version before.

Reads and judges; what approved remedies do is in `training.effects`.
"""

from typing import Any, Final

from django.db.models import Q
from django.utils import timezone

from audit.canonical import canonical
from governance.models import DatasetVersion, Proposal
from training import ledger
from training.admission import check_purpose, check_quality
from training.config import Guarantee as Promise
from training.config import ModelKind, Plan, TrainingConfig
from training.errors import BudgetError, RunRefusedError
from training.models import (
    Budget,
    Guarantee,
    ModelState,
    ModelVersion,
    Run,
    RunState,
    Service,
)
from training.planning import CHOICES, Request, charges_of, is_public, open_digest, prepare
from training.units import Unit

# What an approval of a retraining is bound to, beside the version and the window that called for
# it.
TOLD: Final = (
    "dataset_version", "purpose", "target", "guarantee", "epsilon", "config", "plan", "queue",
)  # fmt: skip


def newest_sealed(run: Run) -> DatasetVersion:
    """The newest sealed version of the dataset that a run trained on."""
    dataset = run.version.dataset
    newest: DatasetVersion = DatasetVersion.objects.filter(dataset=dataset).latest("number")
    return newest


def same_again(version: ModelVersion, on: DatasetVersion, budget: Budget) -> Run:
    """The request that a version came from, made again: judged afresh and not saved.

    Target, positive label, ε, guarantee and every field that an engineer chooses are those of the
    first run; rate and noise follow from the rows of `on`. The budget is the dataset's, locked.

    Raises:
        RefusedError: `purpose.not_granted`, `quality.not_checked`, `quality.contract_unmet`.
        RunRefusedError: `run.not_trained_here`, `run.declarations_changed`, `run.not_public`,
            `run.ensemble_fixed`, `run.target_barred`, `run.rows_differ`,
            `run.subject_unreadable`, `run.subject_changed`.
        ConfigError, FeatureError: the request does not fit the dataset any more.
        BudgetError: `budget.over_cap`, `budget.exceeded`, `budget.unreachable`.
    """
    first = version.run
    if first is None:
        raise RunRefusedError("this version was not trained here", code="run.not_trained_here")
    check_purpose(on, first.purpose)
    check_quality(on)
    if first.guarantee == Guarantee.PUBLIC_DATA and not is_public(on.dataset.declarations):
        raise RunRefusedError("this dataset was not declared public", code="run.not_public")
    if first.guarantee == Guarantee.DP and first.epsilon > budget.epsilon_cap:
        raise BudgetError(
            "ε is over the cap of this dataset's privacy budget", code="budget.over_cap"
        )
    told = first.config_json()
    config = TrainingConfig.from_dict(told)
    if config.model is ModelKind.ENSEMBLE:
        raise RunRefusedError(
            "the same members would make the same ensemble", code="run.ensemble_fixed"
        )
    prepared = prepare(
        on,
        Request(
            target=first.target,
            positive=first.positive,
            epsilon=first.epsilon,
            delta=float(budget.delta),
            model=config.model,
            guarantee=Promise(first.guarantee),
            unit=Unit(budget.unit),
            chosen={name: told[name] for name in sorted(CHOICES & told.keys())},
        ),
    )
    if open_digest(prepared.declared) != told["features"]:
        raise RunRefusedError(
            "the dataset's declarations changed since this run was requested",
            code="run.declarations_changed",
        )
    ledger.check_fits(budget, charges_of(prepared.plan))
    return Run(
        tenant_id=version.tenant_id,
        version=on,
        purpose=first.purpose,
        target=first.target,
        positive=first.positive,
        model_name=first.model_name,
        guarantee=first.guarantee,
        epsilon=first.epsilon,
        config=canonical(prepared.config.as_dict()),
        config_digest=prepared.config.digest(),
        plan=prepared.plan.as_dict(),
        state=RunState.AWAITING_APPROVAL,
        queue=first.queue,
        requested_by_id=first.requested_by_id,
    )


def told(run: Run) -> dict[str, Any]:
    """The part of a retraining's payload that says what would run; keys as in `TOLD`."""
    return {
        "dataset_version": str(run.version_id),
        "purpose": run.purpose,
        "target": run.target,
        "guarantee": run.guarantee,
        "epsilon": f"{run.epsilon:f}",
        "config": run.config_digest,
        "plan": Plan.from_dict(run.plan).digest(),
        "queue": run.queue,
    }


def key_of(proposal: Proposal) -> str:
    """The idempotency key of the run that a retraining queues: one proposal, one run."""
    return f"retraining-{proposal.id}"


def is_served(version: ModelVersion) -> bool:
    """Whether callers get this version: as `next_best`, or a share of their calls."""
    if version.state != ModelState.RELEASED or version.service == Service.SHADOW:
        return False
    newer = _released(version).filter(number__gt=version.number)
    return version.service == Service.CANARY or not newer.exists()


def next_best(version: ModelVersion) -> ModelVersion | None:
    """What is served once this version is withdrawn: the newest other that answers all calls."""
    found: ModelVersion | None = _released(version).order_by("-number").first()
    return found


def under_way(proposal: Proposal) -> bool:
    """Whether an approved retraining still runs, or its model waits for its release."""
    run = Run.objects.filter(tenant_id=proposal.tenant_id, idempotency_key=key_of(proposal)).first()
    if run is None:
        return False
    if run.state == RunState.FINISHED:
        return ModelVersion.objects.filter(run=run, state=ModelState.REGISTERED).exists()
    return run.state not in {RunState.FAILED, RunState.CANCELLED}


def _released(version: ModelVersion) -> Any:
    rows = ModelVersion.objects.filter(
        model_id=version.model_id, state=ModelState.RELEASED, service=Service.FULL
    )
    going = rows.filter(Q(sunset_at=None) | Q(sunset_at__gt=timezone.now()))
    return going.exclude(pk=version.pk)
