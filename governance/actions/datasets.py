"""A dataset's way: uploaded, appended to, profiled, planned; and exported once it is sealed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from audit.canonical import canonical
from audit.events import Event
from audit.recording import Record, action
from governance import approvals, batches, column_plans
from governance.batches import Fetched, Received
from governance.errors import ConflictError, InvalidError, RefusedError
from governance.models import (
    Batch,
    ColumnPlanVersion,
    Dataset,
    Purpose,
    PurposeGrant,
    Tenant,
)
from governance.models.datasets import DatasetState
from governance.naming import taken_once
from governance.permissions import Permission, ProposalKind
from governance.progress import MOVING
from governance.rbac import UserActor
from governance.recognition.plan import ColumnPlan
from governance.recognition.regimes import REGIMES

LANGUAGES = frozenset({"zh", "en"})
_LONGEST = {"declared_format": 10, "encoding_override": 20, "subject_column": 100}  # columns' sizes


@dataclass(frozen=True)
class Declared:
    """What the steward says of a table, before anybody looked at it."""

    name: str
    purposes: tuple[str, ...]
    regimes: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("zh", "en")
    subject_column: str = ""
    declarations: dict[str, Any] | None = None
    sensitive: tuple[str, ...] = ()  # special categories, of `recognition.lexicons`

    def stored(self) -> dict[str, Any]:
        """The declarations as the dataset keeps them: the special categories are one of them."""
        said = dict(self.declarations or {})
        named = said.pop("sensitive", [])
        if self.sensitive or named:
            said["sensitive"] = sorted({*self.sensitive, *named})
        return said

    def check(self) -> None:
        """Raise InvalidError for what cannot be meant: `dataset.name_invalid`, `…_unknown`."""
        if not self.name or not self.name.isascii() or not _is_slug(self.name):
            raise InvalidError(
                "a dataset's name is made of letters, digits, - and _", code="dataset.name_invalid"
            )
        if not self.purposes:
            raise RefusedError("a dataset needs a purpose", code="purpose.missing")
        unstorable = "\\u0000" in json.dumps(self.declarations or {})
        if unstorable or _unfit(self.subject_column, _LONGEST["subject_column"]):
            raise _declaration_invalid()
        if set(self.regimes) - REGIMES.keys():
            raise InvalidError(
                "the regimes are " + ", ".join(REGIMES), code="dataset.regime_unknown"
            )
        if not self.languages or set(self.languages) - LANGUAGES:
            raise InvalidError("the languages are zh and en", code="dataset.language_unknown")
        named = (self.declarations or {}).get("sensitive", [])
        if not isinstance(named, list) or not _are_classes((*self.sensitive, *named)):
            raise InvalidError(
                "there is no such special category of personal data",
                code="dataset.sensitive_unknown",
            )


def _are_classes(named: Sequence[Any]) -> bool:
    from governance.recognition.lexicons import SENSITIVE_CLASSES  # noqa: PLC0415 - polars is slow

    return all(isinstance(name, str) and name in SENSITIVE_CLASSES for name in named)


def _unfit(text: str, longest: int) -> bool:
    """Whether PostgreSQL would refuse a field, with an error that quotes it."""
    return len(text) > longest or "\x00" in text


def _declaration_invalid() -> InvalidError:
    return InvalidError(
        "a format, an encoding, a subject column or the declarations are too long, or hold what no"
        " database stores",
        code="dataset.declaration_invalid",
    )


def _check_files(files: Sequence[Received]) -> None:
    """Refuse no file at all, and what is said of one where no database would store it."""
    if not files:
        raise InvalidError("there is no file", code="upload.missing")
    for file in files:
        if _unfit(file.format, _LONGEST["declared_format"]) or _unfit(
            file.encoding, _LONGEST["encoding_override"]
        ):
            raise _declaration_invalid()


def _is_slug(name: str) -> bool:
    return len(name) <= 80 and all(letter.isalnum() or letter in "-_" for letter in name)  # noqa: PLR2004


@action(Event.DATASET_UPLOADED, requires=Permission.DATASET_UPLOAD)
def upload_dataset(
    record: Record,
    actor: UserActor,
    tenant: Tenant,
    *,
    files: Sequence[Received],
    declared: Declared,
    source: str = "upload",
    fetched: Fetched | None = None,
) -> Dataset:
    """Take sealed files in as one table, for declared purposes, and queue its profile.

    Args:
        record: filled here.
        actor: the steward.
        tenant: whose data it is.
        files: the sealed files, in the order in which their rows are to stand; not saved yet, so
            that a refusal leaves no row behind.
        declared: what the steward says of the table.
        source: the way in.
        fetched: the fetch that brought the files, which ends with this.

    Raises:
        RefusedError: `purpose.missing`, `purpose.unknown`: nothing is processed for no reason;
            `dataset.not_its_file`.
        InvalidError: a name, regime or language that cannot be; `upload.missing`.
        ConflictError: `dataset.exists`.
    """
    declared.check()
    _check_files(files)
    found = {
        purpose.slug: purpose
        for purpose in Purpose.objects.filter(tenant=tenant, slug__in=declared.purposes)
    }
    if set(declared.purposes) - set(found):
        raise RefusedError("this purpose is not declared here", code="purpose.unknown")
    if Dataset.objects.filter(tenant=tenant, name=declared.name).exists():
        raise ConflictError("a dataset of this name exists", code="dataset.exists")
    with taken_once("a dataset of this name exists", code="dataset.exists"):
        dataset = Dataset.objects.create(
            tenant=tenant,
            name=declared.name,
            regimes=list(declared.regimes),
            languages=list(declared.languages),
            subject_column=declared.subject_column,
            declarations=declared.stored(),
            uploaded_by_id=actor.user_id,
        )
    for purpose in found.values():
        PurposeGrant.objects.create(
            tenant=tenant, dataset=dataset, purpose=purpose, legal_basis=purpose.legal_basis
        )
    batch = batches.receive(dataset, files, by=actor.user_id, source=source)
    record.about(dataset)
    record.facts(
        purpose=declared.purposes[0],
        legal_basis=found[declared.purposes[0]].legal_basis,
        **_facts_of(batch, files),
    )
    batches.enqueue_profile(dataset, batch)
    if fetched is not None:
        fetched.end(dataset)
    return dataset


@action(Event.DATASET_APPENDED, requires=Permission.DATASET_UPLOAD)
def append_batch(
    record: Record,
    actor: UserActor,
    dataset: Dataset,
    *,
    files: Sequence[Received],
    source: str = "upload",
    fetched: Fetched | None = None,
) -> Batch:
    """Take more files of a sealed dataset in, and queue their profile against the plan in force.

    Args:
        record: filled here.
        actor: the steward.
        dataset: one that has a sealed version and rests.
        files: as in `upload_dataset`.
        source: the way in.
        fetched: as in `upload_dataset`.

    Raises:
        ConflictError: `dataset.busy`: it is not sealed, or something of it is under way.
        RefusedError: `dataset.not_its_file`.
        InvalidError: `upload.missing`, `dataset.declaration_invalid`.
    """
    _check_files(files)
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    if dataset.state != DatasetState.SEALED:
        raise ConflictError("this dataset takes no batch now", code="dataset.busy")
    batch = batches.receive(dataset, files, by=actor.user_id, source=source)
    dataset.state = DatasetState.APPENDING
    dataset.error_code = dataset.error_detail = ""
    dataset.save(update_fields=["state", "error_code", "error_detail"])
    record.facts(number=batch.number, **_facts_of(batch, files))
    batches.enqueue_profile(dataset, batch)
    if fetched is not None:
        fetched.end(dataset)
    return batch


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
    if dataset.state in MOVING:
        raise ConflictError("this dataset's plan cannot change now", code="dataset.busy")
    last = dataset.plans.first()
    if last is None:
        raise ConflictError("this dataset has no plan", code="dataset.not_profiled")
    if _evidence(plan) != _evidence(last.as_json()):
        raise InvalidError("a plan is amended, not its evidence", code="recognition.plan_invalid")
    version = column_plans.propose(dataset, plan, last.detector, actor.user_id)
    dataset.save()
    proposal = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
    record.facts(
        plan=version.digest,
        changed=changed,
        **({} if proposal is None else {"proposal": proposal.reference}),
    )
    return version


def _facts_of(batch: Batch, files: Sequence[Received]) -> dict[str, Any]:
    return {
        "batch": batch.reference,
        "files": len(files),
        "object": files[0].stored.reference,
        "sealed_bytes": sum(file.stored.sealed_size for file in files),
        "suite": files[0].stored.suite,
    }


def _evidence(plan: dict[str, Any]) -> bytes:
    """What the profile found: whoever approves an amended plan reads it as it was written."""
    read = ColumnPlan.from_dict(plan).as_dict()  # a plan of an earlier version as one of today's
    columns = [
        {name: column[name] for name in ("name", "evidence", "sensitive")}
        for column in read["columns"]
    ]
    return canonical({**read, "columns": columns})
