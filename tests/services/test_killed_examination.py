"""A worker that examines a model is killed by a real signal: charged once, released once.

Beside the services because each run loads torch anew; it needs none of them.
"""

from typing import Any

import pytest

from governance import leases
from governance.scoping import tenant_scope
from tests.factories.people import make_house
from tests.factories.processes import forked
from tests.factories.training import untrained
from tests.training.test_examining import DELTA, account, again, expire, job_of
from training import examining
from training.actions.examinations import request_examination
from training.charges import cost


@pytest.mark.django_db(transaction=True)
def test_killed_between_the_charge_and_the_release_it_is_charged_once(home: Any) -> None:
    """SIGKILL to a real worker, after the write-ahead and after the noise was drawn."""
    house = make_house()
    version = untrained(house)
    with tenant_scope(house.id), leases.doing_it_here():
        made = {
            moment: request_examination(house.engineer, version, epsilon="0.5")
            for moment in ("ahead", "noised")
        }
    jobs = {moment: job_of(one) for moment, one in made.items()}
    assert forked(home, "examine", *[f"{job.id}:{moment}" for moment, job in jobs.items()]) == [
        -9, -9,
    ]  # fmt: skip
    for moment, one in made.items():
        known = account(one)
        assert (again(one).state, known.touched, known.closed) == ("queued", True, False)
        expire(jobs[moment])
        examining.work(jobs[moment].id)
        known = account(one)
        assert (again(one).state, known.closed, len(known.ahead)) == ("finished", True, 2)
        assert cost(known.ahead, DELTA) == pytest.approx(0.5, abs=0.001)
