"""Carrying a job out: claimed, done under a pulse, and written down if it fails."""

import logging
from collections.abc import Callable
from typing import Final, TypeVar
from uuid import UUID

from audit.errors import DomainError
from governance import leases
from governance.errors import ConflictError, LostLeaseError
from governance.leases import Lease
from governance.pulse import Pulse
from governance.scoping import tenant_scope

ATTEMPTS: Final = 5  # a job that kills every worker must not go round for ever
_log = logging.getLogger(__name__)
_INTERNAL: Final = ConflictError("the work failed; the operator's log has it", code="internal")

Subject = TypeVar("Subject")


def carry_out(
    job_id: UUID,
    find: Callable[[str], Subject],
    do: Callable[[Subject, Lease], None],
    stop: Callable[[Subject, Lease, DomainError], None],
) -> None:
    """Claim a job, do it in its tenant's scope, and write down how it failed if it did.

    Args:
        job_id: the job; one that another worker holds is left alone.
        find: the subject's row, by its id.
        do: the work; a lost lease ends it, and writes nothing.
        stop: the action that ends the job as failed.
    """
    lease = leases.claim(job_id)
    if lease is None:
        return
    with tenant_scope(lease.tenant_id):
        subject = find(lease.subject.partition(":")[2])
        try:
            failed = _failure(subject, lease, do)
            if failed is not None:
                stop(subject, lease, failed)
        except LostLeaseError:
            _log.warning("job %s was halted, or went to another worker", job_id)


def _failure(
    subject: Subject, lease: Lease, do: Callable[[Subject, Lease], None]
) -> DomainError | None:
    """Do it; what it failed with, or None."""
    if lease.fence > ATTEMPTS:
        return ConflictError(f"{ATTEMPTS} workers died over this job", code="job.given_up")
    try:
        with Pulse(lease):
            do(subject, lease)
    except LostLeaseError:
        raise
    except DomainError as error:
        return error
    except Exception as error:  # noqa: BLE001 - whatever it is, the job must not hang
        # The type alone: a parser's or a driver's message may quote the cell that it choked on.
        _log.error("job %s failed: %s", lease.job_id, type(error).__name__)
        return _INTERNAL
    return None
