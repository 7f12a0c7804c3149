"""What was asked of a source: to be fetched by a worker, for a new dataset or a batch of one."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from governance.models.datasets import Dataset
from governance.models.keys import StoredObject
from governance.scoping import TenantOwned


class FetchState(models.TextChoices):
    """How far it is."""

    WAITING = "waiting", _("waiting")
    FETCHED = "fetched", _("fetched")
    FAILED = "failed", _("failed")


class Fetch(TenantOwned):
    """One request. A query may hold names of people, so the selection is sealed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    source = models.CharField(_("source"), max_length=40)
    selection = models.ForeignKey(StoredObject, on_delete=models.PROTECT, related_name="+")
    declared = models.JSONField(_("declared"), default=dict)  # of a new dataset; {} for a batch
    dataset = models.ForeignKey(
        Dataset, on_delete=models.PROTECT, related_name="fetches", null=True, blank=True
    )  # what takes the batch; or what came of it
    state = models.CharField(
        _("state"), max_length=10, choices=FetchState.choices, default=FetchState.WAITING
    )
    error_code = models.CharField(_("error"), max_length=80, blank=True)
    error_detail = models.CharField(_("what went wrong"), max_length=400, blank=True)
    requested_at = models.DateTimeField(_("requested"), auto_now_add=True)
    requested_by = models.ForeignKey(
        "governance.User",
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=_("requested by"),
    )

    class Meta:
        verbose_name = _("fetch from a source")
        verbose_name_plural = _("fetches from sources")
        ordering = ["-requested_at"]

    def __str__(self) -> str:
        return f"{self.source} · {self.state}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"fetch:{self.id}"
