"""`may()` across tenants: what reaches past one's own, and that nothing else does."""

import pytest

from governance.permissions import GRANTS, Permission
from governance.rbac import examining_worker, ingest_worker, training_worker
from governance.scoping import tenant_scope
from tests.factories.people import House, make_house, make_tenant

pytestmark = pytest.mark.django_db
STAFF = ("steward", "officer", "engineer", "owner", "platform", "auditor")


@pytest.fixture
def houses() -> tuple[House, House]:
    """The house, founded first, and another provider."""
    return make_house(), make_house("rival")


@pytest.mark.parametrize("permission", list(Permission))
@pytest.mark.parametrize("who", STAFF)
def test_nobody_of_another_tenant_does_anything_here(
    houses: tuple[House, House], who: str, permission: Permission
) -> None:
    house, rival = houses
    decision = getattr(rival, who).may(permission, house.tenant)
    assert not decision.allowed
    assert decision.reason == "permission.other_tenant"


@pytest.mark.parametrize("who", STAFF)
def test_at_home_the_matrix_decides(houses: tuple[House, House], who: str) -> None:
    house, _ = houses
    actor = getattr(house, who)
    for permission, roles in GRANTS.items():
        with tenant_scope(house.id):
            reason = actor.may(permission, house.tenant).reason
        held = bool(roles & actor.roles())
        assert (reason == "permission.role_missing") is not held, permission


def test_customers_are_seen_by_who_licenses_and_providers_by_the_house(
    houses: tuple[House, House],
) -> None:
    house, rival = houses
    customer = make_tenant("acme", provider=False, customer=True)
    sees = {
        (name, tenant.slug)
        for name, actor in (("house", house.platform), ("rival", rival.platform))
        for tenant in (house.tenant, rival.tenant, customer)
        if actor.may(Permission.TENANT_VIEW, tenant).allowed
    }
    assert sees == {
        ("house", "house"),
        ("house", "rival"),
        ("house", "acme"),
        ("rival", "rival"),
        ("rival", "acme"),
    }
    assert not rival.officer.may(Permission.TENANT_VIEW, customer).allowed


def test_a_worker_does_one_thing_for_one_tenant(houses: tuple[House, House]) -> None:
    house, rival = houses
    for worker, own in (
        (ingest_worker(house.id), Permission.DATASET_FINISH),
        (training_worker(house.id), Permission.RUN_FINISH),
        (examining_worker(house.id), Permission.EXAMINATION_FINISH),
    ):
        allowed = {p for p in Permission if worker.may(p, house.tenant).allowed}
        assert allowed == {own}
        assert not worker.may(own, rival.tenant).allowed
