"""What every long-lived process does before its first request or task."""

from io import StringIO

from django.core.management import call_command


def refuse_unsafe() -> None:
    """Run the system checks: gunicorn, uvicorn and Celery would start without them.

    Raises:
        SystemCheckError: naming each error, so that the process does not come up.
    """
    call_command("check", "--tag", "security", "--fail-level", "ERROR", stdout=StringIO())
