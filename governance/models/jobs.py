"""Long work between two actions: who holds it, how far it is, and when it may be taken over."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from governance.scoping import TenantOwned


class JobState(models.TextChoices):
    """Where a job stands."""

    WAITING = "waiting", _("waiting")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class Job(TenantOwned):
    """One piece of long work. The broker carries its id; this row decides what must run."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(
        _("kind"), max_length=40
    )  # a key of leases' registry, e.g. "ingest.profile"
    subject = models.CharField(_("subject"), max_length=100)
    argument = models.CharField(_("argument"), max_length=40, blank=True)  # which part of it
    queue = models.CharField(_("queue"), max_length=20)
    priority = models.SmallIntegerField(_("priority"), default=0)  # the higher is taken first
    state = models.CharField(
        _("state"), max_length=10, choices=JobState.choices, default=JobState.WAITING
    )
    # Each hand-over raises the fence; a worker that comes back with an old one is refused.
    fence = models.PositiveIntegerField(_("fence"), default=0)
    owner = models.CharField(_("owner"), max_length=100, blank=True)
    leased_until = models.DateTimeField(_("leased until"), null=True, blank=True)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    stage = models.CharField(_("stage"), max_length=40, blank=True)
    done_units = models.BigIntegerField(_("done"), default=0)
    all_units = models.BigIntegerField(_("of"), default=0)
    error_code = models.CharField(_("error"), max_length=80, blank=True)
    cancel_asked = models.BooleanField(_("cancel asked"), default=False)
    # By workers before the one that holds it, each until its last heartbeat; by all, once ended.
    worked_seconds = models.FloatField(_("seconds worked"), default=0.0)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["state", "leased_until"], name="job_due"),
            models.Index(fields=["kind", "queue", "state"], name="job_next"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} · {self.state}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"job:{self.id}"
