"""Start-up of the console, in the place of `django.contrib.admin`'s own."""

from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    """Django's admin on our site, without Django's groups: roles are role bindings."""

    default_site = "gateway.console.site.ConsoleSite"

    def ready(self) -> None:
        """Find every `admin.py`, then take off what a form of Django's would write."""
        super().ready()
        from django.contrib import admin  # noqa: PLC0415 - the app registry must be full
        from django.contrib.auth.models import Group  # noqa: PLC0415 - as above

        admin.site.unregister(Group)
