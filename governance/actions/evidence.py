"""Hand out evidence: the one operation by which entries leave."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.db.models import QuerySet

from audit.errors import BundleError
from audit.events import Event
from audit.models import AuditEntry, Leaf
from audit.recording import Record, action
from audit.reports.bundle import BundleResult, write_bundle
from audit.sequencer import latest_checkpoint
from governance.models import Tenant
from governance.permissions import Permission
from governance.rbac import Actor


@dataclass(frozen=True)
class BundleGrant:
    """The right to write one bundle, and what it covers: a tenant's entries."""

    tenant: str
    size: int
    entries: int

    def rows(self) -> QuerySet[AuditEntry]:
        """The tenant's entries."""
        return AuditEntry.objects.filter(tenant=self.tenant)

    def write(self, out: Path | BinaryIO, *, previous: str | None = None) -> BundleResult:
        """Write what was granted; see `audit.reports.bundle.write_bundle`."""
        return write_bundle(self.rows, out, scope={"tenant": self.tenant}, previous=previous)


@action(Event.BUNDLE_EXPORTED, requires=Permission.AUDIT_EXPORT)
def grant_bundle(record: Record, actor: Actor, tenant: Tenant) -> BundleGrant:
    """Allow the export of a tenant's entries, under the newest checkpoint.

    The bundle is written after this has committed: a large one takes longer than a transaction
    should.

    Raises:
        BundleError: `audit.log_empty`: nothing was signed yet.
    """
    del actor
    checkpoint = latest_checkpoint()
    if checkpoint is None:
        raise BundleError("the log has no checkpoint yet", code="audit.log_empty")
    owned = AuditEntry.objects.filter(tenant=tenant.tenant_reference)
    entries = Leaf.objects.filter(
        entry_id__in=owned.values("pk"), index__lt=checkpoint.size
    ).count()
    record.facts(size=checkpoint.size, root=bytes(checkpoint.root).hex(), entries=entries)
    return BundleGrant(tenant.tenant_reference, checkpoint.size, entries)
