"""What must always hold, looked at from the outside: each check gives findings, none is good.

triggers      every append-only table and every guard still has its triggers
entries       the columns of an entry say what its body says, and its body is what the log holds
checkpoint    the newest checkpoint is signed, and is the root of the leaves
calls         every prediction has one entry and one usage, and neither stands without it
usage         rollups and events add up to the units used, and to what their entries say
budgets       a second implementation finds the same ε, and no cap is passed
ensembles     none that is not withdrawn holds a version that is
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.models import Exists, OuterRef

from audit.checkpoint import verify_checkpoint
from audit.errors import DomainError
from audit.events import Event, Outcome
from audit.keys import log_verifier
from audit.merkle import leaf_hash, tree_root
from audit.models import AuditEntry, Leaf, PendingLeaf
from audit.sequencer import hash_reader, latest_checkpoint
from audit.triggers import missing
from gateway.models import Prediction, UsageEvent
from gateway.reconciliation import usage
from governance.guards import missing_guards
from training import guards as training_guards
from training.ledger import statement
from training.models import Budget, EnsembleMember, ModelState, ModelVersion
from training.recomputation import TOLERANCE, recompute

CHUNK: Final = 2000


def triggers() -> Iterator[str]:
    """Triggers that are gone."""
    yield from missing(connection)
    yield from missing_guards(connection)
    yield from training_guards.missing_guards(connection)


def entries() -> Iterator[str]:
    """Entries whose columns, body, pending leaf or leaf disagree."""
    leaves = dict(Leaf.objects.values_list("entry_id", "leaf_hash"))
    pending = dict(PendingLeaf.objects.values_list("entry_id", "leaf_hash"))
    for entry in AuditEntry.objects.iterator(CHUNK):
        body = bytes(entry.body)
        told: dict[str, Any] = json.loads(body)
        columns = {
            "id": str(entry.id),
            "event": entry.event,
            "outcome": entry.outcome,
            "tenant": entry.tenant,
            "actor": entry.actor,
            "subject": entry.subject,
            "request": entry.request_id,
            "at": entry.at,
        }
        wrong = [name for name, value in columns.items() if told.get(name) != value]
        if wrong:
            yield f"entry {entry.id}: the body says another {', '.join(wrong)}"
        held = leaves.get(entry.id) or pending.get(entry.id)
        if held is None:
            yield f"entry {entry.id} is neither in the log nor on its way"
        elif bytes(held) != leaf_hash(body):
            yield f"entry {entry.id} is not what the log holds"


def checkpoint() -> Iterator[str]:
    """A newest checkpoint that does not fit the key or the leaves."""
    newest = latest_checkpoint()
    if newest is None:
        return
    try:
        head = verify_checkpoint(newest.note, settings.LOG_ORIGIN, [log_verifier()])
    except DomainError as error:
        yield f"the newest checkpoint does not verify: {error.stable_code}"
        return
    if tree_root(hash_reader(head.size), head.size) != head.root:
        yield "the newest checkpoint is not the root of the leaves"


def calls() -> Iterator[str]:
    """Predictions, usage and entries that lack one another."""
    same_call = {"tenant_id": OuterRef("tenant_id"), "request_id": OuterRef("request_id")}
    for prediction in Prediction.objects.filter(~Exists(UsageEvent.objects.filter(**same_call))):
        yield f"{prediction.reference} was not counted"
    for event in UsageEvent.objects.filter(~Exists(Prediction.objects.filter(**same_call))):
        yield f"usage {event.pk} counts a call that was not answered"
    served = AuditEntry.objects.filter(
        event=Event.PREDICTION_SERVED.value, outcome=Outcome.DONE.value
    )
    recorded = set(served.values_list("pk", flat=True))
    answered = dict(Prediction.objects.values_list("entry_id", "id"))
    for entry_id in recorded - answered.keys():
        yield f"entry {entry_id} records a call that is not there"
    for entry_id in answered.keys() - recorded:
        yield f"prediction:{answered[entry_id]} was not recorded"


def budgets() -> Iterator[str]:
    """Budgets whose figures differ when computed again, or that are overspent."""
    for budget in Budget.objects.select_related("dataset"):
        said, again = statement(budget), recompute(budget)
        if not again.agrees(said.spent, said.spent + said.reserved):
            yield f"{budget.reference}: the figures do not agree {','.join(again.faults)}"
        if said.spent + said.reserved > said.cap + TOLERANCE:
            yield f"{budget.reference} is overspent"


def ensembles() -> Iterator[str]:
    """Ensembles that outlived a member."""
    withdrawn = EnsembleMember.objects.filter(member__state=ModelState.WITHDRAWN)
    rows = ModelVersion.objects.filter(parts__in=withdrawn).exclude(state=ModelState.WITHDRAWN)
    for version in rows.distinct():
        yield f"{version.reference} holds a version that was withdrawn"


CHECKS: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "triggers": triggers,
    "entries": entries,
    "checkpoint": checkpoint,
    "calls": calls,
    "usage": usage,
    "budgets": budgets,
    "ensembles": ensembles,
}
