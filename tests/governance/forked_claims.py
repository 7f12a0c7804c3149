"""Run as a script by `tests.factories.processes.forked`: workers and a tenant's few places."""

import hashlib
from uuid import UUID

from tests.factories.killing import fork_each

KIND = "test.limited"
PLACES = 2
TOO_MANY = 100


def _register() -> None:
    from governance import leases

    def nobody(_job_id: UUID) -> None:
        """Nothing is sent and nothing is done: the workers below claim by themselves."""

    leases.register_job(KIND, leases.Work(send=nobody, run=nobody, at_once=lambda: PLACES))


def take(job_id: str) -> int:
    """Take and end jobs until none waits; how many, or 100 where a tenant had one too many."""
    from django.db import transaction

    from governance import leases
    from governance.models import Job
    from governance.models.jobs import JobState

    done = 0
    rows = Job._base_manager.filter(kind=KIND)
    while rows.filter(state=JobState.WAITING).exists():
        lease = leases.claim_next(UUID(job_id))
        if lease is None:
            continue
        beside = rows.filter(state=JobState.RUNNING, tenant_id=lease.tenant_id).count()
        if beside > PLACES:
            return TOO_MANY
        hashlib.pbkdf2_hmac("sha256", b"work", b"", 5_000)
        with transaction.atomic():
            lease.end(JobState.DONE)
        done += 1
    return done


if __name__ == "__main__":
    fork_each({"take": take}, _register)
