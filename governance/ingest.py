"""The work between two actions of an ingest: profile a quarantined file, anonymize an approved one.

Plaintext exists here only, in memory, a chunk at a time: it is decrypted segment by segment,
parsed, treated, looked at again and sealed. A worker that dies leaves sealed bytes that belong to
nothing; whoever takes the job over starts from the quarantined file again.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Final
from uuid import UUID

from audit.errors import DomainError
from governance import approvals, leases
from governance.actions import datasets
from governance.actions.datasets import Profiled, Sealed
from governance.anonymization.release import rescan, transform_chunk
from governance.errors import ConflictError, LostLeaseError, RefusedError
from governance.leases import Lease
from governance.models import Dataset
from governance.models.datasets import DatasetState, entity_totals
from governance.permissions import ProposalKind
from governance.pulse import Pulse
from governance.rbac import UserActor, ingest_worker
from governance.recognition.plan import ColumnPlan
from governance.recognition.presidio import detector_version
from governance.recognition.profile import Profiler
from governance.scoping import tenant_scope
from governance.tables.reading import open_table
from governance.tables.table import TableReader
from governance.tables.writing import ParquetChunkWriter
from governance.vault import ObjectWriter, discard, keyed_hash, open_object, operator_keys

ROWS: Final = 2048  # a chunk: what is in the clear at one time, and the time between two heartbeats
ATTEMPTS: Final = 5  # a file that kills every worker must not go round for ever
_REGIMES: Final = {"cn": "cn", "ca": "us", "eu": "eu"}  # law -> whose numbers are looked for
_log = logging.getLogger(__name__)


def profile(job_id: UUID) -> None:
    """Read a quarantined file from end to end and propose what to do with each column."""
    _work(job_id, "profile", _profile)


def anonymize(job_id: UUID) -> None:
    """Carry an approved plan out, look at the output again, and seal it as a version."""
    _work(job_id, "anonymize", _anonymize)


def _work(job_id: UUID, stage: str, do: Callable[[Dataset, Lease], None]) -> None:
    """Claim the job, do it, and write down how it ended; a lost lease writes nothing."""
    lease = leases.claim(job_id)
    if lease is None:
        return
    with tenant_scope(lease.tenant_id):
        dataset = Dataset.objects.get(pk=lease.subject.partition(":")[2])
        try:
            _refuse_to_go_round(lease)
            with Pulse(lease):
                do(dataset, lease)
        except LostLeaseError:
            _log.warning("job %s went to another worker", job_id)
        except DomainError as error:
            _stop(dataset, lease, stage, error.stable_code, error.detail)
        except Exception as error:  # noqa: BLE001 - whatever it is, the dataset must not hang
            # The type alone: a parser's message may quote the cell that it choked on.
            _log.error("ingest of %s failed: %s", dataset.id, type(error).__name__)
            _stop(dataset, lease, stage, "internal", "the ingest failed; the operator's log has it")


def _refuse_to_go_round(lease: Lease) -> None:
    if lease.fence > ATTEMPTS:
        raise ConflictError(f"{ATTEMPTS} workers died over this job", code="job.given_up")


def _stop(dataset: Dataset, lease: Lease, stage: str, code: str, detail: str) -> None:
    try:
        datasets.stop_ingest(
            ingest_worker(dataset.tenant_id),
            dataset,
            lease=lease,
            stage=stage,
            code=code,
            detail=detail,
        )
    except LostLeaseError:
        _log.warning("job %s went to another worker", lease.job_id)


def _profile(dataset: Dataset, lease: Lease) -> None:
    declared = dataset.declarations
    key = keyed_hash(dataset.tenant, "profile", str(dataset.id).encode())
    rows = 0
    with _source(dataset) as file:
        table = _open(dataset, file)
        profiler = Profiler(table.columns, key=key)
        for chunk in table.chunks(ROWS):
            profiler.add(chunk.columns)
            rows += chunk.rows
            _beat(lease, "profile", rows, 0)
        plan = profiler.plan(
            target=declared.get("target", {}).get("column"),
            subject=dataset.subject_column or None,
            features=list(declared.get("columns", {})),
            regimes=_regimes(dataset),
            languages=dataset.languages,
        )
    datasets.finish_profile(
        ingest_worker(dataset.tenant_id),
        dataset,
        lease=lease,
        found=Profiled(
            format=table.format.value,
            encoding="" if table.encoding is None else table.encoding.name,
            rows=rows,
            plan=plan.as_dict(),
            columns=len(table.columns),
            detector=plan.detector,
            entity_counts={
                column.name: {finding.entity: finding.cells for finding in column.evidence.findings}
                for column in plan.columns
                if column.evidence.findings
            },
        ),
    )


def _anonymize(dataset: Dataset, lease: Lease) -> None:
    if dataset.state != DatasetState.ANONYMIZING:  # else: taken over from a worker that died
        stored_plan = dataset.plans.order_by("-number").first()
        if stored_plan is not None and stored_plan.detector != detector_version():
            raise ConflictError(
                "the detector has changed since this plan was made", code="dataset.plan_outdated"
            )
        datasets.begin_anonymization(_proposer(dataset), dataset, lease=lease)
    version = dataset.plans.order_by("-number").first()
    if version is None:
        raise ConflictError("this dataset has no plan", code="dataset.not_profiled")
    plan = ColumnPlan.from_dict(version.as_json())
    made = _make(dataset, plan, lease)
    try:
        datasets.finish_anonymization(
            ingest_worker(dataset.tenant_id), dataset, lease=lease, made=made
        )
    except BaseException:
        discard(made.stored)
        raise


def _make(dataset: Dataset, plan: ColumnPlan, lease: Lease) -> Sealed:
    """Treat every chunk, look at what came out, seal it."""
    keys = operator_keys(dataset.tenant)
    counts: dict[str, dict[str, int]] = {}
    rows = 0
    out = [column for column in plan.columns if column.declared != "drop"]
    with _source(dataset) as file, ObjectWriter(dataset.tenant, "version") as writer:
        table = _open(dataset, file)
        digesting = _Digesting(writer)
        parquet = ParquetChunkWriter(digesting, [column.name for column in out])
        try:
            for chunk in table.chunks(ROWS):
                treated, found = transform_chunk(chunk.columns, plan, keys)
                _refuse_leaks(treated, plan, chunk.first_row)
                parquet.write(treated)
                _add(counts, found)
                rows += chunk.rows
                _beat(lease, "anonymize", rows, dataset.rows or 0)
        except BaseException:
            parquet.abandon()
            raise
        parquet.close()
        stored = writer.finish()
    return Sealed(
        stored=stored,
        rows=rows,
        columns=[
            {
                "name": column.name,
                "kind": column.kind.value,
                "entity": column.entity,
                "operator": dict(column.operator),
                "declared": None if column.declared is None else column.declared.value,
            }
            for column in out
        ],
        entity_counts=counts,
        leaks=0,  # a chunk with any has stopped the work
        digest=digesting.hexdigest(),
        detector=plan.detector,
    )


def _refuse_leaks(treated: Mapping[str, Sequence[str | None]], plan: ColumnPlan, row: int) -> None:
    found = entity_totals(rescan(treated, plan))
    if found:
        named = ", ".join(f"{entity}: {count}" for entity, count in sorted(found.items()))
        raise RefusedError(
            f"the re-scan of the output found {named}, from row {row} on", code="release.leaks"
        )


class _Digesting:
    """Passes bytes on and takes their SHA-256: the digest of a version's rows."""

    def __init__(self, sink: ObjectWriter) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        self._hash.update(data)
        self._sink.write(data)
        return len(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _source(dataset: Dataset) -> Any:
    if dataset.source is None or dataset.source.kind != "quarantine":
        raise ConflictError("this dataset's file is gone", code="dataset.source_gone")
    return open_object(dataset.source)


def _open(dataset: Dataset, file: BinaryIO) -> TableReader:
    return open_table(
        file,
        format=dataset.declared_format or None,
        encoding=dataset.encoding_override or None,
    )


def _proposer(dataset: Dataset) -> UserActor:
    """Who proposed the plan carries it out: the steward's right, the officer's approval."""
    proposal = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
    if proposal is None:
        raise RefusedError("the approval for this is missing", code="approval.missing")
    return UserActor(proposal.proposer_id, dataset.tenant_id)


def _regimes(dataset: Dataset) -> tuple[str, ...]:
    return tuple(_REGIMES[regime] for regime in dataset.regimes) or ("cn", "us")


def _beat(lease: Lease, stage: str, done: int, of: int) -> None:
    if lease.beat(stage=stage, done=done, of=of):
        raise ConflictError("the ingest was cancelled", code="ingest.cancelled")


def _add(total: dict[str, dict[str, int]], found: dict[str, dict[str, int]]) -> None:
    for column, entities in found.items():
        into = total.setdefault(column, {})
        for entity, count in entities.items():
            into[entity] = into.get(entity, 0) + count
