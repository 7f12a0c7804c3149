"""Releases of data in console and API: figures, level, and why a person had to decide."""

from governance.models.releases import DataRelease, RecipientClass
from governance.scoping import tenant_scope
from tests.factories.console import World


def test_a_release_shows_its_figures_its_level_and_its_reason(world: World) -> None:
    page = world.client("auditor").get(world.pages()["release"]).content.decode()
    for said in (
        "acme-research",
        "12 · 2 · 0.250000",
        "3: the risk was measured and is acceptable",
        "band_10",
        "income",
        "This recipient holds the dataset in another version or form.",
        "0" * 64,
    ):
        assert said in page, said
    assert "anonymous" not in page.casefold()


def test_the_list_shows_it_and_an_unmeasured_one_says_so(world: World) -> None:
    with tenant_scope(world.house.id):
        whole = DataRelease.objects.create(
            tenant=world.house.tenant,
            version=world.release.version,
            recipient="house",
            recipient_class=RecipientClass.INTERNAL,
            rows=240,
            level=2,
            digest="1" * 64,
            released_by=world.house.user(world.house.steward),
        )
    client = world.client("officer")
    listed = client.get("/admin/governance/datarelease/").content.decode()
    assert "acme-research" in listed
    assert "2: direct identifiers were removed" in listed
    page = client.get(f"/admin/governance/datarelease/{whole.pk}/").content.decode()
    assert "nothing was measured" in page


def test_the_api_tells_the_same(world: World) -> None:
    client = world.client("steward")
    (one,) = client.get("/api/v1/data-releases").json()["results"]
    assert one["dataset"] == "applicants"
    assert (one["measures"]["k"], one["level"], one["needs_human"]) == (12, 3, True)
    assert one["reasons"] == ["release.intersection"]
    assert client.get(f"/api/v1/data-releases/{one['id']}").json() == one
