"""Licenses, API keys, and what was called with them."""

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from governance.models import StoredObject, Tenant, User
from governance.scoping import TenantOwned
from training.models import Model, ModelVersion


class Feature(models.TextChoices):
    """What a license lets its customer call."""

    PREDICT = "predict", _("predict")
    EXPLAIN = "explain", _("explain")
    FEEDBACK = "feedback", _("feedback")
    BATCH = "batch", _("files of rows")


class SuspensionReason(models.TextChoices):
    """Why a license rests."""

    PAYMENT = "payment", _("payment is overdue")
    MISUSE = "misuse", _("misuse is suspected")
    SECURITY = "security", _("a security incident")
    DISPUTE = "dispute", _("a dispute")
    REQUEST = "request", _("the customer asked for it")


class License(TenantOwned):
    """The only grant from one tenant to another: the owner of a model lets a customer call it."""

    seen_by: ClassVar[tuple[str, ...]] = ("tenant_id", "customer_id")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    customer = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="licenses")
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="licenses")
    # The one version that answers; None: the channel `stable`, whichever was released last.
    version = models.PositiveIntegerField(_("version"), null=True, blank=True)
    features = models.JSONField(_("features"), default=list)
    purposes = models.JSONField(_("purposes"), default=list)
    regions = models.JSONField(_("regions"), default=list)  # empty: everywhere
    seats = models.PositiveIntegerField(_("seats"), null=True, blank=True)  # keys that open
    trial = models.BooleanField(_("trial"), default=False)
    # Stays when a trial is converted: there is one for each customer and model.
    began_as_trial = models.BooleanField(default=False, editable=False)
    # How often the terms were changed. A call is committed under the number it was judged by.
    amended = models.PositiveIntegerField(_("amendments"), default=0)
    quota = models.BigIntegerField(_("quota of units"))
    used = models.BigIntegerField(_("units used"), default=0)
    rate = models.BigIntegerField(_("calls a second"), null=True, blank=True)
    burst = models.BigIntegerField(_("calls at once"), null=True, blank=True)
    starts_at = models.DateTimeField(_("starts"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires"))
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    suspended_at = models.DateTimeField(_("suspended"), null=True, blank=True)
    suspended_for = models.CharField(
        _("reason"), max_length=10, choices=SuspensionReason.choices, blank=True, default=""
    )
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
            models.CheckConstraint(
                condition=models.Q(rate__isnull=True, burst__isnull=True)
                | models.Q(rate__gte=1, burst__gte=1),
                name="license_rate_whole",
            ),
            models.CheckConstraint(
                condition=models.Q(suspended_at__isnull=True, suspended_for="")
                | models.Q(suspended_at__isnull=False) & ~models.Q(suspended_for=""),
                name="license_suspended_for_a_reason",
            ),
            models.UniqueConstraint(
                fields=["customer", "model"],
                condition=models.Q(began_as_trial=True),
                name="license_one_trial",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer} · {self.model}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"license:{self.id}"


class AmendmentKind(models.TextChoices):
    """How terms came to change."""

    AMENDMENT = "amendment", _("amendment")
    RENEWAL = "renewal", _("renewal")


class LicenseAmendment(TenantOwned):
    """One change of a license's terms, with all terms before and after it. Rows are only added."""

    seen_by: ClassVar[tuple[str, ...]] = ("tenant_id", "license__customer_id")

    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="amendments")
    number = models.PositiveIntegerField(_("number"))  # from 1, without gaps
    kind = models.CharField(_("kind"), max_length=10, choices=AmendmentKind.choices)
    before = models.JSONField()  # gateway.agreements.Agreement.told
    after = models.JSONField()
    before_digest = models.CharField(max_length=64)
    after_digest = models.CharField(max_length=64)
    amended_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(_("at"), default=timezone.now)

    class Meta:
        verbose_name = _("amendment")
        verbose_name_plural = _("amendments")
        ordering = ["license", "number"]
        constraints = [
            models.UniqueConstraint(fields=["license", "number"], name="amendment_numbered_once")
        ]

    def __str__(self) -> str:
        return f"{self.license_id} · {self.number}"


class RevocationList(TenantOwned):
    """A signed list of one customer's licenses that no longer hold. Rows are only added."""

    seen_by: ClassVar[tuple[str, ...]] = ("tenant_id", "customer_id")

    customer = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    number = models.PositiveIntegerField(_("number"))  # from 1, without gaps
    digest = models.CharField(max_length=64)  # SHA-256 of the file
    issued_at = models.DateTimeField(_("issued"))
    next_update = models.DateTimeField(_("next update"))

    class Meta:
        verbose_name = _("revocation list")
        verbose_name_plural = _("revocation lists")
        ordering = ["customer", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "customer", "number"], name="revocations_numbered_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.customer} · {self.number}"


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
    # None: whatever the license allows. A list narrows it; see `gateway.scopes`.
    scopes = models.JSONField(_("may be used for"), null=True, blank=True, default=None)
    # Networks that it may be used from; none: from anywhere.
    addresses = models.JSONField(_("addresses"), default=list, blank=True)
    digest = models.BinaryField()
    pepper_version = models.PositiveIntegerField()
    # The secret before the last rotation, good until `previous_not_after`.
    previous_digest = models.BinaryField(null=True)
    previous_pepper_version = models.PositiveIntegerField(null=True)
    previous_not_after = models.DateTimeField(_("old secret until"), null=True, blank=True)
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


class KeyRotation(TenantOwned):
    """One rotation of a key. `request` tells the same request come again from another one."""

    seen_by: ClassVar[tuple[str, ...]] = ("tenant_id", "key__license__tenant_id")

    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="rotations")
    request = models.CharField(max_length=64)
    previous_not_after = models.DateTimeField(_("old secret until"))
    rotated_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(_("rotated"), auto_now_add=True)

    class Meta:
        verbose_name = _("rotation of a key")
        verbose_name_plural = _("rotations of keys")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["key", "request"], name="key_rotated_once_a_request")
        ]

    def __str__(self) -> str:
        return f"{self.key_id} · {self.created_at}"


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
    # Of a batch, whose answer is `gateway.batches.stored`; null for a call of one row.
    rows = models.PositiveIntegerField(_("rows"), null=True, blank=True)

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


