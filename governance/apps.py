"""Start-up of people and data."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class GovernanceConfig(AppConfig):
    """People and data."""

    name = "governance"
    label = "governance"

    def ready(self) -> None:
        """Keep the guards standing, and say what approvals and jobs of this package do."""
        from audit.redaction import register_subject_keys  # noqa: PLC0415  # models come first
        from governance import effects, guards  # noqa: PLC0415  # as above
        from governance.subject_keys import StoredSubjectKeys  # noqa: PLC0415  # as above

        post_migrate.connect(
            lambda using, **_: guards.reinstall(using=using),
            sender=self,
            weak=False,
            dispatch_uid="governance.guards",
        )
        register_subject_keys(StoredSubjectKeys())
        effects.register()
