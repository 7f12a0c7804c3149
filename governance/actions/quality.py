"""What a dataset's versions must be before training, and checks of whether they are."""

from audit.events import Event
from audit.recording import Record, action
from governance.errors import ConflictError
from governance.models import Dataset, DatasetVersion, QualityContract, QualityRun
from governance.naming import taken_once
from governance.permissions import Permission
from governance.quality.assessing import Assessment, contract_row, facts_of, names_of, write_run
from governance.quality.contract import read_contract
from governance.rbac import UserActor


@action(Event.CONTRACT_SET, requires=Permission.QUALITY_SET)
def set_contract(
    record: Record, actor: UserActor, dataset: Dataset, *, body: object
) -> QualityContract:
    """Put a contract in force: every version must meet it, also those that are sealed already.

    Args:
        record: filled here.
        actor: the steward.
        dataset: one with a sealed version, whose columns the contract names.
        body: the contract as JSON.

    Raises:
        InvalidError: `quality.contract_invalid`, `quality.contract_column`, with a pointer.
        ConflictError: `quality.no_version`; `quality.contract_race`: another was set meanwhile.
    """
    version = dataset.versions.order_by("-number").first()
    if version is None:
        raise ConflictError("this dataset has no sealed version", code="quality.no_version")
    contract = read_contract(body, names_of(version))
    last = contract_row(dataset)
    digest = contract.digest()
    with taken_once("another contract was set meanwhile", code="quality.contract_race"):
        row: QualityContract = QualityContract.objects.create(
            tenant_id=dataset.tenant_id,
            dataset=dataset,
            number=1 if last is None else last.number + 1,
            body=contract.as_dict(),
            digest=digest,
            created_by_id=actor.user_id,
        )
    record.about(row)
    record.facts(
        dataset=dataset.reference,
        number=row.number,
        digest=digest,
        columns=len(contract.columns),
    )
    return row


@action(Event.QUALITY_CHECK_BEGUN, requires=Permission.QUALITY_CHECK)
def begin_quality_check(record: Record, actor: UserActor, version: DatasetVersion) -> None:
    """Allow a version to be read and held against its contract; that is done after this commits."""
    del actor
    record.facts(version=version.reference)


@action(Event.QUALITY_CHECKED, requires=Permission.QUALITY_CHECK)
def finish_quality_check(
    record: Record, actor: UserActor, version: DatasetVersion, *, found: Assessment
) -> QualityRun:
    """Write down what a check found.

    Raises:
        ConflictError: `quality.contract_race`: another contract was set while it ran.
    """
    del actor
    row = contract_row(version.dataset)
    if row != found.contract:
        raise ConflictError("another contract was set meanwhile", code="quality.contract_race")
    run = write_run(version, found)
    record.facts(**facts_of(run))
    return run
