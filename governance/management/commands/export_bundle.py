"""`export_bundle --out FILE --as USER`: the evidence of a tenant, to be verified anywhere."""

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from audit.keys import log_verifier
from audit.models import AuditEntry, PendingLeaf
from audit.recording import request_id
from governance.actions.evidence import grant_bundle
from governance.doors import DoorCommand
from governance.errors import InvalidError
from governance.lookup import own_tenant
from governance.rbac import UserActor

PATIENCE: Final = 5.0  # seconds to let the sequencer catch up with what was just written


class Command(DoorCommand):
    """Export a report bundle; `python -m audit.verify` checks it without this system."""

    help = "Export the tenant's audit entries with proofs and a report"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add where it goes, and from which checkpoint consistency is proven."""
        parser.add_argument("--out", type=Path, required=True, help="a new .zip file or folder")
        parser.add_argument("--previous", type=Path, help="an earlier checkpoint of this log")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Wait for the sequencer, then write."""
        out: Path = options["out"]
        if out.exists():
            raise InvalidError("something is there already", code="file.exists")
        tenant = own_tenant(actor)
        _settle(tenant.tenant_reference)
        grant = grant_bundle(actor, tenant)
        previous = None if options["previous"] is None else options["previous"].read_text()
        written = grant.write(out, previous=previous)
        return {
            "bundle": str(out),
            "entries": written.entries,
            "pending": written.pending,
            "tree_size": written.size,
            "manifest": written.manifest_sha256,
            "log_key": str(log_verifier()),
            "request": request_id.get(),
        }


def _settle(tenant: str) -> None:
    """Give entries that wait for the sequencer a moment; those still waiting are counted."""
    until = time.monotonic() + PATIENCE
    mine = AuditEntry.objects.filter(tenant=tenant).values("pk")
    while PendingLeaf.objects.filter(entry_id__in=mine).exists() and time.monotonic() < until:
        time.sleep(0.1)  # the sequencer is another process; its checkpoint is what we wait for
