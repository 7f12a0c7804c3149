"""Who sees which device, and what has it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from governance import leases
from governance.models import Job
from governance.scoping import tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import ask, make_version
from tests.training.test_commands import command
from training.distributed import devices
from training.distributed.occupancy import Use, occupancy
from training.models import DeviceLease, Run


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


def held(house: House, run: Run) -> Job:
    """The run's job has the next free device of four."""
    with tenant_scope(house.id):
        job = Job.objects.get(subject=run.reference)
    assert leases.claim(job.pk) is not None
    assert devices.take(job.pk, 1, 4) is not None
    return job


def seen(house: House, who: str) -> list[tuple[int, Use, bool]]:
    with tenant_scope(house.id):
        found = occupancy(getattr(house, who))
    assert len({one.host for one in found}) <= 1
    assert all((one.job is None) is (one.run is None) for one in found)
    return [(one.number, one.use, one.run is not None) for one in found]


def test_of_another_tenants_job_it_is_told_that_a_device_is_busy(house: House) -> None:
    rival = make_house("rival")
    ours = held(house, ask(house, make_version(house)))
    held(rival, ask(rival, make_version(rival, "theirs"), name="theirs"))
    free = [(2, Use.FREE, False), (3, Use.FREE, False)]
    assert seen(house, "engineer") == [(0, Use.BUSY, True), (1, Use.BUSY, False), *free]
    assert seen(rival, "engineer") == [(0, Use.BUSY, False), (1, Use.BUSY, True), *free]
    # Who operates the platform opens no runs, of their own tenant neither.
    assert seen(house, "platform") == [(0, Use.BUSY, False), (1, Use.BUSY, False), *free]
    past = timezone.now() - timedelta(seconds=1)
    DeviceLease.objects.filter(job=ours.pk).update(expires_at=past)
    assert seen(house, "owner")[0] == (0, Use.SILENT, True)


def test_on_the_command_line(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("devices", who="house-platform") == (0, {"devices": []})
    run = ask(house, make_version(house), name="ours")
    held(house, run)
    code, told = command("devices", who="house-engineer")
    first, second = told["devices"][:2]
    assert (code, first["run"], first["model"], first["use"]) == (0, str(run.id), "ours", "busy")
    assert (second["use"], second["job"], second["expires"]) == ("free", None, None)
    code, refused = command("devices", who="house-auditor")
    assert (code, refused["code"]) == (3, "permission.role_missing")
