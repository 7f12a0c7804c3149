"""What a person asks of the quality of versions: a check, and a comparison of two.

A check is begun, reads the rows, and is written down. A comparison reads what was sketched.
"""

from typing import Any, Final

from audit.events import Event
from audit.recording import append_refusal
from governance.actions.quality import begin_quality_check, finish_quality_check
from governance.errors import NotFoundError, RefusedError
from governance.models import Dataset, DatasetVersion, QualityRun
from governance.permissions import Permission
from governance.quality.assessing import assess, compare_versions
from governance.rbac import UserActor

AT_A_REQUEST: Final = 1_000_000  # rows that are read while a browser waits: some ten seconds


def check_quality(
    actor: UserActor, version: DatasetVersion, *, most: int | None = None
) -> QualityRun:
    """Read a version in chunks, hold every row against the contract in force, write the run.

    Args:
        actor: a steward or an engineer.
        version: a sealed one.
        most: rows that are read at most. A larger version is judged by its sketch alone, where
            that answers every term.

    Raises:
        RefusedError: the role does not allow it.
        ConflictError: `quality.too_large`; `quality.not_sketched`; `quality.contract_race`: another
            contract was set meanwhile.
        ObjectMissingError, SealError: the rows cannot be read.
    """
    begin_quality_check(actor, version)
    return finish_quality_check(actor, version, found=assess(version, scan=True, most=most))


def compare(
    actor: UserActor, dataset: Dataset, *, old: int | None = None, new: int | None = None
) -> dict[str, Any]:
    """The drift between two versions of a dataset.

    Args:
        actor: who may see datasets.
        dataset: theirs.
        old: number of the earlier version; the one before the later, if not given. A first version
            has moved from nowhere: `from` is None, and there are no columns.
        new: number of the later version; the newest, if not given.

    Raises:
        RefusedError: with the decision's reason; recorded.
        NotFoundError: `version.not_found`.
        ConflictError: `quality.not_sketched`.
    """
    decision = actor.may(Permission.DATASET_VIEW, dataset)
    if not decision.allowed:
        append_refusal(
            Event.LOOKUP_REFUSED,
            actor,
            dataset,
            decision.reason,
            Permission.DATASET_VIEW.value,
            kind="dataset",
        )
        raise RefusedError("you may not do this", code=decision.reason)
    later = version_numbered(dataset, new)
    if old is None:
        earlier = dataset.versions.filter(number__lt=later.number).order_by("-number").first()
    else:
        earlier = version_numbered(dataset, old)
    return compare_versions(earlier, later)


def version_numbered(dataset: Dataset, number: int | None = None) -> DatasetVersion:
    """A sealed version by its number, the newest by default.

    Raises:
        NotFoundError: `version.not_found`.
    """
    versions = dataset.versions.order_by("-number")
    if number is not None:
        versions = versions.filter(number=number)
    version: DatasetVersion | None = versions.first()
    if version is None:
        raise NotFoundError("there is no such sealed version", code="version.not_found")
    return version
