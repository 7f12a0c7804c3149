"""What is asked of a model by attacking it, and what came of it: the row, and what each kind shows.

Imported by `training.models`, where Django looks for models.
"""

import uuid
from typing import Final

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from governance.models import User
from governance.scoping import TenantOwned


class ExaminationKind(models.TextChoices):
    """Which attack."""

    LOSS = "loss", _("loss threshold attack")
    LIRA = "lira", _("likelihood ratio attack with shadow models")
    ENGINE = "engine", _("canary audit of the engine")


# Kind -> what it can show, and what it cannot. Nothing that was not found is called safe.
SHOWS: Final[dict[str, tuple[Promise, Promise]]] = {
    ExaminationKind.LOSS.value: (
        _(
            "It shows how well one simple attacker, who accuses whoever has a small loss, tells "
            "records that the model was trained on from others. A share found that is above the "
            "ceiling refutes the claimed ε."
        ),
        _(
            "It does not show that nobody does better: stronger attacks exist, and a single record "
            "may stand out where the average does not."
        ),
    ),
    ExaminationKind.LIRA.value: (
        _(
            "It shows what an attacker finds who trains shadow models on data of the same kind and "
            "compares losses record by record."
        ),
        _(
            "With few shadow models it is a weak form of a strong attack: more of them would find "
            "more. Little found is no guarantee."
        ),
    ),
    ExaminationKind.ENGINE.value: (
        _(
            "It trains on invented records with the noise, the sampling and the steps of this "
            "model's run. A lower bound above the claimed ε shows that the engine breaks its "
            "promise; the Gaussian fit alone accuses an engine whose claim is exact once in twenty "
            "audits."
        ),
        _(
            "Bounds below the claim prove nothing. It sees neither this model's weights nor its "
            "data, nor a random generator that somebody can predict."
        ),
    ),
}


class ExaminationState(models.TextChoices):
    """Where an examination stands; how far a worker is, its job says."""

    QUEUED = "queued", _("queued")
    FINISHED = "finished", _("finished")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class Examination(TenantOwned):
    """One request to attack a model version, and the figures that were found.

    `run` is the account under which the ledger charges the noisy figures; none where nothing is
    charged. `figures` and their digest are there once it has finished.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    version = models.ForeignKey(
        "training.ModelVersion", on_delete=models.PROTECT, related_name="examinations"
    )
    kinds = models.JSONField(_("kinds"), default=list)
    shadows = models.PositiveIntegerField(_("shadow models"), default=0)
    epsilon = models.DecimalField(_("ε asked"), max_digits=12, decimal_places=6, default=0)
    run = models.OneToOneField(
        "training.Run", on_delete=models.PROTECT, related_name="examination", null=True, blank=True
    )
    state = models.CharField(
        _("state"),
        max_length=20,
        choices=ExaminationState.choices,
        default=ExaminationState.QUEUED,
    )
    figures = models.JSONField(_("figures"), default=dict)
    digest = models.CharField(_("digest of the figures"), max_length=64, blank=True)
    error_code = models.CharField(_("error"), max_length=80, blank=True)
    idempotency_key = models.CharField(max_length=100, blank=True)
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(_("requested"), auto_now_add=True)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("examination")
        verbose_name_plural = _("examinations")
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "idempotency_key"],
                condition=~models.Q(idempotency_key=""),
                name="examination_asked_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} · {', '.join(self.kinds)}"

    @property
    def reference(self) -> str:
        """The id that the log holds."""
        return f"examination:{self.id}"
