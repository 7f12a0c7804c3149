"""What tests look at and do between a run's request and its end."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEntry
from governance import leases
from governance.errors import LostLeaseError
from governance.models import Job
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House
from tests.factories.training import DECLARATIONS, ask, make_version
from training import ledger, pipeline
from training.actions.runs import cancel_run
from training.models import Run, RunPoint
from training.recomputation import recompute

UNBOUNDED: dict[str, Any] = {
    **DECLARATIONS,
    "columns": {**DECLARATIONS["columns"], "hours": {"kind": "numeric"}},
}


def job_of(run: Run) -> Job:
    with across_tenants(reason="a test looks"):
        return Job.objects.filter(subject=run.reference).latest("created_at")


def fresh(run: Run | None) -> Run:
    assert run is not None
    with tenant_scope(run.tenant_id):
        return Run.objects.select_related("version__dataset").get(pk=run.pk)


def expire(run: Run) -> Job:
    """The worker is dead and its lease is over."""
    job = job_of(run)
    with across_tenants(reason="a test turns the clock"):
        Job.objects.filter(pk=job.pk).update(leased_until=timezone.now() - timedelta(seconds=1))
    return job


def cancelled_at(step: int, house: House, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Carried out, and stopped by a person after `step`."""
    draw = pipeline._Attempt._draw

    def cancel(self: Any, progress: Any) -> None:
        draw(self, progress)
        if progress.step == step:
            cancel_run(house.engineer, self.run)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline._Attempt, "_draw", cancel)
        leases.run_here(run.reference)
    return fresh(run)


def outcome(event: str) -> tuple[str, str | None]:
    """How the newest entry of an event ended, and why."""
    import json

    entry = AuditEntry.objects.filter(event=event).order_by("at").last()
    assert entry is not None
    return entry.outcome, json.loads(bytes(entry.body))["reason"]


def account(run: Run) -> ledger.Account:
    """What the ledger says of the run's newest attempt, confirmed by the recomputation."""
    with tenant_scope(run.tenant_id):
        budget = run.version.dataset.budget
        said, again = ledger.statement(budget), recompute(budget)
        assert again.agrees(said.spent, said.spent + said.reserved)
        return ledger.account(run, run.attempt)


def lost_at_twenty(house: House, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose worker died after its first block."""
    run = ask(house, make_version(house))

    def die(self: Any, progress: Any) -> None:
        del self, progress
        raise LostLeaseError("dead")

    monkeypatch.setattr(pipeline._Attempt, "_draw", die)
    leases.run_here(run.reference)
    monkeypatch.undo()
    return fresh(run)


def points_of(run: Run) -> list[RunPoint]:
    with tenant_scope(run.tenant_id):
        return list(RunPoint.objects.filter(run=run).order_by("step"))
