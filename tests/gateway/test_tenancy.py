"""For which tenant a person acts: chosen, first, none; never one whose roles are gone."""

import pytest
from django.test import Client

from governance.models import RoleBinding, User
from governance.permissions import Role
from governance.scoping import across_tenants
from tests.factories.people import bind, make_house, make_tenant, make_user

pytestmark = pytest.mark.django_db


def seen(client: Client) -> list[str]:
    found = client.get("/api/v1/tenants")
    assert found.status_code == 200, found.content
    return [row["slug"] for row in found.json()["results"]]


@pytest.fixture
def auditor() -> User:
    first, second = make_tenant("alpha"), make_tenant("beta")
    user = make_user("ann", first, Role.AUDITOR)
    bind(user, second, Role.AUDITOR)
    return user


def signed_in(user: User, tenant: str | None = None) -> Client:
    client = Client()
    client.force_login(user)
    if tenant is not None:
        session = client.session
        session["tenant"] = tenant
        session.save()
    return client


@pytest.mark.parametrize(
    ("chosen", "active"), [(None, "alpha"), ("alpha", "alpha"), ("beta", "beta"), ("gone", "alpha")]
)
def test_the_active_tenant(auditor: User, chosen: str | None, active: str) -> None:
    assert seen(signed_in(auditor, chosen)) == [active]


def test_a_tenant_that_is_not_ones_own_cannot_be_chosen(auditor: User) -> None:
    make_house("rival")
    assert seen(signed_in(auditor, "rival")) == ["alpha"]


def test_a_chosen_tenant_whose_role_is_gone_is_left(auditor: User) -> None:
    client = signed_in(auditor, "beta")
    assert seen(client) == ["beta"]
    with across_tenants(reason="a test prepares"):
        RoleBinding.objects.filter(tenant__slug="beta").delete()
    assert seen(client) == ["alpha"]


def test_without_a_role_there_is_nothing() -> None:
    client = signed_in(make_user("nobody"))
    response = client.get("/api/v1/tenants")
    assert (response.status_code, response.json()["code"]) == (403, "permission.no_role")


def test_a_deactivated_person_is_nobody(auditor: User) -> None:
    client = signed_in(auditor)
    User.objects.filter(pk=auditor.pk).update(is_active=False)
    assert client.get("/api/v1/tenants").status_code == 401
