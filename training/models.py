"""Budgets, runs and models.

The ledger stores causes: which mechanism was about to touch which part of the data. ε is derived
from them, each time it is asked for, and is never a column.
"""

import json
import uuid
from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from governance.models import Dataset, DatasetVersion, StoredObject, User
from governance.scoping import TenantOwned
from training.examination import Examination  # noqa: F401  # Django looks for models here


class Guarantee(models.TextChoices):
    """What a model promises the people in its data; card and receipts say which."""

    DP = "dp", _("differentially private")
    PUBLIC_DATA = "public-data", _("public data: no person to protect")
    WAIVED = "waived", _("waived by two people: no guarantee")


class PrivacyUnit(models.TextChoices):
    """What a budget's figures are about: `training.units.Unit`."""

    RECORD = "record", _("one record")
    SUBJECT = "subject", _("one person, with all of their records")


class Budget(TenantOwned):
    """The privacy budget of a dataset and all its versions: one cap, one δ, one unit."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    dataset = models.OneToOneField(Dataset, on_delete=models.PROTECT, related_name="budget")
    epsilon_cap = models.DecimalField(_("ε cap"), max_digits=12, decimal_places=6)
    delta = models.DecimalField(_("δ"), max_digits=18, decimal_places=15)
    # Of every figure: what costs a record ε would cost a person with several records more.
    unit = models.CharField(
        _("privacy unit"), max_length=10, choices=PrivacyUnit.choices, default=PrivacyUnit.RECORD
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("privacy budget")
        verbose_name_plural = _("privacy budgets")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(epsilon_cap__gt=0), name="budget_cap_positive"
            ),
            models.CheckConstraint(
                condition=models.Q(delta__gt=0) & models.Q(delta__lt=1), name="budget_delta_range"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.dataset.name}: ε ≤ {self.epsilon_cap}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"budget:{self.id}"


class RunState(models.TextChoices):
    """Where a run stands."""

    AWAITING_APPROVAL = "awaiting_approval", _("awaiting approval")
    QUEUED = "queued", _("queued")  # admitted: its ε is reserved
    RUNNING = "running", _("running")
    FINISHED = "finished", _("finished")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class Priority(models.TextChoices):
    """Which of the waiting runs is taken first; of two alike, the older."""

    LOW = "low", _("low")
    NORMAL = "normal", _("normal")
    HIGH = "high", _("high")  # the tenant admin's to give

    @property
    def rank(self) -> int:
        """As its job carries it: the higher is taken first."""
        return list(Priority).index(self) - 1


class Run(TenantOwned):
    """One request to train: its frozen configuration, its state, its attempts."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="runs")
    purpose = models.SlugField(_("purpose"), max_length=60)
    target = models.CharField(_("target column"), max_length=100)
    positive = models.CharField(_("positive label"), max_length=100, blank=True)  # "": as declared
    model_name = models.SlugField(_("model"), max_length=80)
    guarantee = models.CharField(_("guarantee"), max_length=20, choices=Guarantee.choices)
    epsilon = models.DecimalField(_("ε asked"), max_digits=12, decimal_places=6)
    config = models.BinaryField()  # canonical JSON of training.config.TrainingConfig
    config_digest = models.CharField(_("configuration digest"), max_length=64)
    # Changed by `training.states.move` alone; a trigger refuses every change that is not legal.
    state = models.CharField(_("state"), max_length=20, choices=RunState.choices)
    queue = models.CharField(_("queue"), max_length=20, default="train.cpu")
    priority = models.CharField(
        _("priority"), max_length=10, choices=Priority.choices, default=Priority.NORMAL
    )
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    # The attempt whose steps the newest goes on from: all from here on share a secret and a plan.
    since = models.PositiveIntegerField(default=1)
    plan = models.JSONField(_("plan"), default=dict)  # training.config.Plan of the newest attempt
    error_code = models.CharField(_("error"), max_length=80, blank=True)
    idempotency_key = models.CharField(max_length=100, blank=True)
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(_("requested"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(epsilon__gt=0), name="run_epsilon_positive"),
            models.UniqueConstraint(
                fields=["tenant", "idempotency_key"],
                condition=~models.Q(idempotency_key=""),
                name="run_asked_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model_name} · {self.state}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"run:{self.id}"

    def config_json(self) -> dict[str, Any]:
        """The frozen configuration."""
        config: dict[str, Any] = json.loads(bytes(self.config))
        return config


class LedgerKind(models.TextChoices):
    """What a line of the ledger says."""

    RESERVE = "reserve", _("reserved")  # what the whole attempt would do
    AHEAD = "ahead", _("about to run")  # written before the mechanism touches the data
    CLOSE = "close", _("closed")  # nothing more will run: what was written ahead is the charge


class BudgetEntry(TenantOwned):
    """One line of the ledger. Rows are only ever added (a trigger holds it).

    `mechanisms` is a list of `training.charges.Charge` as JSON: a mechanism and the part of the
    data that it touches. An attempt that is open costs what it reserved; a closed one costs what
    was written ahead. Line 0 of an attempt is its reservation.
    """

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="entries")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="ledger")
    attempt = models.PositiveIntegerField(_("attempt"))
    kind = models.CharField(_("kind"), max_length=10, choices=LedgerKind.choices)
    sequence = models.PositiveIntegerField(_("line"))  # dense within an attempt
    mechanisms = models.JSONField(_("mechanisms"), default=list)
    created_at = models.DateTimeField(_("written"), auto_now_add=True)

    class Meta:
        verbose_name = _("ledger entry")
        verbose_name_plural = _("ledger entries")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["run", "attempt", "sequence"], name="ledger_line_once"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} · {self.attempt} · {self.kind}"


