"""Start-up of models."""

from django.apps import AppConfig


class TrainingConfig(AppConfig):
    """Models."""

    name = "training"
    label = "training"

    def ready(self) -> None:
        """Say what approvals and jobs of this package do."""
        from django.conf import settings  # noqa: PLC0415  # as below

        from training import effects, modules  # noqa: PLC0415  # models are not loaded before

        effects.register()
        modules.allow(settings.TRAINING_MODULES)
