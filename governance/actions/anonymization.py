"""An ingest's second half: an approval used, row groups treated, a version sealed; or a stop."""

from dataclasses import dataclass, field
from typing import Any

from audit.canonical import digest
from audit.events import Event
from audit.recording import Record, action
from governance import approvals, batches, column_plans, leases
from governance.errors import ConflictError, RefusedError
from governance.leases import Lease
from governance.models import (
    Batch,
    ColumnPlanVersion,
    Dataset,
    DatasetVersion,
    RowGroup,
    SealedGroup,
    StoredObject,
)
from governance.models.datasets import DatasetState, entity_totals
from governance.models.jobs import JobState
from governance.permissions import Permission, ProposalKind
from governance.quality.assessing import Assessment, write_run
from governance.rbac import SystemActor, UserActor
from governance.stages import ALL, GROUP, MERGE, QUEUE

Counts = dict[str, dict[str, int]]  # column -> entity -> how many


@action(Event.ANONYMIZATION_BEGUN, requires=Permission.DATASET_ANONYMIZE)
def begin_anonymization(
    record: Record, actor: UserActor, dataset: Dataset, *, lease: Lease
) -> ColumnPlanVersion:
    """Use the approval up and give every row group its job; what was approved is what is done.

    Raises:
        RefusedError: an approval lacks, is stale, used, or of another plan.
        ConflictError: `dataset.not_profiled`; `dataset.not_staged`: a file must be read anew.
        LostLeaseError: another worker holds the job now; nothing is written.
    """
    del actor  # asked already, and the approval that it answered with is used up here
    dataset = _locked(dataset, lease)
    plan = column_plans.newest(dataset)
    proposal = approvals.use(ProposalKind.COLUMN_PLAN, dataset, digest(plan.payload()))
    groups = _enqueue_groups(dataset, plan)
    record.facts(plan=plan.digest, proposal=proposal.reference, groups=groups)
    lease.end(JobState.DONE)
    return plan


@action(Event.APPEND_BEGUN, requires=Permission.DATASET_APPEND)
def begin_append(
    record: Record, actor: UserActor, dataset: Dataset, *, lease: Lease, batch: Batch
) -> ColumnPlanVersion:
    """Treat an appended batch by the plan in force, which two people agreed to already.

    Args:
        record: filled here.
        actor: who handed the batch in.
        dataset: one that is sealed under a plan, which its profile found to cover the batch.
        lease: the worker's.
        batch: the appended one.

    Raises:
        ConflictError: `dataset.plan_not_in_force`: another plan was proposed meanwhile, or the
            batch is of another dataset.
        LostLeaseError: another worker holds the job now; nothing is written.
    """
    del actor
    dataset = _locked(dataset, lease)
    plan = column_plans.newest(dataset)
    sealed = dataset.versions.first()
    if (
        sealed is None
        or sealed.plan_id != plan.pk
        or batch.dataset_id != dataset.pk
        or dataset.state != DatasetState.APPROVED
    ):
        raise ConflictError("this plan is not in force", code="dataset.plan_not_in_force")
    groups = _enqueue_groups(dataset, plan)
    record.facts(plan=plan.digest, batch=batch.reference, groups=groups)
    lease.end(JobState.DONE)
    return plan


@dataclass(frozen=True)
class Compared:
    """The fast recognition held against the slow one, on a sample: counts alone."""

    cells: int
    missed: dict[str, int]  # by entity: proven by plain Presidio, not covered by ours
    left_out: dict[str, int]  # by entity: found by a finder, screened away by the sweep


@dataclass(frozen=True)
class Treated:
    """What became of one row group. With leaks there is no object: the output is not kept."""

    group: RowGroup
    plan: ColumnPlanVersion
    stored: StoredObject | None  # not saved yet
    rows: int
    digest: str = ""
    entity_counts: Counts = field(default_factory=dict)
    leaks: Counts = field(default_factory=dict)
    sketch: dict[str, Any] = field(default_factory=dict)
    compared: Compared | None = None  # of the group that was looked at both ways


