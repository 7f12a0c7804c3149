"""How files enter: sealed as they stream in, then handed to the action that takes them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from governance.actions import datasets
from governance.actions.datasets import Declared
from governance.batches import Fetched, Received
from governance.models import Batch, Dataset, Tenant
from governance.rbac import UserActor
from governance.stages import QUARANTINE
from governance.vault import ObjectWriter, discard


@dataclass(frozen=True)
class Incoming:
    """A file on its way in: its bytes, its format as its name says, its encoding as told.

    Its name is not kept: names hold people.
    """

    pieces: Iterable[bytes]
    format: str = ""
    encoding: str = ""


def take_in(
    actor: UserActor,
    tenant: Tenant,
    files: Iterable[Incoming],
    declared: Declared,
    *,
    source: str = "upload",
    fetched: Fetched | None = None,
) -> Dataset:
    """Seal files as they stream in, and hand them to the upload action as one table.

    Args:
        actor: the steward.
        tenant: whose data it is.
        files: in the order in which their rows are to stand; each is read once, when its turn
            comes.
        declared: what the steward says of the table.
        source: the way in.
        fetched: the fetch that brought them, which ends with this.

    Raises:
        DomainError: what `upload_dataset` refuses; the sealed bytes are removed again.
    """
    declared.check()
    with _sealed(tenant, files) as received:
        return datasets.upload_dataset(
            actor, tenant, files=received, declared=declared, source=source, fetched=fetched
        )


def append(
    actor: UserActor,
    dataset: Dataset,
    files: Iterable[Incoming],
    *,
    source: str = "upload",
    fetched: Fetched | None = None,
) -> Batch:
    """Seal files as they stream in, and append them to a dataset as one batch.

    Args:
        actor: the steward.
        dataset: a sealed one.
        files: as in `take_in`.
        source: the way in.
        fetched: as in `take_in`.

    Raises:
        DomainError: what `append_batch` refuses; the sealed bytes are removed again.
    """
    with _sealed(dataset.tenant, files) as received:
        return datasets.append_batch(actor, dataset, files=received, source=source, fetched=fetched)


@contextmanager
def _sealed(tenant: Tenant, files: Iterable[Incoming]) -> Iterator[list[Received]]:
    """The files, sealed; removed again where they are not taken in."""
    received: list[Received] = []
    try:
        for file in files:
            with ObjectWriter(tenant, QUARANTINE) as writer:
                for piece in file.pieces:
                    writer.write(piece)
                received.append(Received(writer.finish(), file.format, file.encoding))
        yield received
    except BaseException:
        for file_taken in received:
            discard(file_taken.stored)
        raise
