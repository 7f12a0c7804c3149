"""Datasets on their way: uploaded, profiled, approved and sealed through the real actions."""

from collections.abc import Iterable
from typing import Any

from governance import approvals, leases
from governance.actions.datasets import Declared
from governance.actions.proposals import approve_proposal
from governance.batches import Received, receive
from governance.intake import Incoming, append, take_in
from governance.models import Batch, Dataset, Part, StoredObject
from governance.permissions import ProposalKind
from governance.scoping import tenant_scope
from governance.stages import QUARANTINE
from governance.vault import ObjectWriter
from tests.factories.people import House

PEOPLE_CSV = """name,national_id,mobile,note,age,income
王小明,11010518991231004X,13800138000,客户王小明来电，手机13800138000。,39,<=50K
John Carter,219-09-9990,212-555-0199,Spoke with John Carter about the loan.,50,>50K
欧阳静,310115188808080024,13900139000,联系人：欧阳静，请回电。,38,<=50K
Mary Jones,219-09-9991,212-555-0198,Mary Jones asked to be called back.,53,>50K
李娜,110105189912310057,13700137000,已与李娜确认地址。,28,<=50K
"""
DECLARATIONS: dict[str, Any] = {
    "columns": {"age": {"kind": "numeric", "low": 17, "high": 90}},
    "target": {"column": "income", "positive": ">50K", "negative": "<=50K"},
    "source": "a test",
}


def upload(
    house: House,
    pieces: Iterable[bytes] | str = PEOPLE_CSV,
    *,
    name: str = "people",
    declarations: dict[str, Any] | None = None,
    subject_column: str = "national_id",
    format: str = "",  # noqa: A002 - the word of the doors
    encoding: str = "",
    more: Iterable[str] = (),
    **declared: Any,
) -> Dataset:
    """Taken in by the steward, in one file or with `more`; its profile waits as a job."""
    with tenant_scope(house.id), leases.doing_it_here():
        return take_in(
            house.steward,
            house.tenant,
            [Incoming(_pieces(file), format, encoding) for file in (pieces, *more)],
            Declared(
                name=name,
                purposes=declared.pop("purposes", ("credit-risk-scoring",)),
                subject_column=subject_column,
                declarations=DECLARATIONS if declarations is None else declarations,
                **declared,
            ),
        )


def appended(house: House, dataset: Dataset, *files: Iterable[bytes] | str) -> Dataset:
    """One more batch, read and carried as far as it goes without anybody's yes."""
    with tenant_scope(house.id), leases.doing_it_here():
        append(house.steward, dataset, [Incoming(_pieces(file)) for file in files])
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    return dataset


def _pieces(file: Iterable[bytes] | str) -> Iterable[bytes]:
    return [file.encode()] if isinstance(file, str) else file


def with_a_file(house: House, dataset: Dataset, content: str = PEOPLE_CSV) -> Batch:
    """A first batch for a dataset that was made without an ingest."""
    with ObjectWriter(house.tenant, QUARANTINE) as writer:
        writer.write(content.encode())
        stored = writer.finish()
    return receive(dataset, [Received(stored, "csv")], by=house.steward.user_id)


def first_file(dataset: Dataset) -> StoredObject:
    """The sealed bytes of the first file that came in."""
    part = (
        Part._base_manager.select_related("stored")
        .filter(batch__dataset=dataset)
        .earliest("batch__number", "number")
    )
    return part.stored


def profiled(house: House, *args: Any, **kwargs: Any) -> Dataset:
    """Taken in and profiled: its plan is proposed, or it failed."""
    dataset = upload(house, *args, **kwargs)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    return dataset


def approve_plan(house: House, dataset: Dataset) -> None:
    """The officer agrees to the plan; the anonymization waits as a job."""
    with tenant_scope(house.id), leases.doing_it_here():
        proposal = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
        assert proposal is not None
        approve_proposal(house.officer, proposal)


def sealed(house: House, *args: Any, **kwargs: Any) -> Dataset:
    """Taken in, profiled, approved and anonymized."""
    dataset = profiled(house, *args, **kwargs)
    approve_plan(house, dataset)
    leases.run_here(dataset.reference)
    dataset.refresh_from_db()
    return dataset
