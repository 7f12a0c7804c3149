"""The end of an ingest: the sealed groups, listed in a manifest, are a version."""

from dataclasses import replace
from typing import Any

from governance import batches
from governance.actions import anonymization
from governance.actions.anonymization import Sealed
from governance.errors import ConflictError
from governance.ingest.working import LeaksError, add, beat
from governance.leases import Lease
from governance.manifests import Entry, Manifest
from governance.models import ColumnPlanVersion, Dataset, DatasetVersion, SealedGroup, StoredObject
from governance.quality.assessing import assess
from governance.rbac import ingest_worker
from governance.recognition.plan import ColumnPlan
from governance.stages import MANIFEST
from governance.vault import ObjectWriter, discard


def merge(dataset: Dataset, lease: Lease) -> None:
    """Write the manifest of everything that the plan has treated, and seal the version.

    Raises:
        LeaksError: the re-scan found something in a group; counts of all groups.
        ConflictError: `dataset.groups_missing`.
    """
    plan = dataset.plans.get(pk=lease.argument)
    beat(lease, "merge", 0, 0)
    groups = _groups(dataset, plan)
    before = _whole(dataset, plan)
    counts: dict[str, dict[str, int]] = {}
    for found in (*((before.entity_counts,) if before else ()), *(g.entity_counts for g in groups)):
        add(counts, found)
    columns = _columns(plan)
    manifest = Manifest(
        plan=plan.digest,
        columns=tuple(column["name"] for column in columns),
        entries=(
            *((Entry(before.stored_id, before.rows, before.digest),) if before else ()),
            *(Entry(g.stored_id, g.rows, g.digest) for g in groups if g.stored_id is not None),
        ),
    )
    made = Sealed(
        stored=_sealed(dataset, manifest),
        plan=plan,
        rows=manifest.rows,
        columns=columns,
        entity_counts=counts,
        digest=manifest.digest,
    )
    try:
        made = replace(made, quality=assess(_version(dataset, made)))
        anonymization.finish_anonymization(
            ingest_worker(dataset.tenant_id), dataset, lease=lease, made=made
        )
    except BaseException:
        discard(made.stored)
        raise


def _groups(dataset: Dataset, plan: ColumnPlanVersion) -> list[SealedGroup]:
    """What the plan made of every group, in the order of their rows."""
    if batches.untreated_groups(dataset, plan):
        raise ConflictError("row groups are missing", code="dataset.groups_missing")
    groups = list(
        SealedGroup.objects.filter(plan=plan, group__in=batches.live_groups(dataset))
        .order_by("group__batch__number", "group__number")
        .defer("sketch")
    )
    leaks: dict[str, dict[str, int]] = {}
    for group in groups:
        add(leaks, group.leaks)
    if leaks:
        raise LeaksError(leaks)
    return groups


def _whole(dataset: Dataset, plan: ColumnPlanVersion) -> DatasetVersion | None:
    """The version that this plan sealed in one piece, before there were row groups."""
    whole = dataset.versions.filter(plan=plan).exclude(stored__kind=MANIFEST)
    return None if batches.live_groups(dataset).filter(batch__number=1).exists() else whole.first()


def _version(dataset: Dataset, made: Sealed) -> DatasetVersion:
    """The version as it will be, for what looks at it before it is written."""
    last = dataset.versions.order_by("-number").first()
    return DatasetVersion(
        tenant_id=dataset.tenant_id,
        dataset=dataset,
        number=1 if last is None else last.number + 1,
        stored=made.stored,
        plan=made.plan,
        rows=made.rows,
        columns=made.columns,
        digest=made.digest,
    )


def _columns(version: ColumnPlanVersion) -> list[dict[str, Any]]:
    plan = ColumnPlan.from_dict(version.as_json())
    return [
        {
            "name": column.name,
            "kind": column.kind.value,
            "entity": column.entity,
            "operator": dict(column.operator),
            "declared": None if column.declared is None else column.declared.value,
        }
        for column in plan.columns
        if column.declared != "drop"
    ]


def _sealed(dataset: Dataset, manifest: Manifest) -> StoredObject:
    with ObjectWriter(dataset.tenant, MANIFEST) as writer:
        writer.write(manifest.to_bytes())
        return writer.finish()
