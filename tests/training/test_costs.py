"""What attempts took: written once each, at the price of that time, and summed."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.models import AuditEntry
from governance import leases
from governance.models import Job
from governance.rbac import training_worker
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import ask, make_version
from training import costs
from training.actions.attempts import begin_run, stop_run
from training.actions.runs import cancel_run, retry_run
from training.models import Effort, Run, RunState
from training.pipeline import work


@pytest.fixture
def house(db: None, home: Any, settings: Any) -> House:
    settings.COST_CPU_HOUR, settings.COST_CURRENCY = Decimal("7.2"), "EUR"  # 0.002 a second
    return make_house()


def hold(run: Run, seconds: float) -> leases.Lease:
    """A worker's lease on the run's newest job, as old as that."""
    with across_tenants(reason="a test turns the clock"):
        job = Job.objects.filter(subject=run.reference).latest("created_at")
        lease = leases.claim(job.id)
        began = timezone.now() - timedelta(seconds=seconds)
        Job.objects.filter(pk=job.pk).update(started_at=began)
    assert lease is not None
    return lease


def fail(house: House, run: Run, seconds: float) -> None:
    """An attempt that worked so long and failed."""
    worker = training_worker(house.id)
    lease = hold(run, seconds)
    begin_run(worker, run, lease=lease, noise_source="test", step=0)
    stop_run(worker, run, lease=lease, state=RunState.FAILED, code="engine.diverged")


def test_every_attempt_keeps_its_time_and_the_price_it_ended_at(
    house: House, settings: Any
) -> None:
    run = ask(house, make_version(house))
    with tenant_scope(house.id), leases.doing_it_here():
        fail(house, run, 100)
        settings.COST_CPU_HOUR = Decimal(72)
        fail(house, retry_run(house.engineer, run), 10)
        first, second = Effort.objects.filter(run=run)
        assert (first.attempt, second.attempt) == (1, 2)
        assert (first.seconds, second.seconds) == pytest.approx((100, 10), abs=3)
        assert float(first.cost) == pytest.approx(0.2, abs=0.01)
        assert float(second.cost) == pytest.approx(0.2, abs=0.1)
        taken = costs.taken(run)
        assert taken.seconds == pytest.approx(110, abs=6)
        assert taken.cost == {"EUR": first.cost + second.cost}
    entry = AuditEntry.objects.filter(event="run.stopped").latest("at")
    assert entry.outcome == "failed"


def test_a_running_attempt_counts_until_its_last_heartbeat(house: House) -> None:
    run = ask(house, make_version(house))
    hold(run, 50)
    with tenant_scope(house.id):
        assert not Effort.objects.exists()
        taken = costs.taken(run)
    assert taken.seconds == pytest.approx(50, abs=3)
    assert float(taken.cost["EUR"]) == pytest.approx(0.1, abs=0.01)


def test_what_was_never_worked_on_costs_nothing(house: House) -> None:
    run = ask(house, make_version(house))
    with tenant_scope(house.id):
        cancel_run(house.engineer, run)
        assert costs.taken(run).as_dict() == {"seconds": "0.000", "cost": {}}
        assert not Effort.objects.exists()


def test_a_finished_run_has_its_effort(house: House) -> None:
    run = ask(house, make_version(house))
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        assert Effort.objects.get(run=run).seconds > 0
        assert costs.taken(run).seconds == pytest.approx(Effort.objects.get().seconds)


def test_an_effort_does_not_change(house: House) -> None:
    run = ask(house, make_version(house))
    with tenant_scope(house.id), leases.doing_it_here():
        fail(house, run, 10)
        effort = Effort.objects.get()
        with pytest.raises(IntegrityError), transaction.atomic():
            Effort.objects.update(seconds=1)
        with pytest.raises(IntegrityError), transaction.atomic():
            costs.write(run, 1.0)
        effort.refresh_from_db()
        assert effort.seconds > 9


def test_sums_by_model_and_by_tenant(house: House, settings: Any) -> None:
    other = make_house("other")
    for owner, name, seconds in ((house, "a", 100), (house, "b", 300), (other, "c", 1000)):
        run = ask(owner, make_version(owner, f"people-{name}"), name=name)
        with tenant_scope(owner.id), leases.doing_it_here():
            fail(owner, run, seconds)
    settings.COST_CURRENCY = "CNY"
    with tenant_scope(house.id), leases.doing_it_here():
        fail(house, retry_run(house.engineer, Run.objects.get(model_name="a")), 50)

    def said(actor: Any) -> Any:
        found = costs.totals(actor)
        return (
            [(one.model, one.currency, one.runs) for one in found.models],
            [(one.tenant, one.currency, one.runs, round(one.cost, 1)) for one in found.tenants],
        )

    models = [("b", "EUR", 1), ("a", "EUR", 1), ("a", "CNY", 1)]
    own = [("house", "EUR", 2, Decimal("0.8")), ("house", "CNY", 1, Decimal("0.1"))]
    assert said(house.engineer) == (models, own)
    theirs = ("other", "EUR", 1, Decimal("2.0"))
    assert said(house.platform) == (models, [theirs, *own])  # who runs the platform sees each
    assert said(other.owner) == ([("c", "EUR", 1)], [theirs])


def test_a_run_over_its_tenants_limit_is_left_waiting(house: House, settings: Any) -> None:
    settings.TRAINING_RUNS_PER_TENANT = 1
    version = make_version(house)
    first, second = ask(house, version), ask(house, version)
    hold(first, 1)
    with across_tenants(reason="a test looks"):
        job = Job.objects.get(subject=second.reference)
    work(job.id)
    with tenant_scope(house.id):
        second.refresh_from_db()
    assert second.state == RunState.QUEUED
