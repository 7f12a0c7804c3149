"""A dataset's way: uploaded, profiled, planned, approved, anonymized, sealed, exported."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from audit.canonical import canonical, digest
from audit.events import Event
from audit.recording import Record, action
from governance import approvals, leases
from governance.errors import ConflictError, InvalidError, RefusedError
from governance.leases import Lease
from governance.models import (
    ColumnPlanVersion,
    Dataset,
    DatasetVersion,
    Purpose,
    PurposeGrant,
    StoredObject,
    Tenant,
)
from governance.models.datasets import DatasetState, entity_totals
from governance.models.jobs import JobState
from governance.naming import taken_once
from governance.permissions import Permission, ProposalKind, Role
from governance.rbac import SystemActor, UserActor

PROFILE, ANONYMIZE = "ingest.profile", "ingest.anonymize"
QUEUE = "ingest"
QUARANTINE = "quarantine"  # the kind of object that an upload is sealed as
REGIMES = frozenset({"eu", "cn", "ca"})
LANGUAGES = frozenset({"zh", "en"})
_AT_WORK = frozenset({DatasetState.QUARANTINED, DatasetState.APPROVED, DatasetState.ANONYMIZING})
_LONGEST = {"declared_format": 10, "encoding_override": 20, "subject_column": 100}  # columns' sizes


@dataclass(frozen=True)
class Declared:
    """What the steward says of a file, before anybody looked at it."""

    name: str
    purposes: tuple[str, ...]
    regimes: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("zh", "en")
    subject_column: str = ""
    format: str = ""
    encoding: str = ""
    declarations: dict[str, Any] | None = None

    def check(self) -> None:
        """Raise InvalidError for what cannot be meant: `dataset.name_invalid`, `…_unknown`."""
        if not self.name or not self.name.isascii() or not _is_slug(self.name):
            raise InvalidError(
                "a dataset's name is made of letters, digits, - and _", code="dataset.name_invalid"
            )
        if not self.purposes:
            raise RefusedError("a dataset needs a purpose", code="purpose.missing")
        if any(self._unstorable()):
            raise InvalidError(
                "a format, an encoding, a subject column or the declarations are too long, or hold"
                " what no database stores",
                code="dataset.declaration_invalid",
            )
        if set(self.regimes) - REGIMES:
            raise InvalidError("the regimes are eu, cn and ca", code="dataset.regime_unknown")
        if not self.languages or set(self.languages) - LANGUAGES:
            raise InvalidError("the languages are zh and en", code="dataset.language_unknown")

    def _unstorable(self) -> Iterator[bool]:
        """Whether PostgreSQL would refuse a field, with an error that quotes it."""
        for text, longest in (
            (self.format, _LONGEST["declared_format"]),
            (self.encoding, _LONGEST["encoding_override"]),
            (self.subject_column, _LONGEST["subject_column"]),
        ):
            yield len(text) > longest or "\x00" in text
        yield "\\u0000" in json.dumps(self.declarations or {})


def _is_slug(name: str) -> bool:
    return len(name) <= 80 and all(letter.isalnum() or letter in "-_" for letter in name)  # noqa: PLR2004


@action(Event.DATASET_UPLOADED, requires=Permission.DATASET_UPLOAD)
def upload_dataset(
    record: Record, actor: UserActor, tenant: Tenant, *, stored: StoredObject, declared: Declared
) -> Dataset:
    """Take a sealed file in, for declared purposes, and queue its profile.

    Args:
        record: filled here.
        actor: the steward.
        tenant: whose data it is.
        stored: the sealed upload; not saved yet, so that a refusal leaves no row behind.
        declared: what the steward says of it.

    Raises:
        RefusedError: `purpose.missing`, `purpose.unknown`: nothing is processed for no reason.
        InvalidError: a name, regime or language that cannot be.
        ConflictError: `dataset.exists`.
    """
    declared.check()
    found = {
        purpose.slug: purpose
        for purpose in Purpose.objects.filter(tenant=tenant, slug__in=declared.purposes)
    }
    if set(declared.purposes) - set(found):
        raise RefusedError("this purpose is not declared here", code="purpose.unknown")
    if stored.tenant_id != tenant.id or stored.kind != QUARANTINE:
        raise RefusedError("these bytes are not this tenant's upload", code="dataset.not_its_file")
    if Dataset.objects.filter(tenant=tenant, name=declared.name).exists():
        raise ConflictError("a dataset of this name exists", code="dataset.exists")
    stored.save(force_insert=True)
    with taken_once("a dataset of this name exists", code="dataset.exists"):
        dataset = Dataset.objects.create(
            tenant=tenant,
            name=declared.name,
            regimes=list(declared.regimes),
            languages=list(declared.languages),
            subject_column=declared.subject_column,
            declarations=declared.declarations or {},
            source=stored,
            declared_format=declared.format,
            encoding_override=declared.encoding,
            uploaded_by_id=actor.user_id,
        )
    for purpose in found.values():
        PurposeGrant.objects.create(
            tenant=tenant, dataset=dataset, purpose=purpose, legal_basis=purpose.legal_basis
        )
    record.about(dataset)
    record.facts(
        purpose=declared.purposes[0],
        legal_basis=found[declared.purposes[0]].legal_basis,
        object=stored.reference,
        sealed_bytes=stored.sealed_size,
        suite=stored.suite,
    )
    leases.enqueue(PROFILE, dataset.reference, QUEUE, tenant_id=tenant.id)
    return dataset


@dataclass(frozen=True)
class Profiled:
    """What the profile of a table found."""

    format: str
    encoding: str
    rows: int
    plan: dict[str, Any]  # recognition.plan.ColumnPlan as JSON: masked samples only
    columns: int
    detector: str
    entity_counts: dict[str, dict[str, int]]  # column -> entity -> values found in the sample


@action(Event.DATASET_PROFILED, requires=Permission.DATASET_FINISH)
def finish_profile(
    record: Record, actor: SystemActor, dataset: Dataset, *, lease: Lease, found: Profiled
) -> ColumnPlanVersion:
    """Write the profile and propose its column plan, in the name of the steward who uploaded it.

    A tenant admin may upload, but only a steward's plan can be carried out: theirs waits until a
    steward proposes it (`amend_plan`, with or without changes).

    Raises:
        LostLeaseError: another worker holds the job now; nothing is written.
    """
    del actor
    lease.check()
    dataset.format = found.format
    dataset.encoding = found.encoding
    dataset.rows = found.rows
    dataset.columns = found.columns
    dataset.entity_counts = found.entity_counts
    uploader = UserActor(dataset.uploaded_by_id, dataset.tenant_id)
    proposes = Role.STEWARD in uploader.roles()
    plan = _propose_plan(
        dataset, found.plan, found.detector, uploader.user_id if proposes else None
    )
    dataset.save()
    proposal = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
    record.facts(
        format=found.format,
        encoding=found.encoding or "none",
        encoding_overridden=bool(dataset.encoding_override),
        rows=found.rows,
        columns=found.columns,
        plan=plan.digest,
        detector=found.detector,
        entities=entity_totals(found.entity_counts),
        **({} if proposal is None else {"proposal": proposal.reference}),
    )
    lease.end(JobState.DONE)
    return plan


@action(Event.PLAN_AMENDED, requires=Permission.PLAN_AMEND)
def amend_plan(
    record: Record, actor: UserActor, dataset: Dataset, *, plan: dict[str, Any], changed: int
) -> ColumnPlanVersion:
    """Propose another plan in the place of the open one; whoever approves reads the new one.

    Args:
        record: filled here.
        actor: the steward, who becomes the proposer.
        dataset: one whose plan is proposed, rejected, or sealed already, or could not be carried
            out: an approval may have run out on the way.
        plan: the whole plan as JSON, already checked by recognition.
        changed: how many columns differ from the plan before.

    Raises:
        ConflictError: `dataset.busy`: it is being read right now; `dataset.not_profiled`.
        InvalidError: `recognition.plan_invalid`: it leaves a column out, or tells another profile
            than the one that was made.
    """
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    if dataset.state in _AT_WORK:
        raise ConflictError("this dataset's plan cannot change now", code="dataset.busy")
    last = dataset.plans.first()
    if last is None:
        raise ConflictError("this dataset has no plan", code="dataset.not_profiled")
    if _evidence(plan) != _evidence(last.as_json()):
        raise InvalidError("a plan is amended, not its evidence", code="recognition.plan_invalid")
    version = _propose_plan(dataset, plan, last.detector, actor.user_id)
    dataset.save()
    proposal = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
    record.facts(
        plan=version.digest,
        changed=changed,
        **({} if proposal is None else {"proposal": proposal.reference}),
    )
    return version


@action(Event.ANONYMIZATION_BEGUN, requires=Permission.DATASET_ANONYMIZE)
def begin_anonymization(
    record: Record, actor: UserActor, dataset: Dataset, *, lease: Lease
) -> ColumnPlanVersion:
    """Use the approval up and let the worker go on; what was approved is what is done.

    A worker that takes a dead one's job over does not come here again: the dataset says
    `anonymizing`, the approval was used by this very job, and what the dead one wrote is part of
    no version.

    Raises:
        RefusedError: an approval lacks, is stale, used, or of another plan.
    """
    del actor  # asked already, and the approval that it answered with is used up here
    lease.check()
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    plan = dataset.plans.order_by("-number").first()
    if plan is None:
        raise ConflictError("this dataset has no plan", code="dataset.not_profiled")
    proposal = approvals.use(ProposalKind.COLUMN_PLAN, dataset, digest(plan.payload()))
    dataset.state = DatasetState.ANONYMIZING
    dataset.save(update_fields=["state"])
    record.facts(plan=plan.digest, proposal=proposal.reference)
    return plan


@dataclass(frozen=True)
class Sealed:
    """What anonymization made."""

    stored: StoredObject  # not saved yet
    rows: int
    columns: list[dict[str, Any]]
    entity_counts: dict[str, dict[str, int]]
    leaks: int
    digest: str
    detector: str


@action(Event.DATASET_SEALED, requires=Permission.DATASET_FINISH)
def finish_anonymization(
    record: Record, actor: SystemActor, dataset: Dataset, *, lease: Lease, made: Sealed
) -> DatasetVersion:
    """Seal a version of anonymized rows.

    Raises:
        RefusedError: `release.leaks`: the re-scan of the output found something.
        LostLeaseError: another worker holds the job now; nothing is written.
    """
    del actor
    lease.check()
    if made.leaks:
        raise RefusedError("the re-scan of the output found personal data", code="release.leaks")
    plan = dataset.plans.order_by("-number").first()
    if plan is None:
        raise ConflictError("this dataset has no plan", code="dataset.not_profiled")
    last = dataset.versions.order_by("-number").first()
    made.stored.save(force_insert=True)
    version = DatasetVersion.objects.create(
        tenant_id=dataset.tenant_id,
        dataset=dataset,
        number=1 if last is None else last.number + 1,
        stored=made.stored,
        plan=plan,
        rows=made.rows,
        columns=made.columns,
        entity_counts=made.entity_counts,
        leaks=made.leaks,
        detector=made.detector,
        digest=made.digest,
    )
    dataset.state = DatasetState.SEALED
    dataset.error_code = ""
    dataset.entity_counts = made.entity_counts
    dataset.save(update_fields=["state", "error_code", "entity_counts"])
    record.facts(
        version=version.reference,
        number=version.number,
        rows=made.rows,
        digest=made.digest,
        plan=plan.digest,
        detector=made.detector,
        entities=entity_totals(made.entity_counts),
        leaks=made.leaks,
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
) -> None:
    """Write down that an ingest failed, as a `failed` entry, and free its job.

    Args:
        record: filled here.
        actor: the ingest worker.
        dataset: what was being read.
        lease: the worker's.
        stage: where it stopped.
        code: the stable code of the error.
        detail: its sentence, which holds no personal data.

    Raises:
        LostLeaseError: another worker holds the job now; nothing is written.
    """
    del actor
    lease.check()
    dataset.state = DatasetState.FAILED
    dataset.error_code = code
    dataset.error_detail = detail[:400]
    dataset.save(update_fields=["state", "error_code", "error_detail"])
    record.facts(stage=stage, code=code)
    record.failed(code)
    lease.end(JobState.FAILED, error_code=code)


@action(Event.EXPORT_BEGUN, requires=Permission.DATASET_EXPORT)
def begin_export(record: Record, actor: UserActor, version: DatasetVersion, *, format: str) -> None:  # noqa: A002  # the word of the command line
    """Allow the reading of a version; the rows are read after this commits."""
    del actor
    record.facts(version=version.reference, format=format)


@action(Event.VERSION_EXPORTED, requires=Permission.DATASET_EXPORT)
def finish_export(
    record: Record,
    actor: UserActor,
    version: DatasetVersion,
    *,
    rows: int,
    format: str,  # noqa: A002  # as above
    leaks: int,
) -> None:
    """Write down what left, once the last re-scan has passed; the file gets its name after this.

    Raises:
        RefusedError: `release.leaks`.
    """
    del actor
    record.facts(version=version.reference, rows=rows, format=format, leaks=leaks)
    if leaks:
        raise RefusedError("the re-scan of the export found personal data", code="release.leaks")


def _evidence(plan: dict[str, Any]) -> bytes:
    """What the profile found: whoever approves an amended plan reads it as it was written."""
    columns = [
        {"name": column.get("name"), "evidence": column.get("evidence")}
        for column in plan.get("columns", [])
    ]
    return canonical({**plan, "columns": columns})


def _propose_plan(
    dataset: Dataset, plan: dict[str, Any], detector: str, proposer_id: Any
) -> ColumnPlanVersion:
    """Write a plan and propose it, unless nobody stands behind it (`proposer_id` None)."""
    last = dataset.plans.order_by("-number").first()
    version = ColumnPlanVersion.objects.create(
        tenant_id=dataset.tenant_id,
        dataset=dataset,
        number=1 if last is None else last.number + 1,
        body=canonical(plan),
        digest=digest(plan),
        detector=detector,
        created_at=timezone.now(),
    )
    if proposer_id is not None:
        approvals.propose(
            ProposalKind.COLUMN_PLAN,
            dataset,
            version.payload(),
            proposer_id=proposer_id,
            tenant_id=dataset.tenant_id,
        )
    dataset.state = DatasetState.PROPOSED
    dataset.error_code = dataset.error_detail = ""
    return version