class UsageRound(models.Model):
    """A stretch of the log whose usage was rolled up. Of no tenant; rows are only added.

    Rounds follow one another without a gap from index 0, so that each event is in one of them.
    """

    first_index = models.BigIntegerField(primary_key=True)
    last_index = models.BigIntegerField(unique=True)
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(last_index__gte=models.F("first_index")),
                name="usage_round_is_forward",
            )
        ]

    def __str__(self) -> str:
        return f"{self.first_index}-{self.last_index}"


class UsageRollup(TenantOwned):
    """The usage of one license, kind and hour within one round: made by `gateway.rollups` alone.

    The tenant is the customer. Rows are only added; every figure follows from entries in the log.
    """

    seen_by: ClassVar[tuple[str, ...]] = ("tenant_id", "license__tenant_id")

    round = models.ForeignKey(UsageRound, on_delete=models.PROTECT, related_name="rollups")
    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="rollups")
    sku = models.CharField(_("what"), max_length=20)
    hour = models.DateTimeField(_("hour"))  # of the entries' own time, UTC
    first_index = models.BigIntegerField(_("first place in the log"))  # of its own entries
    last_index = models.BigIntegerField(_("last place in the log"))
    calls = models.BigIntegerField(_("calls"))
    units = models.BigIntegerField(_("units"))
    charged = models.BigIntegerField(_("units charged"))  # the rest were called with test keys

    class Meta:
        verbose_name = _("usage by the hour")
        verbose_name_plural = _("usage by the hour")
        ordering = ["-hour", "-id"]
        indexes = [models.Index(fields=["license", "hour"], name="rollup_of_license")]
        constraints = [
            models.UniqueConstraint(
                fields=["round", "license", "sku", "hour"], name="usage_rolled_up_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.license_id} · {self.sku} · {self.hour}"


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


class RowFeedback(TenantOwned):
    """As `Feedback`, of one row of a batch. Rows are only added."""

    prediction = models.ForeignKey(
        Prediction, on_delete=models.PROTECT, related_name="row_feedback"
    )
    row = models.PositiveIntegerField(_("row"))  # from 0, as in the body
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    correct = models.BooleanField(_("the answer was right"))
    hour = models.DateTimeField(_("hour"))

    class Meta:
        verbose_name = _("feedback on a row")
        verbose_name_plural = _("feedback on rows")
        ordering = ["-id"]
        indexes = [models.Index(fields=["version", "hour"], name="row_feedback_of_version")]
        constraints = [
            models.UniqueConstraint(fields=["prediction", "row"], name="row_feedback_once")
        ]

    def __str__(self) -> str:
        return f"{self.prediction_id}_{self.row}"


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


class CallFileState(models.TextChoices):
    """Where a file stands; how far it is says its job."""

    WAITING = "waiting", _("waiting")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class CallFile(TenantOwned):
    """A file of rows that a worker answers, batch by batch (`gateway.answering`).

    Its rows are sealed, and gone at its end. Its answers are the predictions `{id}-{part}`, each
    charged and recorded as a batch.
    """

    seen_by: ClassVar[tuple[str, ...]] = ("tenant_id", "license__tenant_id")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="files")
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    stored = models.ForeignKey(
        StoredObject, on_delete=models.SET_NULL, related_name="+", null=True, blank=True
    )
    form = models.CharField(_("format"), max_length=8)
    request_id = models.CharField(_("request"), max_length=64)
    request_digest = models.CharField(max_length=64)
    state = models.CharField(
        _("state"), max_length=10, choices=CallFileState.choices, default=CallFileState.WAITING
    )
    rows = models.PositiveIntegerField(_("rows answered"), default=0)
    error_code = models.CharField(_("error"), max_length=80, blank=True)
    faults = models.JSONField(_("faults"), default=list)  # pointers and codes; nothing sent
    created_at = models.DateTimeField(_("sent"), default=timezone.now)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    expires_at = models.DateTimeField(_("answers until"))

    class Meta:
        verbose_name = _("file of rows")
        verbose_name_plural = _("files of rows")
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "request_id"], name="call_file_once")
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"call_file:{self.id}"


