"""Start-up of models."""

from django.apps import AppConfig


class TrainingConfig(AppConfig):
    """Models."""

    name = "training"
    label = "training"

    def ready(self) -> None:
        """Say what approvals and jobs of this package do."""
        from training import effects  # noqa: PLC0415  # models are not loaded before

        effects.register()
