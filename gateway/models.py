"""Licenses, API keys, and what was called with them."""

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from governance.models import Tenant, User
from governance.scoping import TenantOwned
from training.models import Model, ModelVersion


class Feature(models.TextChoices):
    """What a license lets its customer call."""

    PREDICT = "predict", _("predict")
    EXPLAIN = "explain", _("explain")


class License(TenantOwned):
    """The only grant from one tenant to another: the owner of a model lets a customer call it."""

    seen_by: ClassVar[tuple[str, ...]] = ("tenant_id", "customer_id")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    customer = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="licenses")
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="licenses")
    # Bound to one version; else calls go to whatever version the model serves at the time.
    pinned = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    features = models.JSONField(_("features"), default=list)
    purpose = models.SlugField(_("purpose"), max_length=60)
    quota = models.BigIntegerField(_("quota of units"))
    used = models.BigIntegerField(_("units used"), default=0)
    starts_at = models.DateTimeField(_("starts"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires"))
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    issued_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(_("issued"), auto_now_add=True)

    class Meta:
        verbose_name = _("license")
        verbose_name_plural = _("licenses")
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(quota__gte=0), name="license_quota_range"),
            models.CheckConstraint(
                condition=models.Q(used__gte=0) & models.Q(used__lte=models.F("quota")),
                name="license_within_quota",
            ),
            models.CheckConstraint(
                condition=models.Q(expires_at__gt=models.F("starts_at")), name="license_lasts"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer} · {self.model}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"license:{self.id}"


class KeyMode(models.TextChoices):
    """Whether calls are charged."""

    LIVE = "live", _("live")
    TEST = "test", _("test")


class ApiKey(TenantOwned):
    """A key of a customer, under a license. The secret is shown once; its HMAC is what stays."""

    seen_by: ClassVar[tuple[str, ...]] = ("tenant_id", "license__tenant_id")
    natural_key_field: ClassVar[str] = "public_id"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    public_id = models.CharField(_("key id"), max_length=10, unique=True)
    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="keys")
    name = models.CharField(_("name"), max_length=80)
    mode = models.CharField(_("mode"), max_length=4, choices=KeyMode.choices)
    digest = models.BinaryField()
    pepper_version = models.PositiveIntegerField()
    expires_at = models.DateTimeField(_("expires"))
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    issued_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(_("issued"), auto_now_add=True)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.public_id} · {self.name}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"key:{self.public_id}"

    @property
    def customer_id(self) -> uuid.UUID:
        """The tenant that calls with it."""
        return self.tenant_id


class Prediction(TenantOwned):
    """One answered call: committed with its audit entry and its usage, or not at all."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="predictions")
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    request_id = models.CharField(_("request"), max_length=64)
    # A keyed hash of the body: it tells a replay from another request under the same key.
    request_digest = models.CharField(max_length=64)
    entry_id = models.UUIDField(_("audit entry"), unique=True)
    answer = models.JSONField(_("answer"), default=dict)  # as sent, for a replay; no inputs
    explanation = models.JSONField(_("explanation record"), null=True, blank=True)
    created_at = models.DateTimeField(_("answered"), default=timezone.now)

    class Meta:
        verbose_name = _("prediction")
        verbose_name_plural = _("predictions")
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["version", "created_at"], name="prediction_of_version")]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "request_id"], name="prediction_once")
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"prediction:{self.id}"


class UsageEvent(TenantOwned):
    """What is charged, written in its prediction's transaction. Rows are only added."""

    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="usage")
    request_id = models.CharField(_("request"), max_length=64)
    sku = models.CharField(_("what"), max_length=20)
    units = models.PositiveIntegerField(_("units"))
    charged = models.BooleanField(_("charged"))  # calls with a test key are counted, not charged
    created_at = models.DateTimeField(_("at"), default=timezone.now)

    class Meta:
        verbose_name = _("usage")
        verbose_name_plural = _("usage")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "request_id", "sku"], name="usage_once")
        ]

    def __str__(self) -> str:
        return f"{self.request_id} · {self.sku}"


class Feedback(TenantOwned):
    """Whether an answer was right, as its caller told later. One bit, and the hour it came in.

    The label itself is kept nowhere: with two labels it follows from the answer and the bit. Rows
    are only added.
    """

    prediction = models.OneToOneField(Prediction, on_delete=models.PROTECT, related_name="feedback")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    correct = models.BooleanField(_("the answer was right"))
    hour = models.DateTimeField(_("hour"))  # windows begin and end with whole hours

    class Meta:
        verbose_name = _("feedback")
        verbose_name_plural = _("feedback")
        ordering = ["-id"]
        indexes = [models.Index(fields=["version", "hour"], name="feedback_of_version")]

    def __str__(self) -> str:
        return str(self.prediction_id)


class InputCounts(TenantOwned):
    """How often served inputs lay in which public bin: one version, one hour, one process.

    Bookkeeping, not evidence, and the model owner's. A row is its process's alone, which replaces
    it as it counts on (`gateway.inputs`); none is of fewer than ten calls.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    hour = models.DateTimeField()  # that the calls were written in
    process = models.UUIDField()
    counts = models.JSONField(default=dict)  # training.input_bins.Counts

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["version", "hour", "process"], name="inputs_counted_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.version_id} · {self.hour}"


class CallClaim(TenantOwned):
    """A call with an idempotency key that is being answered: bookkeeping, gone with its answer.

    Of two requests under one key the second finds the first one's claim, in whatever process. A
    claim that outlives `held_until` was left by a process that died, and may be taken over.
    """

    request_id = models.CharField(max_length=64)
    request_digest = models.CharField(max_length=64)
    token = models.UUIDField(default=uuid.uuid4)
    held_until = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "request_id"], name="call_claimed_once")
        ]

    def __str__(self) -> str:
        return self.request_id


class Pepper(models.Model):
    """A secret under which API keys are hashed, wrapped by the root key. Of no tenant."""

    version = models.PositiveIntegerField(primary_key=True)
    wrapped = models.BinaryField()
    root_version = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"pepper {self.version}"


class ShadowCounts(TenantOwned):
    """How a shadow's scores differ from those that were answered: of one version, hour and process.

    Its process writes it again and again, whole; the rows are the model owner's.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    beside = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    hour = models.DateTimeField()
    process = models.UUIDField()
    counts = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["version", "beside", "hour", "process"], name="shadow_counted_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.version_id} {self.hour:%Y-%m-%dT%H}"
