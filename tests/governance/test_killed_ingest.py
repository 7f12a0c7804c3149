"""Ingest workers killed by SIGKILL at every stage: what is missing is made, nothing twice."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from django.conf import settings
from django.utils import timezone

from audit.models import AuditEntry
from governance import leases
from governance.ingest import profiling, staging
from governance.models import Dataset, Job, RowGroup, SealedGroup, StoredObject
from governance.models.datasets import DatasetState
from governance.scoping import across_tenants, tenant_scope
from governance.vault import sweep_orphans
from governance.versions import frames
from tests.factories.datasets import approve_plan, profiled, upload
from tests.factories.people import House, make_house
from tests.factories.processes import forked

pytestmark = pytest.mark.slow

SCRIPT: Final = "governance/forked.py"
SECRETS: Final = ("王小明", "John Carter", "11010518991231004X", "219-09-9990", "13800138000")
# moment: groups that are sealed when the process dies, jobs that a second worker begins again
PROFILE: Final = {"profiling": (0, 1), "profiled": (0, 1)}
REST: Final = {
    "begun": (0, 0),
    "group": (1, 1),
    "sealed": (1, 1),
    "between": (3, 0),
    "merging": (3, 1),
    "committed": (3, 0),
}


@pytest.fixture
def house() -> House:
    return make_house()


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "GROUP_ROWS", 2)
    monkeypatch.setattr(profiling, "ROWS", 2)


@pytest.mark.django_db(transaction=True)
def test_killed_at_any_moment_what_is_missing_is_made_and_nothing_twice(
    house: House, home: Path
) -> None:
    datasets = {moment: upload(house, name=moment) for moment in PROFILE}
    datasets |= {moment: profiled(house, name=moment) for moment in REST}
    for moment in REST:
        approve_plan(house, datasets[moment])
    ends = forked(
        home,
        "ingest",
        *[f"{dataset.reference}|{moment}" for moment, dataset in datasets.items()],
        script=SCRIPT,
    )
    assert ends == [-9] * len(datasets)
    for moment, (sealed, again) in (PROFILE | REST).items():
        dataset = datasets[moment]
        assert (moment, _sealed(dataset)) == (moment, sealed)
        running = _expire(dataset)
        assert (moment, running) == (moment, again)
        leases.run_here(dataset.reference)
        with across_tenants(reason="a test takes a dead worker's job over"):
            for job in Job.objects.filter(subject=dataset.reference, state="running"):
                leases._work[job.kind].run(job.id)
        leases.run_here(dataset.reference)
        if moment in PROFILE:
            approve_plan(house, dataset)
            leases.run_here(dataset.reference)
        _whole(house, dataset, moment, again)
    _nothing_left(house)


@pytest.mark.django_db(transaction=True)
def test_two_workers_share_the_groups_and_one_of_them_merges(house: House, home: Path) -> None:
    dataset = profiled(house)
    approve_plan(house, dataset)
    assert forked(
        home, "groups", dataset.reference, dataset.reference, at_once=True, script=SCRIPT
    ) == [0, 0]
    _whole(house, dataset, "shared", 0)


def _sealed(dataset: Dataset) -> int:
    with across_tenants(reason="a test counts"):
        return SealedGroup.objects.filter(group__batch__dataset=dataset).count()


def _expire(dataset: Dataset) -> int:
    """As if the dead worker's lease had run out; how many jobs it held."""
    with across_tenants(reason="as if the time had passed"):
        held = Job.objects.filter(subject=dataset.reference, state="running")
        return held.update(leased_until=timezone.now() - timedelta(seconds=1))


def _whole(house: House, dataset: Dataset, moment: str, again: int) -> None:
    """One version of all rows in order; each group once; no other job was begun again."""
    dataset.refresh_from_db()
    assert (moment, dataset.state) == (moment, DatasetState.SEALED), dataset.error_detail
    with tenant_scope(house.id):
        version = dataset.versions.get()
        ages = [age for frame in frames(version) for age in frame["age"].to_list()]
        assert ages == ["39", "50", "38", "53", "28"]
        assert RowGroup.objects.filter(batch__dataset=dataset).count() == 3
        assert _sealed(dataset) == 3
        fences = Job.objects.filter(subject=dataset.reference).values_list("fence", flat=True)
        assert sorted(fences) == [1] * (len(fences) - again) + [2] * again
        assert len(fences) == 6  # profile, anonymize, three groups, merge
    told = AuditEntry.objects.filter(subject=dataset.reference, outcome="done")
    counts = {event: told.filter(event=event).count() for event in _events()}
    assert (moment, counts) == (moment, _events())


def _events() -> dict[str, int]:
    return {
        "dataset.profiled": 1,
        "dataset.anonymization_begun": 1,
        "dataset.group_sealed": 3,
        "dataset.sealed": 1,
    }


def _nothing_left(house: House) -> None:
    """No plaintext anywhere, and what the dead left behind is swept."""
    objects = Path(settings.PORTCULLIS_HOME, "objects")
    kept = [path for path in Path(settings.PORTCULLIS_HOME).rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in kept)
    assert not [secret for secret in SECRETS if secret.encode() in content]
    assert sweep_orphans(timedelta(0)) > 0
    with tenant_scope(house.id):
        named: set[Any] = set(StoredObject.objects.values_list("name", flat=True))
    left = {path.relative_to(objects).as_posix() for path in objects.rglob("*") if path.is_file()}
    assert left == named
