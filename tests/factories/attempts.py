"""What tests look at and do between a run's request and its end."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from governance import leases
from governance.models import Job
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House
from training import pipeline
from training.actions.runs import cancel_run
from training.models import Run


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
