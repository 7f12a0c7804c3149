"""What left the house, for whom, and how anonymous it was measured to be."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from governance.models.datasets import DatasetVersion
from governance.scoping import TenantOwned


class RecipientClass(models.TextChoices):
    """Who receives rows: the further out, the larger the groups in which a person must hide."""

    INTERNAL = "internal", _("internal")
    EXTERNAL = "external", _("external")
    PUBLIC = "public", _("public")


class DataRelease(TenantOwned):
    """One export of a version to one recipient, with its measures. Rows are only added."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="releases")
    recipient = models.SlugField(_("recipient"), max_length=60)
    recipient_class = models.CharField(
        _("kind of recipient"), max_length=10, choices=RecipientClass.choices
    )
    rows = models.BigIntegerField(_("rows"))
    suppressed = models.BigIntegerField(_("rows left out"), default=0)
    # {"quasi": {column: level}, "sensitive": […], "k": 11, "l": 2, "t": "0.27"}; {} if not measured
    measures = models.JSONField(_("measures"), default=dict)
    level = models.PositiveSmallIntegerField(_("level of de-identification"))  # GB/T 42460, 1 to 4
    needs_human = models.BooleanField(_("a person must decide"), default=False)
    reasons = models.JSONField(_("reasons"), default=list)  # stable codes
    digest = models.CharField(_("digest of the file"), max_length=64)
    released_at = models.DateTimeField(_("released"), auto_now_add=True)
    released_by = models.ForeignKey(
        "governance.User", on_delete=models.PROTECT, related_name="+", verbose_name=_("released by")
    )

    class Meta:
        verbose_name = _("release of data")
        verbose_name_plural = _("releases of data")
        ordering = ["-released_at"]

    def __str__(self) -> str:
        return f"{self.version_id} · {self.recipient}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"release:{self.id}"
