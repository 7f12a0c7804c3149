"""What a dataset must be before anything trains on it, and whether it was."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from governance.models.datasets import Dataset, DatasetVersion
from governance.scoping import TenantOwned


class QualityContract(TenantOwned):
    """What a dataset's versions must meet before training. Rows are only added."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="contracts")
    number = models.PositiveIntegerField(_("number"))
    body = models.JSONField(_("contract"), default=dict)
    digest = models.CharField(_("digest"), max_length=64)
    created_at = models.DateTimeField(_("since"), auto_now_add=True)
    created_by = models.ForeignKey(
        "governance.User", on_delete=models.PROTECT, related_name="+", verbose_name=_("made by")
    )

    class Meta:
        verbose_name = _("quality contract")
        verbose_name_plural = _("quality contracts")
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="contract_number_once")
        ]

    def __str__(self) -> str:
        return f"{self.dataset_id} · {self.number}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"contract:{self.id}"


class QualityRun(TenantOwned):
    """A version held against a contract, with the profile that it was judged by."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    version = models.ForeignKey(
        DatasetVersion, on_delete=models.PROTECT, related_name="quality_runs"
    )
    contract = models.ForeignKey(
        QualityContract, on_delete=models.PROTECT, related_name="runs", null=True, blank=True
    )
    passed = models.BooleanField(_("passed"))
    profile = models.JSONField(_("profile"), default=dict)  # merged sketches, summarized
    breaches = models.JSONField(_("breaches"), default=list)  # [{"column", "check", "share"}]
    drift = models.JSONField(_("drift"), default=dict)  # against the version before
    run_at = models.DateTimeField(_("run"), auto_now_add=True)

    class Meta:
        verbose_name = _("quality run")
        verbose_name_plural = _("quality runs")
        ordering = ["-run_at"]

    def __str__(self) -> str:
        return f"{self.version_id} · {self.passed}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"quality:{self.id}"
