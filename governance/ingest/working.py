"""One job of an ingest: claimed, carried out, and written down if it fails."""

from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

from audit.errors import DomainError
from governance import carrying
from governance.actions import anonymization
from governance.errors import ConflictError, GovernanceError
from governance.leases import Lease
from governance.models import Dataset
from governance.models.datasets import entity_totals
from governance.rbac import ingest_worker

ROWS: Final = 4096  # a chunk: what is in the clear at one time, and the time between two heartbeats


class LeaksError(GovernanceError):
    """The re-scan of what was to go out found something; counts by column and entity."""

    code = "release.leaks"

    def __init__(self, leaks: dict[str, dict[str, int]]) -> None:
        self.leaks = leaks
        found = sorted(entity_totals(leaks).items())
        named = ", ".join(f"{entity}: {count}" for entity, count in found)
        super().__init__(f"the re-scan of the output found {named}")


def carry_out(job_id: UUID, stage: str, do: Callable[[Dataset, Lease], None]) -> None:
    """Carry one job of an ingest out; if it fails, the whole ingest stops."""
    carrying.carry_out(job_id, _dataset, do, partial(_stop, stage=stage))


def _dataset(key: str) -> Dataset:
    return Dataset.objects.get(pk=key)


def beat(lease: Lease, stage: str, done: int, of: int) -> None:
    """Keep the lease and say how many rows are done.

    Raises:
        LostLeaseError: the job was halted, or another worker holds it.
        ConflictError: `ingest.cancelled`.
    """
    if lease.beat(stage=stage, done=done, of=of):
        raise ConflictError("the ingest was cancelled", code="ingest.cancelled")


def add(total: dict[str, dict[str, int]], found: dict[str, dict[str, int]]) -> None:
    """Add counts by column and entity."""
    for column, entities in found.items():
        into = total.setdefault(column, {})
        for entity, count in entities.items():
            into[entity] = into.get(entity, 0) + count


def _stop(dataset: Dataset, lease: Lease, error: DomainError, *, stage: str) -> None:
    """Stop the whole ingest, once: who finds that another job has stopped it leaves quietly.

    Raises:
        LostLeaseError: another has.
    """
    lease.beat()
    anonymization.stop_ingest(
        ingest_worker(dataset.tenant_id),
        dataset,
        lease=lease,
        stage=stage,
        code=error.stable_code,
        detail=error.detail,
        leaks=error.leaks if isinstance(error, LeaksError) else None,
    )
