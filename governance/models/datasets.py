"""Datasets, their column plans and their sealed versions."""

import json
import uuid
from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from governance.models.keys import StoredObject
from governance.models.tenants import LegalBasis, Purpose
from governance.scoping import TenantOwned


class DatasetState(models.TextChoices):
    """The way of an ingest."""

    QUARANTINED = "quarantined", _("quarantined")  # sealed as it came, not looked at yet
    PROPOSED = "proposed", _("plan proposed")  # profiled; the column plan waits for approval
    APPROVED = "approved", _("plan approved")
    ANONYMIZING = "anonymizing", _("anonymizing")
    SEALED = "sealed", _("sealed")
    APPENDING = "appending", _("reading an appended batch")  # its versions stand meanwhile
    REJECTED = "rejected", _("plan rejected")
    FAILED = "failed", _("failed")


class Dataset(TenantOwned):
    """A table that a tenant brought in, and what was declared about it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.SlugField(_("name"), max_length=80)
    state = models.CharField(
        _("state"),
        max_length=20,
        choices=DatasetState.choices,
        default=DatasetState.QUARANTINED,
    )
    regimes = models.JSONField(_("regimes"), default=list)  # ["eu", "cn", "ca"]
    languages = models.JSONField(_("languages"), default=list)  # ["zh", "en"]
    subject_column = models.CharField(_("subject column"), max_length=100, blank=True)
    # Public bounds and categories, by the steward: {"columns": {...}, "target": {...}, "source":
    # "…"}
    declarations = models.JSONField(_("declarations"), default=dict)
    # Of the first file, and of all rows that stand: the batches say more.
    format = models.CharField(_("format"), max_length=10, blank=True)
    encoding = models.CharField(_("encoding"), max_length=20, blank=True)
    rows = models.BigIntegerField(_("rows"), null=True, blank=True)
    columns = models.PositiveIntegerField(_("columns"), null=True, blank=True)
    entity_counts = models.JSONField(_("entities found"), default=dict)  # column -> entity -> count
    error_code = models.CharField(_("error"), max_length=80, blank=True)
    error_detail = models.CharField(_("what went wrong"), max_length=400, blank=True)
    created_at = models.DateTimeField(_("uploaded"), auto_now_add=True)
    uploaded_by = models.ForeignKey(
        "governance.User", on_delete=models.PROTECT, related_name="+", verbose_name=_("uploaded by")
    )

    natural_key_field: ClassVar[str] = "name"

    class Meta:
        verbose_name = _("dataset")
        verbose_name_plural = _("datasets")
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="dataset_name_once_a_tenant")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"dataset:{self.id}"


class PurposeGrant(TenantOwned):
    """A dataset may be processed for a purpose, on a legal basis."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="purposes")
    purpose = models.ForeignKey(Purpose, on_delete=models.PROTECT, related_name="+")
    legal_basis = models.CharField(_("legal basis"), max_length=40, choices=LegalBasis.choices)
    granted_at = models.DateTimeField(_("granted"), auto_now_add=True)

    class Meta:
        verbose_name = _("purpose of a dataset")
        verbose_name_plural = _("purposes of datasets")
        constraints = [
            models.UniqueConstraint(fields=["dataset", "purpose"], name="purpose_once_a_dataset")
        ]

    def __str__(self) -> str:
        return f"{self.dataset_id} · {self.purpose_id}"


class ColumnPlanVersion(TenantOwned):
    """A column plan as it was proposed. Evidence holds masked samples only. Rows are only added."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="plans")
    number = models.PositiveIntegerField(_("number"))
    body = models.BinaryField()  # canonical JSON of recognition's ColumnPlan
    digest = models.CharField(_("digest"), max_length=64)
    detector = models.CharField(_("detector"), max_length=80)
    created_at = models.DateTimeField(_("proposed"), auto_now_add=True)

    class Meta:
        verbose_name = _("column plan")
        verbose_name_plural = _("column plans")
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="plan_number_once")
        ]

    def __str__(self) -> str:
        return f"{self.dataset_id} · {self.number}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"plan:{self.id}"

    def payload(self) -> dict[str, Any]:
        """What an approval of this plan is bound to."""
        return {"dataset": str(self.dataset_id), "number": self.number, "plan": self.digest}

    def as_json(self) -> dict[str, Any]:
        """The plan's columns, as recognition reads them."""
        plan: dict[str, Any] = json.loads(bytes(self.body))
        return plan


class DatasetVersion(TenantOwned):
    """Anonymized rows, sealed: all that training and export read. Rows are only added."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField(_("number"))
    stored = models.ForeignKey(StoredObject, on_delete=models.PROTECT, related_name="+")
    plan = models.ForeignKey(ColumnPlanVersion, on_delete=models.PROTECT, related_name="versions")
    rows = models.BigIntegerField(_("rows"))
    columns = models.JSONField(
        _("columns"), default=list
    )  # [{"name", "kind", "entity", "operator"}]
    entity_counts = models.JSONField(_("entities found"), default=dict)
    leaks = models.PositiveIntegerField(_("leaks found by re-scanning"), default=0)
    detector = models.CharField(_("detector"), max_length=80)
    digest = models.CharField(_("digest of the rows"), max_length=64)
    sealed_at = models.DateTimeField(_("sealed"), auto_now_add=True)

    class Meta:
        verbose_name = _("dataset version")
        verbose_name_plural = _("dataset versions")
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="version_number_once"),
            models.CheckConstraint(condition=models.Q(leaks=0), name="version_leaks_nothing"),
        ]

    def __str__(self) -> str:
        return f"{self.dataset.name} v{self.number}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"version:{self.id}"


def entity_totals(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    """Counts by entity alone: a column's name may itself be personal, and stays out of the log."""
    total: dict[str, int] = {}
    for found in counts.values():
        for entity, count in found.items():
            total[entity] = total.get(entity, 0) + count
    return total
