"""What came in for a dataset: its batches and parts, and the row groups that stand now."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from uuid import UUID

from django.db.models import F, QuerySet

from governance import leases
from governance.errors import ConflictError, RefusedError
from governance.leases import Lease
from governance.models import (
    Batch,
    ColumnPlanVersion,
    Dataset,
    Fetch,
    Part,
    RowGroup,
    StoredObject,
)
from governance.models.fetches import FetchState
from governance.models.jobs import JobState
from governance.stages import MANIFEST, PROFILE, QUARANTINE, QUEUE


@dataclass(frozen=True)
class Received:
    """A file that was sealed as it came; its row is not saved yet."""

    stored: StoredObject
    format: str = ""  # as its name says
    encoding: str = ""  # as told


@dataclass(frozen=True)
class Fetched:
    """The fetch that brought files; taking them in ends it, in one transaction."""

    fetch: Fetch
    lease: Lease

    def end(self, dataset: Dataset) -> None:
        """Close the fetch and its job, inside the action that takes its files in.

        Raises:
            LostLeaseError: another worker fetches now: the action must not commit.
        """
        self.fetch.dataset = dataset
        self.fetch.state = FetchState.FETCHED
        self.fetch.save(update_fields=["dataset", "state"])
        self.lease.end(JobState.DONE)


def named_format(name: str) -> str:
    """The format that a file's name states: its suffix in small letters, that of `x.csv.gz` too."""
    suffixes = PurePath(name.lower()).suffixes[-2:]
    packed = len(suffixes) > 1 and suffixes[-1] == ".gz"
    return "".join(suffixes if packed else suffixes[-1:]).lstrip(".")


def receive(
    dataset: Dataset, files: Sequence[Received], *, by: UUID, source: str = "upload"
) -> Batch:
    """Write the next batch of a dataset and its parts, inside an action.

    Args:
        dataset: what it is for.
        files: in the order in which their rows are to stand.
        by: the id of whoever handed them in.
        source: the way in.

    Raises:
        RefusedError: `dataset.not_its_file`: bytes of another tenant, or of another kind.
    """
    last = newest(dataset)
    batch = Batch.objects.create(
        tenant_id=dataset.tenant_id,
        dataset=dataset,
        number=1 if last is None else last.number + 1,
        source=source,
        received_by_id=by,
    )
    for number, file in enumerate(files, start=1):
        if file.stored.tenant_id != dataset.tenant_id or file.stored.kind != QUARANTINE:
            raise RefusedError(
                "these bytes are not this tenant's upload", code="dataset.not_its_file"
            )
        file.stored.save(force_insert=True)
        Part.objects.create(
            tenant_id=dataset.tenant_id,
            batch=batch,
            number=number,
            stored=file.stored,
            declared_format=file.format,
            encoding_override=file.encoding,
        )
    return batch


def enqueue_profile(dataset: Dataset, batch: Batch) -> None:
    """Have a batch read, inside the action that took it in."""
    leases.enqueue(
        PROFILE,
        dataset.reference,
        QUEUE,
        tenant_id=dataset.tenant_id,
        argument=str(batch.pk),
    )


def newest(dataset: Dataset) -> Batch | None:
    """The batch that came last."""
    return dataset.batches.order_by("-number").first()


def live_groups(dataset: Dataset) -> QuerySet[RowGroup]:
    """The row groups that make up the dataset now, in the order of their rows.

    Those of an earlier reading of a file, and of a batch that was refused, are not among them.
    """
    return RowGroup.objects.filter(
        batch__dataset=dataset, batch__error_code="", reading=F("batch__reading")
    ).order_by("batch__number", "number")


def untreated_groups(dataset: Dataset, plan: ColumnPlanVersion) -> list[RowGroup]:
    """The groups that the plan has made nothing of yet.

    Raises:
        ConflictError: `dataset.not_staged`: a batch was read before there were row groups.
    """
    whole = dataset.batches.filter(error_code="")
    staged = set(live_groups(dataset).values_list("batch_id", flat=True))
    if any(batch.pk not in staged and not _sealed_whole(dataset, plan) for batch in whole):
        raise ConflictError("this file must be read anew first", code="dataset.not_staged")
    return list(live_groups(dataset).exclude(sealed__plan=plan))


def _sealed_whole(dataset: Dataset, plan: ColumnPlanVersion) -> bool:
    """Whether this plan sealed a version before there were row groups."""
    return dataset.versions.filter(plan=plan).exclude(stored__kind=MANIFEST).exists()
