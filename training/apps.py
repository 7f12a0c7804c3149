"""Start-up of models."""

from django.apps import AppConfig


class TrainingConfig(AppConfig):
    """Models."""

    name = "training"
    label = "training"
