"""Probes: `healthz` says that the process answers, `readyz` that it can do its work.

What `readyz` names as `missing` keeps this process from answering calls, and whoever sends them
should send them elsewhere. What it names as `degraded` does not: one customer's model that does not
open is no reason to refuse all the others.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.exceptions import MigrationSchemaMissing
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from audit.errors import DomainError
from audit.models import PendingLeaf
from gateway.bindings import reads_no_tenant_data
from gateway.receipts import signing_key
from gateway.releases import licensed_versions
from gateway.shedding import CALLS

MODELS_ASKED: Final = 20  # licensed models that one probe looks at
OPENED_FOR: Final = 300.0  # seconds that a model's opening is remembered
_opened: dict[str, float] = {}


@reads_no_tenant_data(reason="a liveness probe: no input, no data")
@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """200 while the process serves requests. Asks nothing: a slow database is no dead process."""
    return JsonResponse({"status": "ok"})


@reads_no_tenant_data(reason="a readiness probe: names of parts, no data")
@require_safe
def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when every part is usable, 503 naming the parts that are not."""
    missing, degraded = _parts()
    status = "unavailable" if missing else "degraded" if degraded else "ok"
    return JsonResponse(
        {"status": status, "missing": missing, "degraded": degraded},
        status=503 if missing else 200,
    )


def _parts() -> tuple[list[str], list[str]]:
    """The parts that are missing, and those that are impaired."""
    missing = [] if _receipt_key_is_read() else ["receipt_key"]
    if CALLS.full:
        missing.append("queue")
    try:
        if not _database_is_current():
            return [*missing, "database"], []
        if not _log_keeps_up():
            missing.append("log")
        opened, wanted = _models_that_open()
    except (DatabaseError, MigrationSchemaMissing):
        return [*missing, "database"], []
    if wanted and not opened:
        missing.append("models")
    return missing, ["models"] if 0 < opened < wanted else []


def _database_is_current() -> bool:
    """The database answers, and has every migration that this code knows.

    Raises:
        DatabaseError, MigrationSchemaMissing: it does not answer.
    """
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def _receipt_key_is_read() -> bool:
    """The key is where it should be, and nobody else may read it: no call is charged without."""
    try:
        signing_key()
    except DomainError:
        return False
    return True


def _log_keeps_up() -> bool:
    """No leaf has waited for the sequencer for longer than READY_LOG_SECONDS."""
    oldest = PendingLeaf.objects.order_by("entry_id").values_list("entry_id", flat=True).first()
    if oldest is None:
        return True
    # UUID version 7 (RFC 9562, 5.7): the first 48 bits are milliseconds since the Unix epoch.
    since = datetime.fromtimestamp((oldest.int >> 80) / 1000, UTC)
    return timezone.now() - since <= timedelta(seconds=settings.READY_LOG_SECONDS)


def _models_that_open() -> tuple[int, int]:
    """How many of the licensed models' released versions open here, and how many there are.

    Each is opened once in `OPENED_FOR` seconds at most, and is warm for its first call then; one
    that did not open is tried again by the next probe.
    """
    wanted = licensed_versions(timezone.now(), MODELS_ASKED)
    if not wanted:
        return 0, 0
    from gateway import serving  # noqa: PLC0415 - torch is loaded where there is a model to serve

    opened, now = 0, time.monotonic()
    for version in wanted:
        if now - _opened.get(version.artifact_digest, -OPENED_FOR) >= OPENED_FOR:
            try:
                serving.loaded(version)
            except (DomainError, OSError):
                _opened.pop(version.artifact_digest, None)
                continue
            if len(_opened) > 10 * MODELS_ASKED:
                _opened.clear()
            _opened[version.artifact_digest] = now
        opened += 1
    return opened, len(wanted)
