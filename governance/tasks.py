"""Celery tasks of the `ingest` queue: an id in, one piece of work done, nothing returned.

No task retries itself. The job's row says what must run; a message delivered twice finds it taken,
and one that was lost is sent again by the sweeper.
"""

from uuid import UUID

from celery import shared_task


@shared_task(name="governance.profile")
def profile(job_id: str) -> None:
    """Profile a quarantined upload and propose its column plan."""
    from governance import ingest  # noqa: PLC0415  # who sends the task need not load spaCy

    ingest.profile(UUID(job_id))


@shared_task(name="governance.anonymize")
def anonymize(job_id: str) -> None:
    """Anonymize an approved dataset and seal a version of it."""
    from governance import ingest  # noqa: PLC0415  # as above

    ingest.anonymize(UUID(job_id))