@action(Event.GROUP_SEALED, requires=Permission.DATASET_FINISH)
def finish_group(
    record: Record, actor: SystemActor, dataset: Dataset, *, lease: Lease, made: Treated
) -> SealedGroup:
    """Take a treated row group in; the last one done sets the merge off.

    A group in which the re-scan found something is written down as `failed`, with counts and
    without its rows; the others go on, so that the merge can tell all there is.

    Raises:
        ConflictError: `dataset.plan_not_in_force`.
        LostLeaseError: another worker holds the job now; nothing is written.
    """
    del actor
    dataset = _locked(dataset, lease)  # the last two groups to end wait here for each other
    if dataset.state != DatasetState.ANONYMIZING or column_plans.newest(dataset).pk != made.plan.pk:
        raise ConflictError("this plan is not in force", code="dataset.plan_not_in_force")
    if made.stored is not None:
        made.stored.save(force_insert=True)
    sealed = SealedGroup.objects.create(
        tenant_id=dataset.tenant_id,
        group=made.group,
        plan=made.plan,
        stored=made.stored,
        rows=made.rows,
        digest=made.digest,
        entity_counts=made.entity_counts,
        leaks=made.leaks,
        sketch=made.sketch,
    )
    record.facts(
        group=made.group.reference,
        plan=made.plan.digest,
        rows=made.rows,
        entities=entity_totals(made.entity_counts),
        leaks=entity_totals(made.leaks),
    )
    if made.stored is not None:
        record.facts(digest=made.digest, object=made.stored.reference)
    if made.compared is not None:
        record.facts(
            compared=made.compared.cells,
            missed=made.compared.missed,
            left_out=made.compared.left_out,
        )
    if made.leaks:
        record.failed("release.leaks")
    lease.end(JobState.DONE)
    if not leases.open_jobs(dataset.reference, GROUP):
        _enqueue_merge(dataset, made.plan)
    return sealed


@dataclass(frozen=True)
class Sealed:
    """What a merge made: a version's manifest."""

    stored: StoredObject  # not saved yet
    plan: ColumnPlanVersion
    rows: int
    columns: list[dict[str, Any]]
    entity_counts: Counts
    digest: str
    quality: Assessment | None = None  # against the contract in force; what is None cannot train


@action(Event.DATASET_SEALED, requires=Permission.DATASET_FINISH)
def finish_anonymization(
    record: Record, actor: SystemActor, dataset: Dataset, *, lease: Lease, made: Sealed
) -> DatasetVersion:
    """Seal a version of anonymized rows.

    Raises:
        RefusedError: `release.leaks`: the re-scan of a group's output found something.
        ConflictError: `dataset.groups_missing`: the plan has not treated every row group.
        LostLeaseError: another worker holds the job now; nothing is written.
    """
    del actor
    dataset = _locked(dataset, lease)
    if batches.untreated_groups(dataset, made.plan):
        raise ConflictError("row groups are missing", code="dataset.groups_missing")
    live = batches.live_groups(dataset)
    if SealedGroup.objects.filter(group__in=live, plan=made.plan, stored=None).exists():
        raise RefusedError("the re-scan of the output found personal data", code="release.leaks")
    last = dataset.versions.order_by("-number").first()
    made.stored.save(force_insert=True)
    version = DatasetVersion.objects.create(
        tenant_id=dataset.tenant_id,
        dataset=dataset,
        number=1 if last is None else last.number + 1,
        stored=made.stored,
        plan=made.plan,
        rows=made.rows,
        columns=made.columns,
        entity_counts=made.entity_counts,
        leaks=0,  # a group with any has stopped the work
        detector=made.plan.detector,
        digest=made.digest,
    )
    if made.quality is not None:
        run = write_run(version, made.quality)
        record.facts(quality=run.reference, passed=run.passed)
    dataset.state = DatasetState.SEALED
    dataset.error_code = dataset.error_detail = ""
    dataset.rows = made.rows
    dataset.entity_counts = made.entity_counts
    dataset.save(update_fields=["state", "error_code", "error_detail", "rows", "entity_counts"])
    record.facts(
        version=version.reference,
        number=version.number,
        rows=made.rows,
        digest=made.digest,
        plan=made.plan.digest,
        detector=made.plan.detector,
        entities=entity_totals(made.entity_counts),
        leaks=0,
        object=made.stored.reference,
    )
    lease.end(JobState.DONE)
    return version


