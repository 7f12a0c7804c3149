"""What complete proposals and queued jobs of governance do; registered once, at start-up."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from audit.recording import Record
from governance import approvals, leases
from governance.errors import ConflictError, RefusedError
from governance.models import Dataset, Proposal, RoleBinding
from governance.models.datasets import DatasetState
from governance.permissions import ProposalKind
from governance.stages import ANONYMIZE, FETCH, GROUP, MERGE, PROFILE, QUEUE


def register() -> None:
    """Fill the registries of approvals and leases."""
    approvals.register_effect(
        ProposalKind.COLUMN_PLAN,
        approvals.Effect(apply=_approve_plan, reject=_reject_plan),
    )
    approvals.register_effect(ProposalKind.ROLE_GRANT, approvals.Effect(apply=_grant_role))
    approvals.register_effect(ProposalKind.REVEAL, approvals.Effect())
    # Used up by the export that was approved, like a reveal by the reading of the tokens.
    approvals.register_effect(ProposalKind.DATA_RELEASE, approvals.Effect())
    for kind in (FETCH, PROFILE, ANONYMIZE, GROUP, MERGE):
        leases.register_job(kind, leases.Work(send=_sender(kind), run=_runner(kind)))


# The work itself imports spaCy, Presidio and polars: only who does it pays for that.


def _sender(kind: str) -> Callable[[UUID], None]:
    def send(job_id: UUID) -> None:
        from governance import tasks  # noqa: PLC0415  # see above

        tasks.OF[kind].delay(str(job_id))

    return send


def _runner(kind: str) -> Callable[[UUID], None]:
    def run(job_id: UUID) -> None:
        from governance import ingest  # noqa: PLC0415  # see above

        ingest.OF[kind](job_id)

    return run


def _approve_plan(record: Record, proposal: Proposal, payload: dict[str, Any]) -> None:
    del record, payload
    _move_plan(proposal, DatasetState.APPROVED)
    leases.enqueue(ANONYMIZE, proposal.subject, QUEUE, tenant_id=proposal.tenant_id)


def _reject_plan(record: Record, proposal: Proposal, payload: dict[str, Any]) -> None:
    del record, payload
    _move_plan(proposal, DatasetState.REJECTED)


def _move_plan(proposal: Proposal, state: DatasetState) -> None:
    moved = Dataset.objects.filter(
        pk=proposal.subject.partition(":")[2], state=DatasetState.PROPOSED
    ).update(state=state)
    if not moved:
        raise ConflictError("this dataset waits for no plan", code="dataset.not_proposed")


def _grant_role(record: Record, proposal: Proposal, payload: dict[str, Any]) -> None:
    """Bind an approved role; the database's trigger has the last word on conflicts."""
    del record
    held = {"tenant_id": payload["tenant"], "user_id": payload["user"], "role": payload["role"]}
    if RoleBinding._base_manager.filter(**held, revoked_at__isnull=True).exists():  # noqa: SLF001  # as below
        raise ConflictError("the person holds this role already", code="role.held")
    try:
        with transaction.atomic():
            RoleBinding._base_manager.create(**held)  # noqa: SLF001  # the tenant may be another one
    except IntegrityError:
        raise RefusedError("one person may not hold both roles", code="role.conflict") from None
    approvals.use(ProposalKind.ROLE_GRANT, proposal.subject, proposal.payload_hash)
