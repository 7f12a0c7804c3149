"""The page of leased devices: an empty state that explains itself, and nobody else's runs."""

import pytest

from governance import leases
from governance.models import Job
from governance.scoping import across_tenants
from tests.factories.console import World
from tests.factories.training import ask, make_version
from training.distributed import devices
from training.models import DeviceLease

ADDRESS = "/admin/training/devicelease/"


@pytest.mark.parametrize(
    ("language", "said"), [("en", "No device was leased yet."), ("zh-CN", "尚无设备被租用。")]
)
def test_an_empty_page_says_when_there_is_something(world: World, language: str, said: str) -> None:
    page = world.client("platform").get(ADDRESS, headers={"accept-language": language})
    assert said in page.content.decode()


def test_a_run_is_named_to_its_own_tenant(world: World) -> None:
    run = ask(world.house, make_version(world.house, "scored"), name="on-a-device")
    with across_tenants(reason="a test prepares"):
        job = Job.objects.get(subject=run.reference)
    assert leases.claim(job.pk) is not None
    assert devices.take(job.pk, 1, 2) is not None
    for who, named in (("engineer", True), ("platform", False), ("customer", False)):
        page = world.client(who).get(ADDRESS).content.decode()
        assert ("on-a-device" in page) is named, who
        assert "busy" in page
        assert "free" in page
    row = DeviceLease.objects.get(device=0)
    client = world.client("engineer")
    assert "on-a-device" in client.get(f"{ADDRESS}{row.pk}/").content.decode()
    assert client.get(f"{ADDRESS}0/").status_code == 404
    assert client.get(f"{ADDRESS}x/").status_code == 404
