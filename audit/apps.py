"""The Django app of the evidence package."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    """Registers the models, and keeps the append-only triggers in place after every migration."""

    name = "audit"
    label = "audit"
    verbose_name = "Evidence"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Re-install triggers after a migration: SQLite drops them when it remakes a table."""
        from audit.triggers import reinstall  # noqa: PLC0415 - models are not ready at import time

        post_migrate.connect(reinstall, sender=self, dispatch_uid="audit.triggers.reinstall")
