"""A tenant's own terms and patterns, and what detectors were measured to find."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from governance.scoping import TenantOwned


class RecognitionRules(TenantOwned):
    """One edition of a tenant's own terms and patterns. Rows are only added.

    Terms may be names of people, so the body is sealed under the tenant's key; a column plan names
    the edition that it was made with, and approving the plan approves the rules for that dataset.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.PositiveIntegerField(_("number"))
    sealed = models.BinaryField()  # canonical JSON of recognition.tenant_rules, sealed
    kek_version = models.PositiveIntegerField(_("key version"))
    digest = models.CharField(_("digest"), max_length=64)  # keyed: terms can be guessed
    finds = models.PositiveIntegerField(_("terms and patterns that find"), default=0)
    allows = models.PositiveIntegerField(_("terms that pass"), default=0)
    created_at = models.DateTimeField(_("since"), auto_now_add=True)
    created_by = models.ForeignKey(
        "governance.User", on_delete=models.PROTECT, related_name="+", verbose_name=_("made by")
    )

    class Meta:
        verbose_name = _("recognition rules")
        verbose_name_plural = _("recognition rules")
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "number"], name="rules_number_once")
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} · {self.number}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"rules:{self.id}"


class DetectorMeasurement(TenantOwned):
    """What a detector found of a labeled set: counts by language, kind of text and entity."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    detector = models.CharField(_("detector"), max_length=80)
    # The edition of the tenant's own rules that was measured with it; "" for none.
    rules = models.CharField(_("own rules"), max_length=80, blank=True)
    labeled = models.CharField(_("digest of the labeled set"), max_length=64)
    rows = models.BigIntegerField(_("rows"))
    # `measurement.scoring.Count` as dictionaries: one a language, shape and entity.
    counts = models.JSONField(_("counts"), default=list)
    measured_at = models.DateTimeField(_("measured"), auto_now_add=True)
    measured_by = models.ForeignKey(
        "governance.User", on_delete=models.PROTECT, related_name="+", verbose_name=_("measured by")
    )

    class Meta:
        verbose_name = _("detector measurement")
        verbose_name_plural = _("detector measurements")
        ordering = ["-measured_at"]

    def __str__(self) -> str:
        return f"{self.detector} · {self.rows}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"measurement:{self.id}"
