"""Probes: `healthz` says that the process answers, `readyz` that it can do its work."""

from django.db import DatabaseError, connection
from django.db.migrations.exceptions import MigrationSchemaMissing
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from gateway.bindings import reads_no_tenant_data


@reads_no_tenant_data(reason="a liveness probe: no input, no data")
@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """200 while the process serves requests."""
    return JsonResponse({"status": "ok"})


@reads_no_tenant_data(reason="a readiness probe: names of parts, no data")
@require_safe
def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when every part is usable, 503 naming the parts that are not."""
    missing = [] if _database_is_current() else ["database"]
    return JsonResponse(
        {"status": "unavailable" if missing else "ok", "missing": missing},
        status=503 if missing else 200,
    )


def _database_is_current() -> bool:
    """The database answers, and has every migration that this code knows."""
    try:
        executor = MigrationExecutor(connection)
    except (DatabaseError, MigrationSchemaMissing):
        return False
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())
