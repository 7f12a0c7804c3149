"""Start-up of the doors: the Celery application and the system checks."""

from importlib import import_module

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """The doors."""

    name = "gateway"
    label = "gateway"

    def ready(self) -> None:
        """Make our Celery application the current one; register what others ask the doors for."""
        # By name: these modules exist for what importing them registers.
        for module in ("celery", "checks", "peppers", "refusals", "rollups", "watching"):
            import_module(f"gateway.{module}")
        from gateway import tasks  # noqa: PLC0415  # models come first

        tasks.register()
