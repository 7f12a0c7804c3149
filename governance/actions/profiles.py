"""What the profile of a batch found, written down: row groups, and a plan or the one in force."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Sum

from audit.events import Event
from audit.recording import Record, action
from governance import approvals, column_plans, leases
from governance.leases import Lease
from governance.models import Batch, ColumnPlanVersion, Dataset, RowGroup, StoredObject
from governance.models.datasets import DatasetState, entity_totals
from governance.models.jobs import JobState
from governance.permissions import Permission, ProposalKind, Role
from governance.rbac import SystemActor, UserActor
from governance.recognition.plan import ColumnPlan
from governance.stages import ANONYMIZE, QUEUE


@dataclass(frozen=True)
class PartRead:
    """How one file was read."""

    format: str
    encoding: str
    rows: int


@dataclass(frozen=True)
class Staged:
    """One row group as it was cut: sealed, its row not saved yet."""

    stored: StoredObject
    first_row: int  # of the batch, from 1
    rows: int


@dataclass(frozen=True)
class Profiled:
    """What the profile of a batch found.

    Attributes:
        plan: `recognition.plan.ColumnPlan` as JSON, masked samples only; None where the plan in
            force covers what was found.
        entity_counts: column -> entity -> values found in the sample.
    """

    parts: Sequence[PartRead]
    groups: Sequence[Staged]
    columns: int
    plan: dict[str, Any] | None
    detector: str
    entity_counts: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)


@action(Event.DATASET_PROFILED, requires=Permission.DATASET_FINISH)
def finish_profile(
    record: Record,
    actor: SystemActor,
    dataset: Dataset,
    *,
    lease: Lease,
    batch: Batch,
    found: Profiled,
) -> ColumnPlanVersion:
    """Write the profile and the row groups, and propose a plan, or go on under the one in force.

    The plan is proposed in the name of whoever handed the batch in. A tenant admin may upload, but
    only a steward's plan can be carried out: theirs waits until a steward proposes it
    (`amend_plan`, with or without changes).

    Raises:
        LostLeaseError: another worker holds the job now; nothing is written.
    """
    del actor
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    lease.check()
    _write_groups(batch, found)
    _sum_up(dataset, batch, found)
    plan = _plan_of(dataset, batch, found)
    dataset.save()
    proposal = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
    asked = {} if found.plan is None or proposal is None else {"proposal": proposal.reference}
    record.facts(
        batch=batch.reference,
        format=dataset.format,
        encoding=dataset.encoding or "none",
        encoding_overridden=batch.parts.exclude(encoding_override="").exists(),
        rows=found.rows,
        columns=found.columns,
        files=len(found.parts),
        groups=len(found.groups),
        covered=found.plan is None,
        plan=plan.digest,
        detector=found.detector,
        entities=entity_totals(found.entity_counts),
        undeclared_sensitive=_undeclared(plan),
        **asked,
    )
    lease.end(JobState.DONE)
    return plan


def _undeclared(plan: ColumnPlanVersion) -> list[str]:
    """Special categories that the ingest did not declare, of the plan that holds now."""
    return list(ColumnPlan.from_dict(plan.as_json()).undeclared_sensitive)


def _write_groups(batch: Batch, found: Profiled) -> None:
    """The row groups of this reading, and how each file was read."""
    owner = batch.tenant_id
    for part, read in zip(batch.parts.order_by("number"), found.parts, strict=True):
        part.format, part.encoding, part.rows = read.format, read.encoding, read.rows
        part.save(update_fields=["format", "encoding", "rows"])
    StoredObject.objects.bulk_create(group.stored for group in found.groups)
    RowGroup.objects.bulk_create(
        RowGroup(
            tenant_id=owner,
            batch=batch,
            reading=batch.reading,
            number=number,
            first_row=group.first_row,
            rows=group.rows,
            staged=group.stored,
        )
        for number, group in enumerate(found.groups, start=1)
    )
    batch.rows, batch.error_code = found.rows, ""
    batch.save(update_fields=["rows", "error_code"])


def _sum_up(dataset: Dataset, batch: Batch, found: Profiled) -> None:
    """The dataset's own line: the first file's format, the rows of every batch."""
    if batch.number == 1:
        dataset.format, dataset.encoding = found.parts[0].format, found.parts[0].encoding
        dataset.entity_counts = found.entity_counts
    whole = dataset.batches.filter(error_code="").aggregate(rows=Sum("rows"))
    dataset.rows, dataset.columns = whole["rows"], found.columns


def _plan_of(dataset: Dataset, batch: Batch, found: Profiled) -> ColumnPlanVersion:
    """The plan in force, with a job that uses it; or a new one, proposed."""
    if found.plan is None:
        dataset.state = DatasetState.APPROVED
        leases.enqueue(
            ANONYMIZE,
            dataset.reference,
            QUEUE,
            tenant_id=dataset.tenant_id,
            argument=str(batch.pk),
        )
        in_force: ColumnPlanVersion = dataset.versions.latest("number").plan
        return in_force
    giver = UserActor(batch.received_by_id, dataset.tenant_id)
    proposes = Role.STEWARD in giver.roles()
    return column_plans.propose(
        dataset, found.plan, found.detector, giver.user_id if proposes else None
    )