class Checkpoint(TenantOwned):
    """Where an attempt can be taken up again: one a run, replaced as it goes on.

    Gone when the run has its model, or ended in a way that going on would only repeat.

    `fence` is that of the lease under which it was written: it tells how many workers the job has
    cost since.
    """

    run = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="checkpoint")
    since = models.PositiveIntegerField()
    step = models.PositiveIntegerField()
    stored = models.OneToOneField(StoredObject, on_delete=models.PROTECT, related_name="+")
    job = models.UUIDField()
    fence = models.PositiveIntegerField()
    written_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.run_id} · {self.since} · {self.step}"


class Effort(TenantOwned):
    """What an ended attempt took: time under a lease, and its price at that time."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="efforts")
    attempt = models.PositiveIntegerField(_("attempt"))
    queue = models.CharField(_("queue"), max_length=20)
    seconds = models.FloatField(_("seconds worked"))
    price = models.DecimalField(_("price of an hour"), max_digits=12, decimal_places=4)
    cost = models.DecimalField(_("cost"), max_digits=18, decimal_places=6)
    currency = models.CharField(_("currency"), max_length=3)
    written_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["attempt"]
        constraints = [models.UniqueConstraint(fields=["run", "attempt"], name="effort_once")]

    def __str__(self) -> str:
        return f"{self.run_id} · {self.attempt} · {self.seconds:.0f} s"


class DeviceLease(models.Model):
    """A GPU of one host, and the job that has it. Of no tenant: a machine serves them all.

    `fence` rises with each taking, so that who took it before is told from who has it.
    """

    host = models.CharField(max_length=255)
    device = models.PositiveSmallIntegerField()
    job = models.UUIDField(null=True)
    fence = models.PositiveBigIntegerField(default=0)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("device")
        verbose_name_plural = _("devices")
        constraints = [
            models.UniqueConstraint(fields=["host", "device"], name="device_leased_once")
        ]

    def __str__(self) -> str:
        return f"{self.host}/{self.device}"


class RunPoint(TenantOwned):
    """One point of a run's live curves: bookkeeping, not evidence.

    What is measured of records was noised inside the charged mechanism; `…_error` is the standard
    deviation of that noise. Points that were drawn before these figures were released have none.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="points")
    attempt = models.PositiveIntegerField()
    step = models.PositiveIntegerField()
    steps = models.PositiveIntegerField()
    epsilon = models.FloatField()
    loss = models.FloatField(null=True)
    loss_error = models.FloatField(null=True)
    clip_fraction = models.FloatField(null=True)
    clip_fraction_error = models.FloatField(null=True)
    gradient_norm = models.FloatField(null=True)
    gradient_norm_error = models.FloatField(null=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["attempt", "step"]
        constraints = [
            models.UniqueConstraint(fields=["run", "attempt", "step"], name="point_once")
        ]

    def __str__(self) -> str:
        return f"{self.run_id} · {self.step}"


class Model(TenantOwned):
    """A model as tenants know it: a name under which versions are served."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(_("slug"), max_length=80, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    natural_key_field: ClassVar[str] = "slug"

    class Meta:
        verbose_name = _("model")
        verbose_name_plural = _("models")
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"model:{self.id}"


class Origin(models.TextChoices):
    """Where a model version comes from. Only the first is built; the others are a later seam."""

    TRAINED = "trained", _("trained here")
    IMPORTED = "imported", _("imported")
    REMOTE = "remote", _("remote")


class ModelState(models.TextChoices):
    """Whether a version may be served."""

    REGISTERED = "registered", _("registered")
    RELEASED = "released", _("released")
    WITHDRAWN = "withdrawn", _("withdrawn")


class Service(models.TextChoices):
    """Which part of a model's calls a released version answers."""

    FULL = "full", _("all calls")
    CANARY = "canary", _("a share of the calls")
    SHADOW = "shadow", _("none; it is scored beside")


class ModelVersion(TenantOwned):
    """Weights that do not change, their card, and whether they may be served."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField(_("number"))
    origin = models.CharField(
        _("origin"), max_length=10, choices=Origin.choices, default=Origin.TRAINED
    )
    run = models.OneToOneField(
        Run, on_delete=models.PROTECT, related_name="model_version", null=True, blank=True
    )
    artifact = models.ForeignKey(StoredObject, on_delete=models.PROTECT, related_name="+")
    artifact_digest = models.CharField(_("artifact digest"), max_length=64)
    background_digest = models.CharField(_("background digest"), max_length=64, blank=True)
    guarantee = models.CharField(_("guarantee"), max_length=20, choices=Guarantee.choices)
    card = models.JSONField(_("card"), default=dict)
    card_digest = models.CharField(_("card digest"), max_length=64)
    state = models.CharField(
        _("state"), max_length=12, choices=ModelState.choices, default=ModelState.REGISTERED
    )
    service = models.CharField(
        _("service"), max_length=8, choices=Service.choices, default=Service.FULL
    )
    share = models.PositiveSmallIntegerField(_("share of the calls, percent"), default=100)
    deprecated_at = models.DateTimeField(_("end of service announced"), null=True, blank=True)
    sunset_at = models.DateTimeField(_("end of service"), null=True, blank=True)
    created_at = models.DateTimeField(_("registered"), auto_now_add=True)
    released_at = models.DateTimeField(_("released"), null=True, blank=True)

    class Meta:
        verbose_name = _("model version")
        verbose_name_plural = _("model versions")
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["model", "number"], name="model_number_once")
        ]

    def __str__(self) -> str:
        return f"{self.model.slug} v{self.number}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"modelversion:{self.id}"


class EnsembleMember(TenantOwned):
    """Which versions an ensemble holds, in order. Rows are only ever added (a trigger holds it)."""

    ensemble = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="parts")
    member = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="part_of")
    place = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["place"]
        constraints = [
            models.UniqueConstraint(fields=["ensemble", "member"], name="member_once"),
            models.UniqueConstraint(fields=["ensemble", "place"], name="member_place_once"),
        ]

    def __str__(self) -> str:
        return f"{self.ensemble_id} · {self.place}"


class WatchWindow(TenantOwned):
    """A closed window of a released version's service. Rows are only added (a trigger holds it).

    Answers and labels come at different times, so each has its own beginning: what was too little
    to be measured is counted with the next window. Of figures only counts are kept, and what they
    were held against; accuracy and findings follow from them (`training.watching`).
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="windows")
    number = models.PositiveIntegerField(_("number"))
    served_from = models.DateTimeField(_("answers from"))
    labels_from = models.DateTimeField(_("labels from"))
    ends_at = models.DateTimeField(_("ends"))
    # Histogram of the answers' scores; None where they were too few.
    scores = models.JSONField(_("scores"), null=True)
    psi = models.FloatField(_("stability index"), null=True)
    chance = models.FloatField(_("stability index by chance"), null=True)
    reference = models.CharField(_("compared with"), max_length=10, blank=True)
    labeled = models.PositiveIntegerField(_("labels"), null=True)
    correct = models.PositiveIntegerField(_("right answers"), null=True)
    floor = models.FloatField(_("accuracy threshold"), null=True)
    # Served inputs by feature and public bin (`training.input_bins.Counts`), and the features that
    # moved farthest (`training.input_drift`); None where too few were counted, or nothing before.
    inputs = models.JSONField(_("inputs"), null=True)
    input_drift = models.JSONField(_("drift of inputs"), null=True)
    created_at = models.DateTimeField(_("closed"), auto_now_add=True)

    class Meta:
        verbose_name = _("watch window")
        verbose_name_plural = _("watch windows")
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["version", "number"], name="window_once"),
            models.CheckConstraint(
                condition=models.Q(labeled__isnull=True, correct__isnull=True)
                | models.Q(correct__lte=models.F("labeled")),
                name="window_counts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version_id} · {self.number}"