class LimitScope(models.TextChoices):
    """What a limit is of."""

    KEY = "key", _("API key")
    LICENSE = "license", _("license")
    CUSTOMER = "customer", _("customer")
    MODEL = "model", _("model")


class LimitPeriod(models.TextChoices):
    """After what a quota begins anew."""

    TOTAL = "total", _("never")
    MONTH = "month", _("calendar month (UTC)")


class Limit(TenantOwned):
    """A quota, a rate or both, beside what licenses hold: of the owner of models, on their calls.

    One row a thing that is limited. `used` counts the charged units of the period that began in
    month `began`, counted from year 0; it is moved on by `gateway.quotas`, in the transaction that
    charges.
    """

    seen_by: ClassVar[tuple[str, ...]] = ("tenant_id", "customer_id")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    scope = models.CharField(_("limit of"), max_length=10, choices=LimitScope.choices)
    subject = models.UUIDField()  # the id of the key, license, customer or model
    name = models.CharField(_("name"), max_length=80)  # the subject's, as people know it
    # Whose calls alone it is about, and who may see it; none for a model.
    customer = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, related_name="+")
    rate = models.BigIntegerField(_("calls a second"), null=True, blank=True)
    burst = models.BigIntegerField(_("calls at once"), null=True, blank=True)
    quota = models.BigIntegerField(_("quota of units"), null=True, blank=True)
    period = models.CharField(
        _("begins anew"),
        max_length=5,
        choices=LimitPeriod.choices,
        default=LimitPeriod.TOTAL,
    )
    used = models.BigIntegerField(_("units used"), default=0)
    began = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(_("set"), auto_now_add=True)

    class Meta:
        verbose_name = _("limit")
        verbose_name_plural = _("limits")
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "scope", "subject"], name="limit_once"),
            models.CheckConstraint(
                condition=models.Q(rate__isnull=True, burst__isnull=True)
                | models.Q(rate__gte=1, burst__gte=1),
                name="limit_rate_whole",
            ),
            models.CheckConstraint(
                condition=models.Q(quota__isnull=True) | models.Q(quota__gte=1),
                name="limit_quota_range",
            ),
            models.CheckConstraint(condition=models.Q(used__gte=0), name="limit_used_range"),
        ]

    def __str__(self) -> str:
        return f"{self.get_scope_display()} · {self.name}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"limit:{self.id}"


class RateBucket(models.Model):
    """A rate's state (`gateway.gcra`), where Redis does not hold it: bookkeeping, of no tenant."""

    name = models.CharField(max_length=60, primary_key=True)
    tat = models.BigIntegerField()  # microseconds since the Unix epoch

    def __str__(self) -> str:
        return self.name


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
