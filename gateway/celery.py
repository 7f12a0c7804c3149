"""The Celery application. Workers run `celery -A gateway worker -Q <queue>`."""

import os

from celery import Celery

# Production unless told otherwise: a worker started by hand must not fall back to a weaker profile.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings.prod")

app = Celery("portcullis")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
