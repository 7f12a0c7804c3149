"""Start-up of people and data."""

from django.apps import AppConfig


class GovernanceConfig(AppConfig):
    """People and data."""

    name = "governance"
    label = "governance"
