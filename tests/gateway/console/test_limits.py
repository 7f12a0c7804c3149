"""Limits on a license's page: set and lifted by who licenses, seen by its customer."""

from gateway.models import Limit
from governance.scoping import across_tenants
from tests.factories.console import World

WANTED = {"of": "customer", "rate": "4", "burst": "", "quota": "1234", "period": "month"}


def rows() -> list[Limit]:
    with across_tenants(reason="a test looks"):
        return list(Limit.objects.all())


def test_a_limit_is_set_shown_and_lifted(world: World) -> None:
    page, platform = f"/admin/gateway/license/{world.license.pk}/", world.client("platform")
    assert 'id="limits"' in platform.get(page).content.decode()
    assert platform.post(page + "limit/", WANTED).status_code == 302
    [limit] = rows()
    assert (limit.scope, limit.rate, limit.burst, limit.quota) == ("customer", 4, 4, 1234)
    for client in (platform, world.client("customer")):
        assert "1,234" in client.get(page).content.decode()
    assert "limit/" not in world.client("customer").get(page).content.decode()
    assert platform.post(page + "lift/", {"limit": str(limit.pk)}).status_code == 302
    assert rows() == []


def test_what_is_wrong_is_told(world: World) -> None:
    page, platform = f"/admin/gateway/license/{world.license.pk}/", world.client("platform")
    empty = platform.post(page + "limit/", {**WANTED, "rate": "", "quota": ""})
    assert "limit.empty" in empty.content.decode()
    assert "request.invalid" in platform.post(page + "limit/", {"of": "other"}).content.decode()
    assert rows() == []


def test_who_may_not_sets_none(world: World) -> None:
    page = f"/admin/gateway/license/{world.license.pk}/"
    for caller in ("officer", "customer"):
        assert world.client(caller).post(page + "limit/", WANTED).status_code == 403
    assert rows() == []
