"""What every long-lived process does before its first request or task."""

from importlib import import_module
from io import StringIO

from django.core.management import call_command


def refuse_unsafe() -> None:
    """Run the system checks: gunicorn, uvicorn and Celery would start without them.

    Raises:
        SystemCheckError: naming each error, so that the process does not come up.
    """
    call_command("check", "--tag", "security", "--fail-level", "ERROR", stdout=StringIO())


def warm() -> None:
    """Load now what the first call or the first run would load while it holds a transaction open.

    torch takes seconds to import, and on SQLite every writer would wait for them.
    """
    for name in ("gateway.serving", "training.accounting"):
        import_module(name)
