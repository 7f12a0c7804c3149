"""The work between two actions of an ingest, a job at a time.

Plaintext exists here only, in memory, a chunk at a time: it is decrypted, parsed, treated, looked
at again and sealed. A worker that dies leaves sealed bytes that belong to nothing; whoever takes
the job over starts that job again, and no other.
"""

from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from governance.carrying import ATTEMPTS
from governance.ingest import beginning, merging, profiling, treating
from governance.ingest.working import carry_out
from governance.sources.fetching import fetch
from governance.stages import ANONYMIZE, FETCH, GROUP, MERGE, PROFILE

__all__ = ["ATTEMPTS", "OF", "anonymize", "fetch", "merge", "profile", "treat"]


def profile(job_id: UUID) -> None:
    """Parse a batch from end to end, cut it into row groups, and propose what to do with it."""
    carry_out(job_id, "profile", profiling.profile)


def anonymize(job_id: UUID) -> None:
    """Use the approval, or the plan in force, so that every row group gets a job."""
    carry_out(job_id, "anonymize", beginning.begin)


def treat(job_id: UUID) -> None:
    """Treat one row group by the plan, look at the output again, and seal it."""
    carry_out(job_id, "anonymize", treating.treat)


def merge(job_id: UUID) -> None:
    """Write the version that lists the sealed row groups."""
    carry_out(job_id, "merge", merging.merge)


OF: Final[Mapping[str, Callable[[UUID], None]]] = {
    FETCH: fetch,
    PROFILE: profile,
    ANONYMIZE: anonymize,
    GROUP: treat,
    MERGE: merge,
}
