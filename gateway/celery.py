"""The Celery application. Workers run `celery -A gateway worker -Q <queue>`."""

import os
import sys
from typing import Any

from celery import Celery, signals
from django.core.management.base import SystemCheckError

from gateway.startup import refuse_unsafe

# Production unless told otherwise: a worker started by hand must not fall back to a weaker profile.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings.prod")

app = Celery("portcullis")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.setup_logging.connect
def _keep_our_logging(**_signal: Any) -> None:
    """Having a receiver is what matters: Celery's own set-up prints tasks' arguments."""


@signals.worker_init.connect
def _check(**_signal: Any) -> None:
    """Celery runs the system checks and ignores what they say."""
    try:
        refuse_unsafe()
    except SystemCheckError as error:
        sys.exit(str(error))
