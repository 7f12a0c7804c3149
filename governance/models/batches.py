"""What came in for a dataset, and the row groups that it was cut into.

A dataset takes batches: the first with the upload, more as they are appended. A batch is one file
or several. The profile parses it once and cuts it into row groups, sealed as they are; each group
is anonymized by a job of its own, and a version is the manifest of what came out.
"""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from governance.models.datasets import ColumnPlanVersion, Dataset
from governance.models.keys import StoredObject
from governance.scoping import TenantOwned


class Batch(TenantOwned):
    """What came in at one time."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="batches")
    number = models.PositiveIntegerField(_("number"))
    # How often its files were read: the groups of an earlier reading belong to nothing any more.
    reading = models.PositiveIntegerField(_("reading"), default=1)
    rows = models.BigIntegerField(_("rows"), null=True, blank=True)
    error_code = models.CharField(_("error"), max_length=80, blank=True)  # it is part of nothing
    source = models.CharField(_("way in"), max_length=40, default="upload")  # or a source's name
    received_at = models.DateTimeField(_("received"), auto_now_add=True)
    received_by = models.ForeignKey(
        "governance.User", on_delete=models.PROTECT, related_name="+", verbose_name=_("received by")
    )

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="batch_number_once")
        ]

    def __str__(self) -> str:
        return f"{self.dataset_id} · {self.number}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"batch:{self.id}"


class Part(TenantOwned):
    """One file of a batch, sealed as it came. Its name is not kept: names hold people."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="parts")
    number = models.PositiveIntegerField(_("number"))
    stored = models.ForeignKey(StoredObject, on_delete=models.PROTECT, related_name="+")
    declared_format = models.CharField(_("format as named"), max_length=10, blank=True)
    encoding_override = models.CharField(_("encoding, as told"), max_length=20, blank=True)
    format = models.CharField(_("format"), max_length=10, blank=True)
    encoding = models.CharField(_("encoding"), max_length=20, blank=True)
    rows = models.BigIntegerField(_("rows"), null=True, blank=True)

    class Meta:
        verbose_name = _("part")
        verbose_name_plural = _("parts")
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["batch", "number"], name="part_number_once")]

    def __str__(self) -> str:
        return f"{self.batch_id} · {self.number}"


class RowGroup(TenantOwned):
    """Consecutive rows of a batch, as they came: sealed, and opened by the job that treats them.

    Rows are only added.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="groups")
    reading = models.PositiveIntegerField(_("reading"), default=1)
    number = models.PositiveIntegerField(_("number"))
    first_row = models.BigIntegerField(_("first row"))
    rows = models.BigIntegerField(_("rows"))
    staged = models.ForeignKey(StoredObject, on_delete=models.PROTECT, related_name="+")

    class Meta:
        verbose_name = _("row group")
        verbose_name_plural = _("row groups")
        ordering = ["batch__number", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["batch", "reading", "number"], name="row_group_number_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.batch_id} · {self.number}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"group:{self.id}"


class SealedGroup(TenantOwned):
    """What one plan made of one row group. With leaks it is quarantined: no version may list it.

    Rows are only added.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    group = models.ForeignKey(RowGroup, on_delete=models.PROTECT, related_name="sealed")
    plan = models.ForeignKey(ColumnPlanVersion, on_delete=models.PROTECT, related_name="+")
    stored = models.ForeignKey(
        StoredObject, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )  # None where it leaked: the output is not kept
    rows = models.BigIntegerField(_("rows"))
    digest = models.CharField(_("digest of the rows"), max_length=64, blank=True)
    entity_counts = models.JSONField(_("entities found"), default=dict)  # column -> entity -> count
    leaks = models.JSONField(_("leaks found by re-scanning"), default=dict)  # the same
    sketch = models.JSONField(_("quality sketch"), default=dict)  # quality.sketches, no raw values
    sealed_at = models.DateTimeField(_("sealed"), auto_now_add=True)

    class Meta:
        verbose_name = _("sealed row group")
        verbose_name_plural = _("sealed row groups")
        constraints = [
            models.UniqueConstraint(fields=["group", "plan"], name="group_sealed_once_a_plan"),
            models.CheckConstraint(
                condition=models.Q(leaks={}) | models.Q(stored__isnull=True),
                name="a_leaking_group_is_not_kept",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.group_id} · {self.plan_id}"
