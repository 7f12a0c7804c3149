"""Rows out of the house: allowed, approved where a person must decide, and written down."""

from dataclasses import dataclass

from audit.canonical import digest
from audit.events import Event
from audit.recording import Record, action
from governance import approvals
from governance.errors import ConflictError, RefusedError
from governance.models import Dataset, DatasetVersion, Proposal
from governance.models.releases import DataRelease, RecipientClass
from governance.permissions import Permission, ProposalKind
from governance.rbac import UserActor
from governance.releasing import (
    INTERSECTION,
    Assessed,
    intersects,
    lack_of,
    subject_of,
    unmeasured_level,
)


@action(Event.EXPORT_BEGUN, requires=Permission.DATASET_EXPORT)
def begin_export(record: Record, actor: UserActor, version: DatasetVersion, *, format: str) -> None:  # noqa: A002  # the word of the command line
    """Allow the reading of a version; the rows are read after this commits."""
    del actor
    record.facts(version=version.reference, format=format)


@action(Event.DATA_RELEASE_PROPOSED, requires=Permission.DATASET_RELEASE_PROPOSE)
def propose_release(
    record: Record, actor: UserActor, version: DatasetVersion, *, assessed: Assessed
) -> Proposal:
    """Ask the officer for a release that only a person may allow.

    Args:
        record: filled here.
        actor: the steward.
        version: what would go out.
        assessed: how, to whom, and why a person must decide.

    Raises:
        ConflictError: `release.nothing_to_approve`: it may go out as it is.
    """
    if not assessed.reasons:
        raise ConflictError(
            "this release meets its thresholds and needs no approval",
            code="release.nothing_to_approve",
        )
    proposal = approvals.propose(
        ProposalKind.DATA_RELEASE,
        subject_of(version, assessed.asked.recipient),
        assessed.payload(version),
        proposer_id=actor.user_id,
        tenant_id=version.tenant_id,
    )
    record.facts(
        proposal=proposal.reference,
        recipient_class=assessed.asked.kind.value,
        reasons=list(assessed.reasons),
    )
    return proposal


@dataclass(frozen=True)
class Written:
    """What stands in the file that is about to get its name.

    Attributes:
        rows: in it.
        format: `csv`, `jsonl` or `parquet`.
        digest: SHA-256 of the file; "" where none was written.
        leaks: what the last re-scan found; with any, nothing goes out.
        assessed: for whom and how well hidden; None for a whole version within the house.
    """

    rows: int
    format: str
    digest: str
    leaks: int
    assessed: Assessed | None = None


@action(Event.VERSION_EXPORTED, requires=Permission.DATASET_EXPORT)
def finish_export(
    record: Record, actor: UserActor, version: DatasetVersion, *, written: Written
) -> DataRelease:
    """Write down what leaves, once the last re-scan has passed; the file gets its name after this.

    Raises:
        RefusedError: `release.leaks`; the first reason why a person must decide, where no complete
            approval of exactly this is there; `approval.payload_changed`, where it is of another;
            `release.intersection`: something else went to this recipient meanwhile.
    """
    record.facts(
        version=version.reference, rows=written.rows, format=written.format, leaks=written.leaks
    )
    if written.leaks:
        raise RefusedError("the re-scan of the export found personal data", code="release.leaks")
    # Two exports to one recipient wait here for each other: the second sees the first.
    Dataset.objects.select_for_update(no_key=True).get(pk=version.dataset_id)
    release = _release_of(version, written, actor)
    assessed = written.assessed
    if assessed is not None:
        record.facts(**_figures(assessed))
        if assessed.reasons:
            record.facts(proposal=_approval_of(version, assessed).reference)
        elif intersects(version, release.recipient, release.measures):
            raise RefusedError(
                "this recipient holds the dataset in another form", code=INTERSECTION
            )
    release.save(force_insert=True)
    record.facts(
        release=release.reference,
        recipient_class=release.recipient_class,
        level=release.level,
        file=written.digest,
    )
    return release


def _release_of(version: DatasetVersion, written: Written, actor: UserActor) -> DataRelease:
    assessed = written.assessed
    release = DataRelease(
        tenant_id=version.tenant_id,
        version=version,
        recipient=version.tenant.slug[:60],
        recipient_class=RecipientClass.INTERNAL,
        rows=written.rows,
        level=unmeasured_level(version),
        digest=written.digest,
        released_by_id=actor.user_id,
    )
    if assessed is not None:
        release.recipient = assessed.asked.recipient
        release.recipient_class = assessed.asked.kind
        release.suppressed = assessed.suppressed
        release.measures = assessed.measures
        release.level = assessed.level
        release.needs_human = bool(assessed.reasons)
        release.reasons = list(assessed.reasons)
    return release


def _figures(assessed: Assessed) -> dict[str, object]:
    measures = assessed.measures
    return {
        "suppressed": assessed.suppressed,
        "reasons": list(assessed.reasons),
        **{name: measures[name] for name in ("k", "l", "t") if name in measures},
    }


def _approval_of(version: DatasetVersion, assessed: Assessed) -> Proposal:
    """The approval of exactly this, used up."""
    lack = lack_of(version, assessed)
    if lack is not None:
        raise RefusedError("a person must decide on this release", code=lack)
    subject = subject_of(version, assessed.asked.recipient)
    return approvals.use(ProposalKind.DATA_RELEASE, subject, digest(assessed.payload(version)))
