"""Asking for data of a source, and the end of a fetch that brought none."""

from typing import Any

from audit.events import Event
from audit.recording import Record, action
from governance import leases
from governance.errors import NotFoundError, RefusedError
from governance.leases import Lease
from governance.models import Dataset, Fetch, StoredObject, Tenant
from governance.models.fetches import FetchState
from governance.models.jobs import JobState
from governance.permissions import Permission
from governance.rbac import SystemActor, UserActor
from governance.sources.config import source_named
from governance.stages import FETCH, QUEUE, SELECTION


@action(Event.FETCH_REQUESTED, requires=Permission.DATASET_UPLOAD)
def request_fetch(
    record: Record,
    actor: UserActor,
    tenant: Tenant,
    *,
    source: str,
    selection: StoredObject,
    declared: dict[str, Any],
    dataset: Dataset | None = None,
) -> Fetch:
    """Have a worker fetch from a source; it acts as whoever asked, whose right it asks again.

    Args:
        record: filled here.
        actor: the steward.
        tenant: whose data it will be.
        source: the name that the operator gave it.
        selection: the path, prefix or query, sealed; not saved yet.
        declared: what is declared of a new dataset, already checked.
        dataset: the one that is to take a batch, or None for a new one.

    Raises:
        SourceError: `source.unknown`.
        RefusedError: `dataset.not_its_file`.
        NotFoundError: the dataset is another tenant's.
    """
    source_named(source, tenant)
    if selection.tenant_id != tenant.id or selection.kind != SELECTION:
        raise RefusedError("these bytes are not this tenant's upload", code="dataset.not_its_file")
    if dataset is not None and dataset.tenant_id != tenant.id:
        raise NotFoundError("there is no such dataset")
    selection.save(force_insert=True)
    fetch = Fetch.objects.create(
        tenant=tenant,
        source=source,
        selection=selection,
        declared=declared,
        dataset=dataset,
        requested_by_id=actor.user_id,
    )
    record.about(fetch)
    record.facts(source=source, object=selection.reference)
    leases.enqueue(FETCH, fetch.reference, QUEUE, tenant_id=tenant.id)
    return fetch


@action(Event.FETCH_STOPPED, requires=Permission.DATASET_FINISH)
def stop_fetch(
    record: Record, actor: SystemActor, fetch: Fetch, *, lease: Lease, code: str, detail: str
) -> None:
    """Write down that a fetch brought nothing, as a `failed` entry, and free its job.

    Raises:
        LostLeaseError: another worker holds the job now; nothing is written.
    """
    del actor
    lease.check()
    fetch.state = FetchState.FAILED
    fetch.error_code = code
    fetch.error_detail = detail[:400]
    fetch.save(update_fields=["state", "error_code", "error_detail"])
    record.facts(source=fetch.source, code=code)
    record.failed(code)
    lease.end(JobState.FAILED, error_code=code)
