"""Between the profile and the work: an approval is used, or the plan in force, and groups queue."""

from typing import Final

from governance import approvals, column_plans
from governance.actions import anonymization
from governance.errors import ConflictError, RefusedError
from governance.leases import Lease
from governance.models import Dataset
from governance.permissions import ProposalKind
from governance.rbac import UserActor

_CHANGED: Final = {
    column_plans.DETECTOR: "the detector has changed since this plan was made",
    column_plans.RULES: "the tenant's own rules have changed since this plan was made",
}


def begin(dataset: Dataset, lease: Lease) -> None:
    """Give every row group that the plan has not treated a job.

    Raises:
        ConflictError: `dataset.plan_outdated`, `dataset.rules_outdated`: another detector looks
            now than the one that the plan's evidence is of, or by other rules of the tenant's.
        DomainError: what `begin_anonymization` and `begin_append` refuse.
    """
    outdated = column_plans.outdated(dataset)
    if outdated:
        raise ConflictError(_CHANGED[outdated], code=outdated)
    if lease.argument:
        batch = dataset.batches.get(pk=lease.argument)
        giver = UserActor(batch.received_by_id, dataset.tenant_id)
        anonymization.begin_append(giver, dataset, lease=lease, batch=batch)
    else:
        anonymization.begin_anonymization(_proposer(dataset), dataset, lease=lease)


def _proposer(dataset: Dataset) -> UserActor:
    """Who proposed the plan carries it out: the steward's right, the officer's approval."""
    proposal = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
    if proposal is None:
        raise RefusedError("the approval for this is missing", code="approval.missing")
    return UserActor(proposal.proposer_id, dataset.tenant_id)
