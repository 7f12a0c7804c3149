"""Tenant scope: no query on tenant data without one, and none past it."""

import pytest

from governance.errors import UnscopedError
from governance.models import Purpose
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import make_house

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "query",
    [
        lambda: list(Purpose.objects.all()),
        Purpose.objects.count,
        lambda: Purpose.objects.filter(slug="x").exists(),
        lambda: Purpose.objects.create(slug="x"),
    ],
)
def test_a_query_outside_a_scope_raises(query: object) -> None:
    with pytest.raises(UnscopedError):
        query()  # type: ignore[operator]  # a table of callables


def test_a_scope_shows_its_own_tenant_alone() -> None:
    house, rival = make_house(), make_house("rival")
    with tenant_scope(house.id):
        assert {p.tenant_id for p in Purpose.objects.all()} == {house.id}
        assert not Purpose.objects.visible_to(rival.officer).exists()
    with tenant_scope(house.id, rival.id):
        assert Purpose.objects.count() == 2
        assert Purpose.objects.visible_to(rival.officer).get().tenant_id == rival.id


def test_scopes_nest_and_close() -> None:
    house, rival = make_house(), make_house("rival")
    with tenant_scope(house.id):
        with tenant_scope(rival.id):
            assert Purpose.objects.get().tenant_id == rival.id
        assert Purpose.objects.get().tenant_id == house.id
    with pytest.raises(UnscopedError):
        Purpose.objects.count()


def test_the_escape_needs_its_reason_and_a_scope_inside_narrows_again() -> None:
    house, _ = make_house(), make_house("rival")
    with across_tenants(reason="a test of the escape"):
        assert Purpose.objects.count() == 2
        with tenant_scope(house.id):
            assert Purpose.objects.count() == 1
    with pytest.raises(UnscopedError), across_tenants(reason=""):
        pass
