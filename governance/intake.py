"""How a file enters: sealed as it streams in, then handed to the upload action."""

from collections.abc import Iterable

from governance.actions import datasets
from governance.actions.datasets import Declared
from governance.models import Dataset, Tenant
from governance.rbac import UserActor
from governance.vault import ObjectWriter, discard


def take_in(
    actor: UserActor, tenant: Tenant, pieces: Iterable[bytes], declared: Declared
) -> Dataset:
    """Seal a file as it streams in, and hand it to the upload action.

    Args:
        actor: the steward.
        tenant: whose data it is.
        pieces: the file's bytes.
        declared: what the steward says of it.

    Raises:
        DomainError: what `upload_dataset` refuses; the sealed bytes are removed again.
    """
    declared.check()
    with ObjectWriter(tenant, "quarantine") as writer:
        for piece in pieces:
            writer.write(piece)
        stored = writer.finish()
    try:
        return datasets.upload_dataset(actor, tenant, stored=stored, declared=declared)
    except BaseException:
        discard(stored)
        raise
