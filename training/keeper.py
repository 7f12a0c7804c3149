"""A round of the sweeper: what is kept of stopped runs goes when its time is over.

The table of checkpoints is asked, and not what was meant to happen: what another way of ending left
behind goes too. The key goes in the action's transaction. Where a process dies after it, or the
storage does not answer, sealed bytes without a key are left, which the vault's sweep removes.
"""

import logging
from typing import Final

from django.utils import timezone

from audit.errors import DomainError
from governance.rbac import training_worker
from governance.scoping import across_tenants, tenant_scope
from training.actions.attempts import remove_checkpoint
from training.errors import RunStateError
from training.keeping import AT_WORK, is_over
from training.models import Checkpoint

_log: Final = logging.getLogger(__name__)


def remove_what_is_over() -> int:
    """Remove every checkpoint that nothing may go on from any more; returns how many.

    Safe at any moment and in several processes. What goes wrong with one run is logged, and the
    next round tries again.
    """
    with across_tenants(reason="checkpoints of every tenant come to their end"):
        stopped = Checkpoint.objects.exclude(run__state__in=AT_WORK).select_related("run")
        rows = list(stopped)
    removed = 0
    for row in rows:
        if not is_over(row.run, row.written_at, timezone.now()):
            continue
        try:
            with tenant_scope(row.tenant_id):
                remove_checkpoint(training_worker(row.tenant_id), row.run)
        except RunStateError:
            continue  # another process did, or the run is tried again
        except DomainError as error:
            _log.error("%s keeps its checkpoint: %s", row.run.reference, error.stable_code)
            continue
        removed += 1
    return removed
