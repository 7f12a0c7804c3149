"""Celery's settings: five queues, late acknowledgement, JSON only, the database as the only truth.

No result backend: what a task did is in the database, in the transaction that did it. A message
holds a task's name and the id of a row, never data.
"""

from pathlib import Path
from typing import Any, Final

from kombu import Queue

QUEUES: Final = ("ingest", "train.cpu", "train.gpu", "serve", "audit")

# A task's name starts with its package. Who dispatches a run that needs a GPU names `train.gpu`.
ROUTES: Final = {
    "governance.*": {"queue": "ingest"},
    "training.*": {"queue": "train.cpu"},
    "gateway.*": {"queue": "serve"},
    "audit.*": {"queue": "audit"},
}


def celery(broker_url: str | None, *, home: Path) -> dict[str, Any]:
    """The CELERY_* settings for a broker; None is Kombu's filesystem transport under `home`."""
    settings: dict[str, Any] = {
        "CELERY_BROKER_URL": broker_url or "filesystem://",
        "CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP": True,
        "CELERY_TASK_QUEUES": [_queue(name, broker_url) for name in QUEUES],
        "CELERY_TASK_DEFAULT_QUEUE": "audit",
        "CELERY_TASK_CREATE_MISSING_QUEUES": False,  # a misspelled queue fails at the sender
        "CELERY_TASK_ROUTES": ROUTES,
        "CELERY_TASK_SERIALIZER": "json",
        "CELERY_RESULT_SERIALIZER": "json",
        "CELERY_EVENT_SERIALIZER": "json",
        "CELERY_ACCEPT_CONTENT": ["json"],
        "CELERY_RESULT_BACKEND": None,
        "CELERY_TASK_IGNORE_RESULT": True,
        # A worker that dies gives its message back; leases and fencing tokens make the second
        # delivery harmless, and a sweeper re-sends what a broker lost.
        "CELERY_TASK_ACKS_LATE": True,
        "CELERY_TASK_REJECT_ON_WORKER_LOST": True,
        "CELERY_WORKER_PREFETCH_MULTIPLIER": 1,
        "CELERY_WORKER_CONCURRENCY": 1,
        # Remote control would let whoever reaches the broker stop workers without an audit entry.
        "CELERY_WORKER_ENABLE_REMOTE_CONTROL": False,
        "CELERY_WORKER_HIJACK_ROOT_LOGGER": False,
        "CELERY_WORKER_REDIRECT_STDOUTS": False,
        "CELERY_ENABLE_UTC": True,
    }
    if broker_url is None:
        folder = home / "broker"
        settings["CELERY_BROKER_TRANSPORT_OPTIONS"] = {
            "data_folder_in": str(folder / "queue"),
            "data_folder_out": str(folder / "queue"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.2,
        }
    elif broker_url.startswith("redis"):
        # Redis hands a message out again after this long unacknowledged, so it must outlast a run.
        settings["CELERY_BROKER_TRANSPORT_OPTIONS"] = {"visibility_timeout": 24 * 3600}
    return settings


def _queue(name: str, broker_url: str | None) -> Queue:
    if broker_url is not None and broker_url.startswith("amqp"):
        # Replicated and fsynced: RabbitMQ's classic queues lose messages with their node.
        return Queue(name, routing_key=name, queue_arguments={"x-queue-type": "quorum"})
    return Queue(name, routing_key=name)
