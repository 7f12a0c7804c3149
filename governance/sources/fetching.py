"""A fetch: asked for at a door, carried out by a worker, which hands the files to the same actions.

What comes out of a source is sealed as it streams in. The action that takes it in ends the fetch in
its own transaction: a worker that dies leaves sealed bytes of nobody, and the next one fetches
again; a fetch that brought its dataset is never done twice.
"""

from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

from audit.errors import DomainError
from governance import intake
from governance.actions.datasets import Declared
from governance.actions.fetches import request_fetch, stop_fetch
from governance.batches import Fetched
from governance.carrying import carry_out
from governance.errors import InvalidError
from governance.intake import Incoming
from governance.leases import Lease
from governance.models import Dataset, Fetch, Tenant
from governance.rbac import UserActor, ingest_worker
from governance.sources import bucket, folder, query
from governance.sources.config import LONGEST_SELECTION, source_named
from governance.stages import SELECTION
from governance.vault import ObjectWriter, discard, open_object

_FILES: Final = {"folder": folder.files, "bucket": bucket.files, "query": query.files}


def ask(
    actor: UserActor,
    tenant: Tenant,
    source: str,
    selection: str,
    *,
    declared: Declared | None = None,
    dataset: Dataset | None = None,
) -> Fetch:
    """Ask for a new dataset (`declared`) or a batch of one (`dataset`) from a source.

    Args:
        actor: the steward.
        tenant: whose data it will be.
        source: a source's name.
        selection: a path, a prefix or a query, as the source's kind has it.
        declared: what the steward says of the table.
        dataset: a sealed one.

    Raises:
        InvalidError: `source.selection_invalid`; what `Declared.check` refuses.
        DomainError: what `request_fetch` refuses; the sealed selection is removed again.
    """
    if declared is not None:
        declared.check()
    if "\0" in selection or len(selection) > LONGEST_SELECTION:
        raise InvalidError(
            f"a selection has up to {LONGEST_SELECTION} characters",
            code="source.selection_invalid",
        )
    with ObjectWriter(tenant, SELECTION) as writer:
        writer.write(selection.encode(errors="replace"))
        sealed = writer.finish()
    try:
        return request_fetch(
            actor,
            tenant,
            source=source,
            selection=sealed,
            declared={} if declared is None else asdict(declared),
            dataset=dataset,
        )
    except BaseException:
        discard(sealed)
        raise


def fetch(job_id: UUID) -> None:
    """Carry a fetch out; a lost lease writes nothing."""
    carry_out(job_id, _asked, _fetch, _stop)


def _asked(key: str) -> Fetch:
    return Fetch.objects.get(pk=key)


def _fetch(asked: Fetch, lease: Lease) -> None:
    tenant = asked.tenant
    actor = UserActor(asked.requested_by_id, tenant.id)
    source = source_named(asked.source, tenant)
    with open_object(asked.selection) as sealed:
        selection = sealed.read().decode()
    files = [Incoming(pieces) for pieces in _FILES[source.kind](source, selection)]
    ends = Fetched(asked, lease)
    if asked.dataset is not None:
        intake.append(actor, asked.dataset, files, source=source.name, fetched=ends)
    else:
        intake.take_in(
            actor, tenant, files, _declared(asked.declared), source=source.name, fetched=ends
        )


def _declared(stored: dict[str, Any]) -> Declared:
    """What was declared, from JSON, whose lists were tuples."""
    said: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    return Declared(**said)


def _stop(asked: Fetch, lease: Lease, error: DomainError) -> None:
    worker = ingest_worker(asked.tenant_id)
    stop_fetch(worker, asked, lease=lease, code=error.stable_code, detail=error.detail)
