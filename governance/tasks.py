"""Celery tasks of the `ingest` queue: an id in, one piece of work done, nothing returned.

No task retries itself. The job's row says what must run; a message delivered twice finds it taken,
and one that was lost is sent again by the sweeper.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from celery import shared_task

from governance.stages import ANONYMIZE, FETCH, GROUP, MERGE, PROFILE


@shared_task(name="governance.fetch")
def fetch(job_id: str) -> None:
    """Fetch files from a source, and take them in."""
    from governance import ingest  # noqa: PLC0415  # who sends the task need not load spaCy

    ingest.OF[FETCH](UUID(job_id))


@shared_task(name="governance.profile")
def profile(job_id: str) -> None:
    """Parse a batch, profile it, and cut it into sealed row groups."""
    from governance import ingest  # noqa: PLC0415  # as above

    ingest.profile(UUID(job_id))


@shared_task(name="governance.anonymize")
def anonymize(job_id: str) -> None:
    """Use an approval, or the plan in force, and give every row group its job."""
    from governance import ingest  # noqa: PLC0415  # as above

    ingest.anonymize(UUID(job_id))


@shared_task(name="governance.group")
def group(job_id: str) -> None:
    """Treat one row group, look at it again, and seal it."""
    from governance import ingest  # noqa: PLC0415  # as above

    ingest.treat(UUID(job_id))


@shared_task(name="governance.merge")
def merge(job_id: str) -> None:
    """Write a version that lists the sealed row groups."""
    from governance import ingest  # noqa: PLC0415  # as above

    ingest.merge(UUID(job_id))


OF: Final[Mapping[str, Any]] = {
    FETCH: fetch,
    PROFILE: profile,
    ANONYMIZE: anonymize,
    GROUP: group,
    MERGE: merge,
}
