"""Start-up of models."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TrainingConfig(AppConfig):
    """Models."""

    name = "training"
    label = "training"

    def ready(self) -> None:
        """Keep the guard standing, and say what approvals and jobs of this package do."""
        from training import effects, guards  # noqa: PLC0415  # models are not loaded before

        post_migrate.connect(
            lambda using, **_: guards.reinstall(using=using),
            sender=self,
            weak=False,
            dispatch_uid="training.guards",
        )
        effects.register()
