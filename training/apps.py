"""Start-up of models."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TrainingConfig(AppConfig):
    """Models."""

    name = "training"
    label = "training"

    def ready(self) -> None:
        """Keep the guard standing, and say what approvals and jobs of this package do."""
        from django.conf import settings  # noqa: PLC0415  # as below

        # Models are not loaded before.
        from training import effects, guards, modules  # noqa: PLC0415

        post_migrate.connect(
            lambda using, **_: guards.reinstall(using=using),
            sender=self,
            weak=False,
            dispatch_uid="training.guards",
        )
        effects.register()
        modules.allow(settings.TRAINING_MODULES)