@action(Event.INGEST_STOPPED, requires=Permission.DATASET_FINISH)
def stop_ingest(
    record: Record,
    actor: SystemActor,
    dataset: Dataset,
    *,
    lease: Lease,
    stage: str,
    code: str,
    detail: str,
    leaks: Counts | None = None,
) -> None:
    """Write down that an ingest failed, as a `failed` entry, free its job and halt the others.

    Args:
        record: filled here.
        actor: the ingest worker.
        dataset: what was being read.
        lease: the worker's.
        stage: where it stopped.
        code: the stable code of the error.
        detail: its sentence, which holds no personal data.
        leaks: what the re-scan found, if that was it.

    Raises:
        LostLeaseError: another worker holds the job now; nothing is written.
    """
    del actor
    dataset = _locked(dataset, lease)
    record.facts(stage=stage, code=code)
    if leaks:
        record.facts(leaks=entity_totals(leaks))
    record.failed(code)
    lease.end(JobState.FAILED, error_code=code)
    leases.halt(dataset.reference, *ALL)
    _stop(dataset, code, detail)


@action(Event.INGEST_CANCELLED, requires=Permission.DATASET_UPLOAD)
def cancel_ingest(record: Record, actor: UserActor, dataset: Dataset) -> Dataset:
    """Stop an ingest that is under way; what was sealed before stays, what was begun is dropped.

    Raises:
        ConflictError: `dataset.not_busy`: nothing is under way.
    """
    del actor
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    halted = leases.halt(dataset.reference, *ALL)
    if not halted:
        raise ConflictError("nothing of this dataset is under way", code="dataset.not_busy")
    record.facts(jobs=halted)
    _stop(dataset, "ingest.cancelled", "the ingest was cancelled")
    return dataset


def _locked(dataset: Dataset, lease: Lease) -> Dataset:
    """The dataset under its row lock, then the lease under its own: one order for everybody."""
    locked = Dataset.objects.select_for_update().get(pk=dataset.pk)
    lease.check()
    return locked


def _enqueue_groups(dataset: Dataset, plan: ColumnPlanVersion) -> int:
    """A job for each group that the plan has not treated; returns how many."""
    groups = batches.untreated_groups(dataset, plan)
    leases.enqueue_each(
        GROUP,
        dataset.reference,
        QUEUE,
        tenant_id=dataset.tenant_id,
        units={str(group.pk): group.rows for group in groups},
    )
    if not groups:
        _enqueue_merge(dataset, plan)
    dataset.state = DatasetState.ANONYMIZING
    dataset.error_code = dataset.error_detail = ""
    dataset.save(update_fields=["state", "error_code", "error_detail"])
    return len(groups)


def _enqueue_merge(dataset: Dataset, plan: ColumnPlanVersion) -> None:
    leases.enqueue(
        MERGE, dataset.reference, QUEUE, tenant_id=dataset.tenant_id, argument=str(plan.pk)
    )


def _stop(dataset: Dataset, code: str, detail: str) -> None:
    """A batch that could not be read is part of nothing; what was sealed before it stands."""
    batch = batches.newest(dataset)
    if batch is not None and dataset.state in {DatasetState.APPENDING, DatasetState.QUARANTINED}:
        batch.error_code = code
        batch.save(update_fields=["error_code"])
    appending = dataset.state == DatasetState.APPENDING
    dataset.state = DatasetState.SEALED if appending else DatasetState.FAILED
    dataset.error_code = code
    dataset.error_detail = detail[:400]
    dataset.save(update_fields=["state", "error_code", "error_detail"])
