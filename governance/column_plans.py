"""Column plans as rows: the newest of a dataset, and the next one, proposed."""

from typing import Any, Final

from django.utils import timezone

from audit.canonical import canonical, digest
from governance import approvals
from governance.errors import ConflictError
from governance.models import ColumnPlanVersion, Dataset
from governance.models.datasets import DatasetState
from governance.permissions import ProposalKind
from governance.recognition.plan import ColumnPlan, PlanError
from governance.recognition_rules import current_version

DETECTOR: Final = "dataset.plan_outdated"  # the stable codes of what a plan outlives
RULES: Final = "dataset.rules_outdated"


def newest(dataset: Dataset) -> ColumnPlanVersion:
    """The plan that was proposed last.

    Raises:
        ConflictError: `dataset.not_profiled`: there is none yet.
    """
    plan = dataset.plans.order_by("-number").first()
    if plan is None:
        raise ConflictError("this dataset has no plan", code="dataset.not_profiled")
    return plan


def outdated(dataset: Dataset) -> str:
    """The code of why the newest plan must not be carried out any more; "" where it may.

    A plan is approved by its evidence, and that is of one detector and one edition of rules.

    Raises:
        ConflictError: `dataset.not_profiled`.
    """
    from governance.recognition.presidio import detector_version  # noqa: PLC0415 - loads models

    plan = newest(dataset)
    if plan.as_json().get("rules", "") != current_version(dataset.tenant):
        return RULES
    return DETECTOR if plan.detector != detector_version() else ""


def undeclared_sensitive(dataset: Dataset) -> dict[str, list[str]]:
    """Special categories that the ingest did not declare, each with the columns that tell it."""
    plan = dataset.plans.order_by("-number").first()
    if plan is None:
        return {}
    try:
        found = ColumnPlan.from_dict(plan.as_json()).undeclared_sensitive
    except PlanError:
        return {}  # of a version that is no longer read: a list of datasets must not fail over it
    return {name: list(columns) for name, columns in found.items()}


def propose(
    dataset: Dataset, plan: dict[str, Any], detector: str, proposer_id: Any
) -> ColumnPlanVersion:
    """Write a plan and propose it, unless nobody stands behind it (`proposer_id` None).

    Called inside an action, which saves the dataset.
    """
    last = dataset.plans.order_by("-number").first()
    version = ColumnPlanVersion.objects.create(
        tenant_id=dataset.tenant_id,
        dataset=dataset,
        number=1 if last is None else last.number + 1,
        body=canonical(plan),
        digest=digest(plan),
        detector=detector,
        created_at=timezone.now(),
    )
    if proposer_id is not None:
        approvals.propose(
            ProposalKind.COLUMN_PLAN,
            dataset,
            version.payload(),
            proposer_id=proposer_id,
            tenant_id=dataset.tenant_id,
        )
    dataset.state = DatasetState.PROPOSED
    dataset.error_code = dataset.error_detail = ""
    return version
