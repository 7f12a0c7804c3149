"""Who takes which job: by priority, then age, and never more of a tenant's than it may have."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from governance import leases
from governance.errors import LostLeaseError
from governance.leases import Lease
from governance.models import Job
from governance.models.jobs import JobState
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, make_house
from tests.factories.processes import forked
from tests.governance.forked_claims import KIND, PLACES, TOO_MANY


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Messages of a kind whose tenants may have two jobs at work."""
    found: list[UUID] = []
    work = leases.Work(send=found.append, run=lambda _id: None, at_once=lambda: PLACES)
    monkeypatch.setitem(leases._work, KIND, work)
    return found


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


def waiting(house: House, *priorities: int, queue: str = "one") -> list[UUID]:
    """Jobs in the order in which they were asked for."""
    with tenant_scope(house.id), leases.doing_it_here(), transaction.atomic():
        return [
            leases.enqueue(KIND, f"s:{n}", queue, tenant_id=house.id, priority=priority).id
            for n, priority in enumerate(priorities)
        ]


def job(job_id: UUID) -> Job:
    with across_tenants(reason="a test looks"):
        return Job.objects.get(pk=job_id)


def change(job_id: UUID, **values: Any) -> None:
    with across_tenants(reason="a test turns the clock"):
        Job.objects.filter(pk=job_id).update(**values)


def taken(message: UUID) -> UUID | None:
    lease = leases.claim_next(message)
    return None if lease is None else lease.job_id


def end(lease: Lease | None) -> float:
    assert lease is not None
    with transaction.atomic():
        return lease.end(JobState.DONE)


def test_the_best_is_taken_whichever_the_message_names(house: House, sent: list[UUID]) -> None:
    low, normal, later, high = waiting(house, -1, 0, 0, 1)
    order = []
    for message in (low, low, later, normal):
        lease = leases.claim_next(message)
        assert lease is not None
        order.append(lease.job_id)
        end(lease)
    assert order == [high, normal, later, low]
    assert taken(low) is None  # one message too many


def test_over_the_limit_a_job_waits_and_is_taken_when_one_ends(
    house: House, sent: list[UUID]
) -> None:
    first, second, third = waiting(house, 0, 0, 0)
    one = leases.claim_next(first)
    assert taken(first) == second
    assert taken(third) is None
    assert leases.claim(third) is None  # nor by its name
    assert leases.send_next(KIND) == 0
    end(one)
    assert leases.send_next(KIND) == 1
    assert sent == [third]
    assert taken(third) == third
    assert leases.claim_next(third) is None


def test_a_tenant_at_its_limit_starves_nobody(house: House, sent: list[UUID]) -> None:
    greedy = waiting(house, 1, 1, 1, 1)
    other = make_house("other")
    (modest,) = waiting(other, -1)
    assert [taken(greedy[0]) for _ in range(4)] == [greedy[0], greedy[1], modest, None]


def test_the_limit_holds_across_queues_and_messages_keep_to_theirs(
    house: House, sent: list[UUID]
) -> None:
    here, next_here = waiting(house, 0, 0, queue="one")
    (there,) = waiting(house, 1, queue="two")
    assert taken(here) == here
    assert taken(there) == there
    assert taken(next_here) is None
    change(there, state=JobState.DONE)
    assert leases.send_next(KIND) == 1
    assert sent == [next_here]


def test_a_dead_workers_job_keeps_its_place_and_is_taken_over(
    house: House, sent: list[UUID]
) -> None:
    first, second, third = waiting(house, 0, 0, 0)
    dead = leases.claim_next(first)
    assert taken(first) == second
    change(first, leased_until=timezone.now() - timedelta(seconds=1))
    assert taken(third) == first  # not the third: a worker that is only slow would be a third one
    assert job(first).fence == 2
    assert taken(third) is None
    with pytest.raises(LostLeaseError):
        end(dead)


def test_seconds_are_summed_over_workers_a_dead_ones_until_its_last_heartbeat(
    house: House, sent: list[UUID]
) -> None:
    (only,) = waiting(house, 0)
    assert leases.claim_next(only) is not None
    now = timezone.now()
    began, beat = now - timedelta(seconds=300), now - timedelta(seconds=100)
    change(only, started_at=began, leased_until=beat + leases.LEASE)
    with across_tenants(reason="a test looks"):
        assert leases.seconds_worked("s:0", KIND) == pytest.approx(200)
    change(only, leased_until=beat)  # so long ago that another may have it
    lease = leases.claim_next(only)
    lost = 200 - leases.LEASE.total_seconds()
    assert job(only).worked_seconds == pytest.approx(lost)
    change(only, started_at=timezone.now() - timedelta(seconds=50))
    assert end(lease) == pytest.approx(lost + 50, abs=1)
    with across_tenants(reason="a test looks"):
        assert leases.seconds_worked("s:0", KIND) == pytest.approx(lost + 50, abs=1)


def test_what_is_no_job_is_nothing_to_do(db: None, sent: list[UUID]) -> None:
    assert leases.claim(uuid4()) is None
    assert leases.claim_next(uuid4()) is None
    assert leases.send_next(KIND) == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_workers_side_by_side_lose_no_job_and_never_pass_the_limit(
    home: Any, sent: list[UUID]
) -> None:
    """Real processes; tests/services runs it again on PostgreSQL, where row locks alone help."""
    jobs = [*waiting(make_house(), *[0] * 8), *waiting(make_house("other"), *[0] * 4)]
    assert leases.claim(jobs[0]) is not None  # by one who falls silent
    done = forked(
        home, "take", *[str(jobs[0])] * 4, at_once=True, script="governance/forked_claims.py"
    )
    assert TOO_MANY not in done
    assert sum(done) == len(jobs) - 1
    with across_tenants(reason="a test looks"):
        fences = Job.objects.exclude(pk=jobs[0]).values_list("fence", "state")
        assert set(fences) == {(1, JobState.DONE)}
    change(jobs[0], leased_until=timezone.now() - timedelta(seconds=1))
    assert taken(jobs[1]) == jobs[0]
